"""Attribution of a wait: each stretch of a wait, and the one who stood in its way then.

The rule, at each moment of a wait:

1. While the board is closed (rule 15) it waits for the rebuilding.
2. Else, if some of its machines are busy or reserved: for whoever has made one of them so for the longest. Among equals
   the first of the wait's machines counts. What its own family holds does not stand in its way (rule 10).
3. Else, if somebody stands before it in one of its lines: for the first of these by priority, then arrival.
4. Else nobody is known to be in its way: what happened before is not on record.

It looks at the past only, so it says the same of a wait that goes on and of one that is over.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
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


class LineHeads:
    """The front of one machine over time. Changes of one millisecond are one change."""

    __slots__ = ("_fronts", "_limit", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self._fronts: list[LineHead] = []
        self._limit = 64

    def add(self, at_ms: int, front: LineHead) -> None:
        if not self.times:
            self.times.append(at_ms)
            self._fronts.append(front)
        elif self.times[-1] >= at_ms:
            self._fronts[-1] = front
        elif self._fronts[-1] != front:
            self.times.append(at_ms)
            self._fronts.append(front)

    @property
    def is_long(self) -> bool:
        """Whether `forget` is worth its while by now."""
        return len(self.times) > self._limit

    def forget(self, before_ms: int | None) -> None:
        """Drop what nobody waits for any more: all that was over *before_ms*, or all but the last."""
        keep = len(self.times) - 1 if before_ms is None else bisect_right(self.times, before_ms) - 1
        if keep > 0:
            del self.times[:keep], self._fronts[:keep]
        self._limit = max(64, 2 * len(self.times))

    def at(self, at_ms: int) -> LineHead:
        index = bisect_right(self.times, at_ms) - 1
        return self._fronts[index] if index >= 0 else EMPTY

    def between(self, from_ms: int, to_ms: int) -> Iterator[tuple[int, int, LineHead]]:
        """Each front with the part of *from_ms* to *to_ms* in which it stood; `EMPTY` before all that is known."""
        times, fronts = self.times, self._fronts
        index, begin = bisect_right(times, from_ms), from_ms
        front = fronts[index - 1] if index else EMPTY
        while index < len(times) and times[index] < to_ms:
            yield begin, times[index], front
            begin, front = times[index], fronts[index]
            index += 1
        if begin < to_ms:
            yield begin, to_ms, front


def stretches(
    task_id: str,
    family: int | None,
    machines: Sequence[tuple[str, LineHeads]],
    closures: Sequence[tuple[int, int | None]],
    span: tuple[int, int],
) -> tuple[Stretch, ...]:
    """The stretches of a wait: no gap, no overlap, from the first moment of *span* to its last.

    Args:
        machines: The ids of the machines it wanted, in its order, each with its past.
        closures: When the board was closed, oldest first; None is "still".
    """
    is_one = len(machines) == 1
    parts = _of_one(task_id, family, *machines[0], span) if is_one else _of_many(task_id, family, machines, span)
    if closures:
        parts = (piece for part in parts for piece in _closed_or(part, closures))
    merged: list[Stretch] = []
    last: Stretch | None = None
    for part in parts:
        if last and last.task_id == part.task_id and last.reason is part.reason and last.machine_id == part.machine_id:
            also = last.also if last.also == part.also else tuple(dict.fromkeys((*last.also, *part.also)))
            last = merged[-1] = last._replace(to_ms=part.to_ms, note=part.note, also=also)
        else:
            merged.append(last := part)
    return tuple(merged)


def _of_one(
    task_id: str, family: int | None, machine: str, past: LineHeads, span: tuple[int, int]
) -> Iterator[Stretch]:
    for begin, end, front in past.between(*span):
        blocker = front.first
        if family is not None or (blocker and blocker.task_id == task_id):
            blocker = holder_of(front, task_id, family) or ahead_of(front, task_id, family)
        yield _stretch(begin, end, machine, blocker)


def _of_many(
    task_id: str, family: int | None, machines: Sequence[tuple[str, LineHeads]], span: tuple[int, int]
) -> Iterator[Stretch]:
    turns = heapq.merge(*([t for t in past.times if span[0] < t < span[1]] for _, past in machines))
    begin = span[0]
    for end in (*turns, span[1]):
        if end > begin:
            fronts = [(machine, past.at(begin)) for machine, past in machines]
            machine, blocker = _worst(task_id, family, fronts)
            part = _stretch(begin, end, machine, blocker)
            yield part._replace(also=_also(machine, blocker, fronts)) if blocker and blocker.task_id else part
            begin = end


def _worst(task_id: str, family: int | None, fronts: list[tuple[str, LineHead]]) -> tuple[str | None, Blocker | None]:
    for find in (holder_of, ahead_of):
        blockers = [(machine, blocker) for machine, front in fronts if (blocker := find(front, task_id, family))]
        if blockers:
            return min(blockers, key=lambda pair: pair[1].rank)
    return None, None


def _also(machine: str | None, blocker: Blocker, fronts: list[tuple[str, LineHead]]) -> tuple[str, ...]:
    """The machines besides *machine* at which the same run stands in the way in the same manner."""
    is_holder, task = blocker.reason is Reason.HOLDER, blocker.task_id
    return tuple(
        other
        for other, front in fronts
        if other != machine
        and (
            any(held.task_id == task for held in front.holders)
            if is_holder
            else front.head is not None and front.head.task_id == task
        )
    )


def _stretch(begin: int, end: int, machine: str | None, blocker: Blocker | None) -> Stretch:
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


def _closed_or(part: Stretch, closures: Sequence[tuple[int, int | None]]) -> Iterator[Stretch]:
    """The part, cut where the board was closed meanwhile."""
    begin = part.from_ms
    for closed, opened in closures:
        end = part.to_ms if opened is None else min(opened, part.to_ms)
        start = max(closed, begin)
        if start < end:
            if begin < start:
                yield part._replace(from_ms=begin, to_ms=start)
            yield Stretch(start, end, Reason.REBUILDING)
            begin = end
    if begin < part.to_ms:
        yield part._replace(from_ms=begin)
