"""Intervals of the past for charts: who had which machines from when to when, and who waited for them meanwhile.

`Replay` yields waits and holds when they end. A chart also shows what goes on, reservations, overlaps, and closures
of the board.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from app.domain.analysis.board_state import ActiveRun
from app.domain.analysis.replay import Hold, Replay, Wait
from app.domain.records import RecordLike


class Span(NamedTuple):
    """Something that had machines for a while.

    Args:
        kind: ``lease``, ``observed``, ``provisional``, ``reservation``, ``overlap``, or ``closed`` (no machines).
        to_ms: When it ended, or up to when it is known.
        is_open: It goes on.
        cause: What ended it, as the timeline says it.
        note: Of a reservation, what for and by whom; of an overlap, the other task.
    """

    kind: str
    task_id: str | None
    run: int
    machines: tuple[str, ...]
    from_ms: int
    to_ms: int
    is_open: bool = False
    cause: str | None = None
    note: str | None = None
    waited_ms: int | None = None
    project_id: str | None = None


Interval = Span | Wait


def intervals_of(changes: Iterable[RecordLike], replay: Replay, to_ms: int) -> Iterator[Interval]:
    """All that was after the beginning of *replay*: what ended in order of its end, then what goes on at *to_ms*.

    Args:
        changes: Records, oldest first, all before *to_ms*; those that the state of *replay* has already are left out.
        replay: With the state behind the record before the first.
    """
    scene = _Intervals(replay)
    for change in changes:
        yield from scene.apply(change)
    yield from scene.rest(to_ms)


class _Intervals:
    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._from_ms = replay.from_ms
        self._kinds = {key: run.kind for key, run in replay.present.items()}
        self._reserved: dict[str, Span] = {}
        self._overlaps: list[Span] = []
        for key, state in replay.machines_by_id.items():
            if reservation := state.holders.get(""):
                self._reserved[key] = _reservation(state.id, reservation.rank[0], reservation.note)

    def apply(self, change: RecordLike) -> Iterator[Interval]:
        key = (change.task_id or "").lower()
        before = self._replay.present.get(key)
        kind = before.kind if before else None
        interval = self._replay.apply(change)
        if change.kind == "overlapped":
            self._overlapped(change)
        elif change.kind in ("reserved", "unreserved"):
            yield from self._reservation(change)
        if isinstance(interval, Hold):
            yield from self._ended(interval, kind or "lease")
        elif isinstance(interval, Wait) and interval.to_ms >= self._from_ms:
            yield interval

    def _ended(self, hold: Hold, kind: str) -> Iterator[Interval]:
        if hold.to_ms >= self._from_ms:
            yield Span(
                kind, hold.task_id, hold.run, hold.machines, hold.from_ms, hold.to_ms, False, hold.cause, None,
                hold.waited_ms, hold.project_id,
            )  # fmt: skip
        still = []
        for overlap in self._overlaps:
            if hold.task_id not in (overlap.task_id, overlap.note):
                still.append(overlap)
            elif hold.to_ms >= self._from_ms:
                yield overlap._replace(to_ms=hold.to_ms, is_open=False)
        self._overlaps = still

    def _overlapped(self, change: RecordLike) -> None:
        other = change.detail.get("with")
        self._overlaps.append(
            Span("overlap", change.task_id, change.run or 1, tuple(change.machines), change.at_ms, change.at_ms, True,
                 None, str(other))
        )  # fmt: skip

    def _reservation(self, change: RecordLike) -> Iterator[Interval]:
        for machine in change.machines:
            before = self._reserved.pop(machine.lower(), None)
            if change.kind == "reserved":
                since = before.from_ms if before else change.at_ms
                self._reserved[machine.lower()] = _reservation(machine, since, _note_of(change.detail))
            elif before and change.at_ms >= self._from_ms:
                yield before._replace(to_ms=change.at_ms, is_open=False, cause=change.cause)

    def rest(self, to_ms: int) -> Iterator[Interval]:
        """What goes on, and when the board was closed."""
        for run in self._replay.present.values():
            if run.kind != "waiting":
                yield _holding(run, to_ms)
        for span in (*self._reserved.values(), *self._overlaps):
            yield span._replace(to_ms=max(to_ms, span.from_ms))
        for closed, opened in self._replay.closures:
            if opened is None or opened >= self._from_ms:
                yield Span("closed", None, 0, (), closed, opened or to_ms, opened is None)
        yield from self._replay.waiting(to_ms)


def _holding(run: ActiveRun, to_ms: int) -> Span:
    return Span(
        run.kind, run.task_id, run.run, run.machines, run.since_ms, max(to_ms, run.since_ms), True, None, None,
        run.waited_ms, run.project_id,
    )  # fmt: skip


def _reservation(machine: str, since_ms: int, note: str | None) -> Span:
    return Span("reservation", None, 0, (machine,), since_ms, since_ms, True, None, note)


def _note_of(detail: Mapping[str, Any]) -> str:
    return ", by ".join(str(part) for part in (detail.get("note"), detail.get("by")) if part)
