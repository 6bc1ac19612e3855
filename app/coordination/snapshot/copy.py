"""A copy of the board, or of a part of it, whose machines are replaced one by one as they change."""

from __future__ import annotations

import json
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from app.coordination.decode import decode_holder, decode_run, holder_of
from app.coordination.snapshot.moment import Moment
from app.coordination.snapshot.sorting import sort_key
from app.coordination.snapshot.values import Machine, Snapshot, Tally, Waiter
from app.domain.run import RunState, State
from app.domain.status import Holder
from app.store.fairness import in_turns

#: Runs that are decoded, or machines that are put together, between two turns of others: about a millisecond.
IN_A_TURN = 50

#: Machines whose rows are taken between two turns of others.
ROWS_IN_A_TURN = 500


@dataclass(frozen=True)
class MachineRow:
    """A machine as Redis keeps it.

    Args:
        record: Its id and name, JSON.
        holders: The kind and the task of each, without a task for a reservation.
        line: The order and the task of each waiter, first in line first.
        reservation: JSON.
    """

    record: bytes
    holders: tuple[tuple[str, str], ...]
    line: tuple[tuple[str, str], ...]
    reservation: bytes | None

    @classmethod
    def of(
        cls, record: bytes, holders: Iterable[bytes], line: Iterable[bytes], reservation: bytes | None
    ) -> MachineRow:
        """The row of members as ``lua/lib/keys.lua`` builds them."""
        return cls(record, tuple(map(_parts, holders)), tuple(map(_parts, line)), reservation)

    def tasks(self) -> Iterator[str]:
        return (task for _, task in (*self.holders, *self.line) if task)


def _parts(member: bytes) -> tuple[str, str]:
    _, second, task = member.decode().split("\0")
    return second, task


