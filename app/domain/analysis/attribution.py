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
import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter

from app.domain.analysis.fronts import EMPTY, Fronts, LineHead, Reason, Stretch, ahead_of, holder_of, stretch_of


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
            is_same = last.also is part.also or last.also == part.also
            also = last.also if is_same else tuple(dict.fromkeys((*last.also, *part.also)))
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
        yield stretch_of(begin, end, machine, blocker)


def _of_many(
    task_id: str, family: int | None, machines: Sequence[tuple[str, LineHeads]], span: tuple[int, int]
) -> Iterator[Stretch]:
    pasts = [past for _, past in machines]
    changes = heapq.merge(*([(t, n) for t in past.times if span[0] < t < span[1]] for n, past in enumerate(pasts)))
    seen = Fronts(task_id, family, [machine for machine, _ in machines])
    for number, past in enumerate(pasts):
        seen.put(number, past.at(span[0]))
    begin = span[0]
    for end, changed in itertools.groupby(changes, key=itemgetter(0)):
        yield seen.stretch(begin, end)
        for _, number in changed:
            seen.put(number, pasts[number].at(end))
        begin = end
    if begin < span[1]:
        yield seen.stretch(begin, span[1])


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
