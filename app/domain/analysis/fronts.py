"""Who stands in the way of a wait at the fronts of its lines, at one moment after the other.

A wait can have ten thousand machines, and as many changes at them while it lasts: each change costs what has changed.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a run does not start."""

    HOLDER = "holder"  #: a lease or an observed run makes a machine busy
    AHEAD = "ahead"  #: the machines are free, and somebody who stands before it waits for another one
    RESERVATION = "reservation"  #: an operator keeps a machine
    REBUILDING = "rebuilding"  #: the board is closed
    NOBODY = "nobody"  #: not on record


# A ledger makes a million of the tuples below; a frozen dataclass takes four times as long to make.
class Blocker(NamedTuple):
    """Who stands in the way at one machine.

    Args:
        rank: Smaller goes first: since when it holds, or priority (negated) and arrival of one who is ahead.
        note: Of a reservation: what for, and who says so.
    """

    reason: Reason
    task_id: str | None
    project_id: str | None
    environment_id: str | None
    rank: tuple[int, int]
    family: int | None = None
    note: str | None = None


class Stretch(NamedTuple):
    """A part of a wait with one blocker; *to_ms* is exclusive, and the next one begins there.

    Args:
        machine_id: Of the machines where the blocker stands in the way, the first of the wait's.
        also: The others of these.
    """

    from_ms: int
    to_ms: int
    reason: Reason
    machine_id: str | None = None
    task_id: str | None = None
    project_id: str | None = None
    environment_id: str | None = None
    note: str | None = None
    also: tuple[str, ...] = ()


class LineHead(NamedTuple):
    """What the waiters of a machine see: its holders, the longest first, and the first in line.

    Args:
        first: Whom a run without a family waits for here, unless that is itself.
    """

    holders: tuple[Blocker, ...]
    head: Blocker | None
    first: Blocker | None


EMPTY = LineHead((), None, None)


def stretch_of(begin: int, end: int, machine: str | None, blocker: Blocker | None) -> Stretch:
    """The part of a wait with that blocker; None: nobody is known."""
    if blocker is None:
        return Stretch(begin, end, Reason.NOBODY)
    reason, task_id, project_id, environment_id, _, _, note = blocker
    return Stretch(begin, end, reason, machine, task_id, project_id, environment_id, note)


def holder_of(front: LineHead, task_id: str, family: int | None) -> Blocker | None:
    """Who makes the machine busy for this run, the longest of them, or None."""
    holders = front.holders
    if not holders:
        return None
    if family is not None:
        busy = [blocker for blocker in holders if blocker.reason is Reason.HOLDER]
        others = [blocker for blocker in busy if blocker.family != family]
        if busy and not others:
            return None
        holders = tuple(others) or holders
    return next((blocker for blocker in holders if blocker.task_id != task_id), None)


def ahead_of(front: LineHead, task_id: str, family: int | None) -> Blocker | None:
    """The first in line before this run at a machine that does not make it wait otherwise, or None."""
    head = front.head
    if head is None or head.task_id == task_id:
        return None
    # A child need not stand in line where its family holds.
    return None if front.holders and family is not None else head


class Fronts:
    """The fronts of the lines of one wait as they are now.

    Args:
        machines: The machines that it wants, in its order; one is put by its number there.
    """

    def __init__(self, task_id: str, family: int | None, machines: Sequence[str]) -> None:
        self._task_id = task_id
        self._family = family
        self._machines = machines
        self._fronts: dict[int, LineHead] = {}
        #: Who holds, and who is ahead.
        self._holders, self._ahead = _InTheWay(), _InTheWay()

    def put(self, number: int, front: LineHead) -> None:
        """Take that front for the present one of a machine."""
        before = self._fronts.get(number, EMPTY)
        self._fronts[number] = front
        self._holders.put(number, holder_of(front, self._task_id, self._family), _tasks_at(before), _tasks_at(front))
        heads = [[one.head.task_id] if one.head else [] for one in (before, front)]
        self._ahead.put(number, ahead_of(front, self._task_id, self._family), *heads)

    def stretch(self, begin: int, end: int) -> Stretch:
        """The part of the wait in which they stood so."""
        for each in (self._holders, self._ahead):
            if worst := each.worst():
                number, blocker = worst
                part = stretch_of(begin, end, self._machines[number], blocker)
                if not blocker.task_id:
                    return part
                same = self._holders if blocker.reason is Reason.HOLDER else self._ahead
                return part._replace(also=same.also(blocker.task_id, number, self._machines))
        return stretch_of(begin, end, None, None)


class _InTheWay:
    """Who is in the way, in one manner, at each machine by its number."""

    def __init__(self) -> None:
        self._blockers: dict[int, Blocker] = {}
        #: Rank and number of each, and of some that are in the way no longer.
        self._heap: list[tuple[tuple[int, int], int]] = []
        #: The machines at which each task stands.
        self._machines_of: dict[str | None, set[int]] = {}
        #: By task: at which machine it was in the way when it was asked for last, and the others then.
        self._also: dict[str | None, tuple[int, tuple[str, ...]]] = {}

    def put(
        self, number: int, blocker: Blocker | None, before: Sequence[str | None], now: Sequence[str | None]
    ) -> None:  # fmt: skip
        """Note who is in the way at a machine, and the tasks that stood and stand there."""
        if blocker is None:
            self._blockers.pop(number, None)
        else:
            self._blockers[number] = blocker
            heapq.heappush(self._heap, (blocker.rank, number))
        if before != now:
            for task in before:
                self._machines_of[task].discard(number)
            for task in now:
                self._machines_of.setdefault(task, set()).add(number)
            for task in {*before} ^ {*now}:
                self._also.pop(task, None)

    def worst(self) -> tuple[int, Blocker] | None:
        """The one of the smallest rank, at the first of the machines where he is."""
        while self._heap:
            rank, number = self._heap[0]
            blocker = self._blockers.get(number)
            if blocker and blocker.rank == rank:
                return number, blocker
            heapq.heappop(self._heap)
        return None

    def also(self, task: str, number: int, machines: Sequence[str]) -> tuple[str, ...]:
        """The other machines at which that task stands."""
        known = self._also.get(task)
        if known is None or known[0] != number:
            others = sorted(self._machines_of.get(task, ()))
            known = self._also[task] = number, tuple(machines[other] for other in others if other != number)
        return known[1]


def _tasks_at(front: LineHead) -> list[str | None]:
    return [held.task_id for held in front.holders]
