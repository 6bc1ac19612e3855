"""Reads a timeline from its first record to its last, and knows at each who waits, holds, and may start.

It is written from the rules, and knows nothing of the scripts but the kinds of their records.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.records import Record

#: Where a run's place begins: higher priority, then arrival.
Order = tuple[int, int]

#: Kinds of records that end a wait, or what a run holds.
ENDS = ("released", "left", "expired", "timed_out", "refused", "ended")

#: A script can write several of these before it grants anybody.
DUE = ("expired", "timed_out", "released", "ended", "unreserved", "refused", "left", "granted", "overlapped",
       "presumed", "dropped", "observed")  # fmt: skip


@dataclass
class Waiter:
    task: str
    machines: tuple[str, ...]
    order: Order
    family: int | None


@dataclass
class Lines:
    """Who waits and who holds, as far as the records of one epoch have told."""

    waiting: dict[str, Waiter] = field(default_factory=dict)
    holders: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    families: dict[str, int | None] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    is_open: bool = False
    arrivals: int = 0
    lines: dict[str, list[tuple[Order, str]]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Of each run its last place, which it gets back when its grant is withdrawn.
    orders: dict[str, Order] = field(default_factory=dict)

    def head(self, machine: str) -> str | None:
        line = self.lines[machine]
        return line[0][1] if line else None

    def is_shared(self, task: str, machine: str) -> bool:
        """Whether the machine is busy with the run's family only."""
        family, others = self.families.get(task), self.holders[machine]
        return family is not None and bool(others) and all(self.families.get(other) == family for other in others)

    def may_start(self, task: str) -> bool:
        return self.is_open and not self.obstacles(task)

    def obstacles(self, task: str) -> list[tuple[str, str]]:
        """What keeps a waiter from starting, as (the rule's name, what is in the way)."""
        found = [] if self.is_open else [("closed", "the board is closed")]
        for machine in self.waiting[task].machines:
            if self.is_shared(task, machine):
                continue
            for other, kind in self.holders[machine].items():
                name = "exclusion" if kind == "lease" else kind
                found.append((name, f"{machine} is held by {other} ({kind})"))
            if machine in self.reserved:
                found.append(("reservation", f"{machine} is reserved"))
            if (first := self.head(machine)) != task:
                found.append(("order", f"{first} is first at {machine}"))
        return found

    def join(self, record: Record) -> None:
        task = record.task
        self.forget(task)
        self.arrivals += 1
        family = record.detail.get("family")
        parent = record.detail.get("on_behalf_of")
        if family is not None and parent and self.families.get(parent) is None:
            self.families[parent] = family
        self.families[task] = family
        order = (-int(record.detail.get("priority", 0)), self.arrivals)
        if record.detail.get("withdrawn"):
            order = self.orders.get(task, order)
        self._stand(Waiter(task, record.machines, order, family))

    def _stand(self, waiter: Waiter) -> None:
        self.waiting[waiter.task] = waiter
        self.orders[waiter.task] = waiter.order
        for machine in waiter.machines:
            bisect.insort(self.lines[machine], (waiter.order, waiter.task))

    def move(self, task: str, order: Order) -> None:
        waiter = self.leave_lines(task)
        if waiter:
            waiter.order = order
            self._stand(waiter)

    def leave_lines(self, task: str) -> Waiter | None:
        waiter = self.waiting.pop(task, None)
        for machine in waiter.machines if waiter else ():
            self.lines[machine].remove((waiter.order, task))  # type: ignore[union-attr]
        return waiter

    def hold(self, task: str, machines: tuple[str, ...], kind: str) -> None:
        self.leave_lines(task)
        self.held[task] = machines
        for machine in machines:
            self.holders[machine][task] = kind

    def let_go(self, task: str) -> tuple[str, ...]:
        machines = self.held.pop(task, ())
        for machine in machines:
            self.holders[machine].pop(task, None)
        return machines

    def forget(self, task: str) -> tuple[str, ...]:
        """It neither waits nor holds from now on: the machines that this may concern."""
        waiter = self.leave_lines(task)
        return (waiter.machines if waiter else ()) + self.let_go(task)

    def reopen(self, order: list[str]) -> None:
        self.is_open = True
        for task in order:
            self.arrivals += 1
            if task in self.waiting:
                self.move(task, (self.waiting[task].order[0], self.arrivals))