class BoardCopy:
    """Machines by their ids, and runs by those of their tasks, in lower case."""

    def __init__(self) -> None:
        self._rows: dict[str, MachineRow] = {}
        self._runs: dict[str, RunState] = {}
        #: By name, and where each stands; another list where that changes.
        self._machines: list[Machine] = []
        self._positions: dict[str, int] = {}
        #: How many machines have each status, and whether anybody waits there; and the longest waits of all, in order.
        self._statuses: Counter[tuple[str, bool]] = Counter()
        self._longest_waits: list[tuple[int, str]] = []
        #: The machines at which a run holds or waits.
        self._machines_of: dict[str, set[str]] = {}
        #: The order of each waiting run, and the number of lines that it stands in, by task id as it is; and each order
        #: with its task, first in line first.
        self._orders: dict[str, str] = {}
        self._waits: Counter[str] = Counter()
        self._queue: list[tuple[str, str]] = []
        #: Who stands at a machine and is to be read.
        self._unread: set[str] = set()
        #: The machines whose line and whose runs say different things: a change is under way there.
        self.unsettled: set[str] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, rows: Mapping[str, MachineRow]) -> None:
        """Take the rows of these machines for what is true now."""
        tasks: set[str] = set()
        for machine, row in in_turns(rows.items(), ROWS_IN_A_TURN, at_first=False):
            before = self._rows.get(machine)
            if before:
                self._count(machine, before, -1)
                tasks.update(before.tasks())
            self._count(machine, row, 1)
            self._rows[machine] = row
        for task in tasks:
            if self._orders.get(task) and not self._waits[task]:
                self._leave_queue(task)
                del self._waits[task]
            if not self._machines_of.get(task.lower(), True):
                del self._machines_of[task.lower()]
                self._runs.pop(task.lower(), None)
                self._unread.discard(task.lower())

    def _count(self, machine: str, row: MachineRow, by: int) -> None:
        """Note, or with -1 forget, who stands at a machine."""
        for task in row.tasks():
            name = task.lower()
            machines = self._machines_of.get(name)
            if machines is None:
                machines = self._machines_of[name] = set()
                self._unread.add(name)
            machines.add(machine) if by > 0 else machines.discard(machine)
        for order, task in row.line:
            if by > 0 and self._orders.get(task) != order:
                self._leave_queue(task)
                self._orders[task] = order
                insort(self._queue, (order, task))
            self._waits[task] += by

    def _leave_queue(self, task: str) -> None:
        order = self._orders.pop(task, None)
        if order is not None:
            del self._queue[bisect_left(self._queue, (order, task))]

    def machines_of(self, task_id: str) -> set[str]:
        """The machines at which a run holds or waits."""
        return self._machines_of.get(task_id.lower(), set())

    def forget_run(self, task_id: str) -> None:
        """Have a run read anew."""
        if self._runs.pop(task_id.lower(), None):
            self._unread.add(task_id.lower())

    def unread_runs(self) -> list[str]:
        """The runs that are to be read."""
        return list(self._unread)

    def put_runs(self, records: Mapping[str, bytes]) -> None:
        """Take the records of these runs for what is true now."""
        for task, raw in in_turns(records.items(), IN_A_TURN):
            self._runs[task] = decode_run(raw)
        self._unread -= records.keys()

    def assemble(self, machines: Iterable[str], moment: Moment) -> None:
        """Make machines of their rows and of the runs there."""
        moved: dict[str, Machine] = {}
        for machine in in_turns(machines, IN_A_TURN):
            position = self._positions.get(machine)
            before = None if position is None else self._machines[position]
            made = self._machine(machine, self._rows[machine], moment)
            if before:
                self._tally(before, -1)
            self._tally(made, 1)
            if position is not None and before and before.name == made.name:
                self._machines[position] = made
            else:
                moved[machine] = made
        if moved:
            stay = {machine.id.lower(): machine for machine in self._machines}
            keys = [(sort_key(each), each) for each in in_turns((stay | moved).values())]
            self._machines = [machine for _, machine in sorted(keys, key=itemgetter(0))]
            self._positions = {machine.id.lower(): position for position, machine in enumerate(self._machines)}

    def _tally(self, machine: Machine, by: int) -> None:
        """Count a machine, or with -1 no longer."""
        self._statuses[machine.status, bool(machine.line)] += by
        wait = machine.longest_wait
        if wait and by > 0:
            insort(self._longest_waits, wait)
        elif wait:
            del self._longest_waits[bisect_left(self._longest_waits, wait)]

    def snapshot(self, moment: Moment, unresolved: Iterable[bytes]) -> Snapshot:
        """What is put together by now."""
        count = self._statuses
        return Snapshot(
            now_ms=moment.now_ms,
            machines=tuple(self._machines),
            unresolved=tuple(task.decode() for task in unresolved),
            closed_since_ms=moment.closed_since_ms,
            closed_cause=moment.closed_cause,
            tally=Tally(
                busy=count["busy", False] + count["busy", True],
                reserved=count["reserved", False] + count["reserved", True],
                idle=count["idle", False],
                in_demand=count["idle", True],
                longest_wait=self._longest_waits[0] if self._longest_waits else None,
            ),
            positions=self._positions,
            queue=tuple(self._queue),
            runs=dict(self._runs),
        )

    def _machine(self, machine: str, row: MachineRow, moment: Moment) -> Machine:
        record: dict[str, Any] = json.loads(row.record)
        holders: list[Holder] = []
        self.unsettled.discard(machine)
        if moment.closed_since_ms and row.line:
            holders.append(Holder("rebuilding", None, moment.closed_since_ms, note=moment.closed_cause))
        for kind, task in row.holders:
            run = self._runs.get(task.lower())
            if kind == "reservation":
                if row.reservation:
                    holders.append(decode_holder(kind, row.reservation))
            # The runs are read a moment after the lines; one that has gone meanwhile is left out.
            elif run:
                holders.append(holder_of(kind, run))
                self._note_unsettled(machine, kind == "lease" and run.state is not State.GRANTED)
        line: list[Waiter] = []
        for _, task in row.line:
            run = self._runs.get(task.lower())
            if run:
                line.append(Waiter(task, len(line) + 1, run))
            self._note_unsettled(machine, run is None or run.state is not State.WAITING)
        return Machine(record["id"], record.get("name") or record["id"], tuple(holders), tuple(line))

    def _note_unsettled(self, machine: str, is_unsettled: bool) -> None:
        if is_unsettled:
            self.unsettled.add(machine)
