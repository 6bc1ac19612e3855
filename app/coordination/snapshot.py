"""A snapshot of the board: all machines, who holds them, who waits. Costs what there is to show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from app.coordination.decode import decode_holder, decode_run, holder_of
from app.domain.run import RunState
from app.domain.run_info import RunInfo
from app.domain.status import Described, Holder
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors


@dataclass(frozen=True)
class Waiter(Described):
    """A run in the line of one machine."""

    task_id: str
    place: int
    run: RunState

    @property
    def info(self) -> RunInfo:  # type: ignore[override]
        return self.run.info

    @property
    def priority(self) -> int:
        return self.run.priority

    @property
    def requested_at_ms(self) -> int:
        return self.run.requested_at_ms

    @property
    def parked(self) -> bool:
        """Whether it uses no task slot while it waits."""
        return self.run.parked


@dataclass(frozen=True)
class Reservation:
    """Why and until when nobody new is granted machine *id*."""

    id: str
    note: str | None
    by: str | None
    since_ms: int
    until_ms: int | None


@dataclass(frozen=True)
class Machine:
    """A machine with its holders (a lease first) and its line."""

    id: str
    name: str
    holders: tuple[Holder, ...]
    line: tuple[Waiter, ...]

    @property
    def status(self) -> str:
        """``busy``, ``reserved`` or ``idle``."""
        kinds = {held.kind for held in self.holders}
        if kinds & {"lease", "observed", "provisional"}:
            return "busy"
        return "reserved" if kinds else "idle"

    @property
    def reservation(self) -> Reservation | None:
        holder = next((held for held in self.holders if held.kind == "reservation"), None)
        return Reservation(self.id, holder.note, holder.by, holder.since_ms, holder.until_ms) if holder else None

    @property
    def shared(self) -> set[int]:
        """The families of which several runs hold it."""
        families = Counter(held.family for held in self.holders if held.family)
        return {family for family, runs in families.items() if runs > 1}


@dataclass(frozen=True)
class Snapshot:
    """All machines by name; all waiting runs by place, then time of request; runs whose machines nobody knows yet."""

    now_ms: int
    machines: tuple[Machine, ...]
    waiting: tuple[str, ...]
    unresolved: tuple[str, ...]
    #: Since when nobody is granted (rule 15); None while the board is open.
    closed_since_ms: int | None = None
    #: Why, as the timeline names causes.
    closed_cause: str | None = None

    def machine(self, machine_id: str) -> Machine | None:
        """The machine of that id in any letter case."""
        return next((m for m in self.machines if m.id.lower() == machine_id.lower()), None)


@dataclass(frozen=True)
class Counts:
    """How much of everything there is; *held* are the machines that each kind of holder has."""

    waiting: int
    held: Mapping[str, int]
    machines: int
    unresolved: int
    is_open: bool


def count(client: Client, keys: Keys) -> Counts:
    """The same as numbers, without reading any run.

    Raises:
        StoreError: Redis could not do it.
    """
    with redis_errors(), client.pipeline(transaction=True) as pipe:
        pipe.zrange(keys.lines, 0, -1)
        pipe.zrange(keys.holders, 0, -1)
        pipe.hlen(keys.machines)
        pipe.zcard(keys.unresolved)
        pipe.hexists(keys.counters, "opened_at")
        lines, holders, machines, unresolved, is_open = pipe.execute()
    return Counts(
        waiting=len({member.rpartition(b"\0")[2] for member in lines}),
        held=Counter(member.split(b"\0")[1].decode() for member in holders),
        machines=machines,
        unresolved=unresolved,
        is_open=bool(is_open),
    )


def take(client: Client, keys: Keys, *, offset_ms: int = 0) -> Snapshot:
    """The board at one moment: one transaction, then the runs it names.

    Raises:
        StoreError: Redis could not do it.
    """
    with redis_errors():
        with client.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.hgetall(keys.machines)
            pipe.zrange(keys.holders, 0, -1)
            pipe.zrange(keys.lines, 0, -1)
            pipe.hgetall(keys.reservations)
            pipe.zrange(keys.unresolved, 0, -1)
            pipe.hmget(keys.counters, ["opened_at", "closed_at", "closed_cause", "shift_ms"])
            (seconds, micros), known, holders, lines, reservations, unresolved, door = pipe.execute()
        held = [member.decode().split("\0") for member in holders]
        waits = [member.decode().split("\0") for member in lines]
        tasks = sorted({task for *_, task in held + waits if task})
        records = client.hmget(keys.runs, [task.lower() for task in tasks]) if tasks else []
    runs = {task: decode_run(raw) for task, raw in zip(tasks, records, strict=True) if raw}

    now_ms = seconds * 1000 + micros // 1000 + int(door[3] or 0) + offset_ms
    closed_since_ms = None if door[0] else int(door[1] or now_ms)
    by_machine: dict[str, list[Holder]] = {}
    closed_cause = door[2].decode() if closed_since_ms and door[2] else None
    if closed_since_ms:
        by_machine = {
            machine: [Holder("rebuilding", None, closed_since_ms, note=closed_cause)] for machine, _, _ in waits
        }
    for machine, kind, task in held:
        run = runs.get(task)
        if kind == "reservation":
            by_machine.setdefault(machine, []).append(decode_holder(kind, reservations[machine.encode()]))
        # The runs are read a moment after the lines; one that has gone meanwhile is not shown.
        elif run:
            by_machine.setdefault(machine, []).append(holder_of(kind, run))
    line_of: dict[str, list[Waiter]] = {}
    for machine, _, task in waits:
        line = line_of.setdefault(machine, [])
        if task in runs:
            line.append(Waiter(task, len(line) + 1, runs[task]))

    machines = [
        Machine(record["id"], record.get("name") or record["id"],
                tuple(by_machine.get(key, ())), tuple(line_of.get(key, ())))
        for key, record in ((k.decode(), json.loads(v)) for k, v in known.items())
    ]  # fmt: skip
    orders = {task: order for _, order, task in waits}
    return Snapshot(
        now_ms=now_ms,
        machines=tuple(sorted(machines, key=lambda m: _natural(m.name))),
        waiting=tuple(sorted(orders, key=lambda task: orders[task])),
        unresolved=tuple(task.decode() for task in unresolved),
        closed_since_ms=closed_since_ms,
        closed_cause=closed_cause,
    )


def _natural(name: str) -> list[tuple[int, int, str]]:
    """web-2 before web-10, however many digits there are: Python makes no number of thousands of them."""
    parts: list[tuple[int, int, str]] = []
    digits = text = ""
    for char in name.lower() + "\0":
        if char.isdigit() and char.isascii():
            if text:
                parts.append((1, 0, text))
                text = ""
            digits += char
        else:
            if digits:
                number = digits.lstrip("0")
                parts.append((0, len(number), number))
                digits = ""
            text += char
    return [*parts, (1, 0, text)]
