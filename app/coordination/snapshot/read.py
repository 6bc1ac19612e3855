"""Reading of the board, or of some machines, at one moment. Costs what there is to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from app.coordination.snapshot.copy import ROWS_IN_A_TURN, BoardCopy, MachineRow
from app.coordination.snapshot.moment import Moment
from app.coordination.snapshot.values import Counts, Snapshot
from app.store.connection import Client
from app.store.fairness import in_turns
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Runs that are read with one command: Redis serves nobody else meanwhile.
RUNS_AT_ONCE = 500

#: The counters that say whether the board is open, and what has changed without a record.
DOOR = ("opened_at", "closed_at", "closed_cause", "shift_ms", "unrecorded", "unrecorded_run")


def count(client: Client, keys: Keys) -> Counts:
    """How much of everything there is, without reading any run.

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
    copy, moment, unresolved, _ = read_all(client, keys, offset_ms=offset_ms)
    return copy.snapshot(moment, unresolved)


def machines_alone(
    client: Client, keys: Keys, machine_ids: Collection[str], *, offset_ms: int = 0
) -> Snapshot:  # fmt: skip
    """The same of those of *machine_ids* that are known, at the cost of these.

    Raises:
        StoreError: Redis could not do it.
    """
    copy = BoardCopy()
    wanted_ids = sorted({machine.lower() for machine in machine_ids})
    with redis_errors():
        with client.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.hmget(keys.counters, DOOR)
            queue_rows(pipe, keys, wanted_ids)
            time, door, *answers = pipe.execute()
        moment = Moment.of(time, door, offset_ms)
        rows = rows_of(wanted_ids, answers)
        copy.put(rows)
        copy.put_runs(runs_of(client, keys, copy.unread_runs()))
    copy.assemble(rows, moment)
    return copy.snapshot(moment, ())


def queue_rows(pipe: Any, keys: Keys, machine_ids: Sequence[str]) -> None:
    """Ask for the rows of machines, ids in lower case, in a pipeline; `rows_of` reads the answers."""
    if machine_ids:
        pipe.hmget(keys.machines, machine_ids)
        pipe.hmget(keys.reservations, machine_ids)
    for machine in machine_ids:
        for key in (keys.holders, keys.lines):
            pipe.zrangebylex(key, f"[{machine}\0", f"({machine}\1")


def rows_of(machine_ids: Sequence[str], answers: Sequence[Any]) -> dict[str, MachineRow]:
    """The rows of those machines that are known."""
    if not machine_ids:
        return {}
    records, reservations, *members = answers
    pairs = zip(members[::2], members[1::2], strict=True)
    return {
        machine: MachineRow.of(record, holders, line, reservation)
        for machine, record, reservation, (holders, line) in zip(
            machine_ids, records, reservations, pairs, strict=True
        )
        if record
    }  # fmt: skip


def runs_of(client: Client, keys: Keys, tasks: Iterable[str]) -> Mapping[str, bytes]:
    """The records of those runs that are known, by task id in lower case."""
    records: dict[str, bytes] = {}
    for batch in _batches(tasks):
        raws: Any = client.hmget(keys.runs, batch)
        records |= {task: raw for task, raw in zip(batch, raws, strict=True) if raw}
    return records


def _batches(tasks: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(tasks)
    while batch := list(islice(iterator, RUNS_AT_ONCE)):
        yield batch


def read_all(
    client: Client, keys: Keys, *, offset_ms: int
) -> tuple[BoardCopy, Moment, list[bytes], str]:  # fmt: skip
    """A copy of the whole board, its moment, the unresolved runs, and the id of the last record before it.

    Raises:
        StoreError: Redis could not do it.
    """
    copy = BoardCopy()
    with redis_errors():
        with client.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.hmget(keys.counters, DOOR)
            pipe.xrevrange(keys.timeline, count=1)
            pipe.zrange(keys.unresolved, 0, -1)
            pipe.hgetall(keys.machines)
            pipe.hgetall(keys.reservations)
            pipe.zrange(keys.holders, 0, -1)
            pipe.zrange(keys.lines, 0, -1)
            time, door, last, unresolved, records, reservations, holders, lines = pipe.execute()
        moment = Moment.of(time, door, offset_ms)
        holders_at, lines_at = _by_machine(holders), _by_machine(lines)
        rows = {
            machine.decode(): MachineRow.of(
                record, holders_at.get(machine, ()), lines_at.get(machine, ()), reservations.get(machine)
            )
            for machine, record in in_turns(records.items(), ROWS_IN_A_TURN)
        }
        copy.put(rows)
        copy.put_runs(runs_of(client, keys, copy.unread_runs()))
    copy.assemble(rows, moment)
    return copy, moment, unresolved, last[0][0].decode() if last else "0-0"


def _by_machine(members: Iterable[bytes]) -> Mapping[bytes, list[bytes]]:
    by_machine: dict[bytes, list[bytes]] = {}
    for member in members:
        by_machine.setdefault(member.partition(b"\0")[0], []).append(member)
    return by_machine