class Reader:
    """Goes through the records of one epoch and says what breaks a rule, as (check, words)."""

    def __init__(self) -> None:
        self.lines = Lines()
        self._suspects: set[str] = set()
        self._change = ""
        #: The largest fencing token so far; the next epoch goes on from it.
        self.token = 0

    def read(self, record: Record) -> Iterator[tuple[str, str]]:
        """What this record breaks."""
        if record.kind not in DUE and not record.is_of_change(self._change):
            yield from self._stalled(record)
        self._change = record.change or self._change
        handler = getattr(self, f"_{record.kind}", None)
        if record.kind in ENDS:
            yield from self._end(record)
        elif handler:
            yield from handler(record) or ()

    def finish(self) -> Iterator[tuple[str, str]]:
        """What the last record left undone."""
        yield from self._stalled(None)
        for task in self.lines.waiting:
            yield "everything ends", f"{task} waits for ever"
        for task in self.lines.held:
            yield "everything ends", f"{task} holds {self.lines.held[task]} for ever"

    def _touch(self, machines: tuple[str, ...]) -> None:
        """Whoever may start at *machines* now has to be granted in the same script."""
        for machine in machines:
            if first := self.lines.head(machine):
                self._suspects.add(first)
            families = {self.lines.families.get(task) for task in self.lines.holders[machine]} - {None}
            if families:
                self._suspects |= {t for t, w in self.lines.waiting.items() if w.family in families}

    def _stalled(self, record: Record | None) -> Iterator[tuple[str, str]]:
        for task in self._suspects:
            if task in self.lines.waiting and self.lines.may_start(task):
                yield "grant on release", f"{task} may start and was not granted before {record or 'the end'}"
        self._suspects.clear()

    def _joined(self, record: Record) -> None:
        held = self.lines.held.get(record.task, ())
        self.lines.join(record)
        self._touch(held + record.machines)

    def _granted(self, record: Record) -> Iterator[tuple[str, str]]:
        waiter = self.lines.waiting.get(record.task)
        if waiter is None:
            yield "one record each", f"granted without a wait: {record}"
            return
        if set(waiter.machines) != set(record.machines):
            yield "all or none", f"{record}: it asked for {','.join(waiter.machines)}"
        for name, words in self.lines.obstacles(record.task):
            yield name, f"{record}: {words}"
        token = int(record.detail.get("token", 0))
        if token <= self.token:
            yield "tokens", f"{record}: its token is not above {self.token}"
        self.token = max(self.token, token)
        self.lines.hold(record.task, record.machines, "lease")
        self._touch(waiter.machines)

    def _end(self, record: Record) -> Iterator[tuple[str, str]]:
        is_known = record.task in self.lines.waiting or record.task in self.lines.held
        if not is_known and record.kind not in ("ended", "refused"):
            yield "one record each", f"it neither waited nor held: {record}"
        self._touch(self.lines.forget(record.task))

    def _repaired(self, record: Record) -> Iterator[tuple[str, str]]:
        yield "agreement", f"its own data did not agree: {record}"

    def _observed(self, record: Record) -> None:
        before = self.lines.forget(record.task)
        self.lines.hold(record.task, record.machines, "observed")
        self._touch(before + record.machines)

    def _presumed(self, record: Record) -> None:
        before = self.lines.let_go(record.task)
        self.lines.hold(record.task, record.machines, "provisional")
        self._touch(before + record.machines)

    def _dropped(self, record: Record) -> None:
        self._touch(self.lines.let_go(record.task))

    def _expected(self, record: Record) -> None:
        """It is about to ask, and holds nothing until then."""
        self._dropped(record)

    def _prioritized(self, record: Record) -> None:
        waiter = self.lines.waiting.get(record.task)
        if waiter:
            self.lines.move(record.task, (-int(record.detail["to"]), waiter.order[1]))
            self._touch(record.machines)

    def _reserved(self, record: Record) -> None:
        self.lines.reserved |= set(record.machines)

    def _unreserved(self, record: Record) -> None:
        self.lines.reserved -= set(record.machines)
        self._touch(record.machines)

    def _closed(self, record: Record) -> None:
        self.lines.is_open = False

    def _opened(self, record: Record) -> None:
        self.lines.reopen(list(record.detail.get("order") or ()))
        self._touch(tuple(self.lines.lines))
