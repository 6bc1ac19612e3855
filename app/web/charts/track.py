"""The track of a machine: its intervals in a window, at the resolution of a screen.

However much happened, it stays small: what is narrower than a pixel or two is counted and not kept, and where more wait
than there is room for, the chart shows how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeVar

from app.domain.analysis.intervals import Interval, Span
from app.domain.analysis.replay import Wait

#: Columns of a chart; what is narrower than one of them is not drawn by itself.
COLUMNS = 600

#: Rows of waits that are drawn; of more, their number over time is.
MOST_ROWS = 40

#: Waits that are kept to be drawn, and rows for those who hold.
MOST_WAITS, MOST_LANES = 1000, 12

_Item = TypeVar("_Item", Span, Wait)


@dataclass(frozen=True)
class Window:
    """The time range of a chart, and the present."""

    from_ms: int
    to_ms: int
    now_ms: int

    @property
    def span_ms(self) -> int:
        return self.to_ms - self.from_ms

    @property
    def until_ms(self) -> int:
        """The end of what is known."""
        return min(self.to_ms, self.now_ms)

    @property
    def least_ms(self) -> int:
        """What is shorter is not drawn by itself."""
        return self.span_ms // COLUMNS

    def x(self, at_ms: float) -> float:
        """The x coordinate of a time, in percent of the width."""
        share = 100 * (at_ms - self.from_ms) / self.span_ms
        return round(min(100.0, max(0.0, share)), 3)

    def column(self, at_ms: int) -> int:
        return min(COLUMNS - 1, max(0, COLUMNS * (at_ms - self.from_ms) // self.span_ms))

    def width_ms(self, from_ms: int, to_ms: int) -> int:
        """The milliseconds of a span that are inside."""
        return min(to_ms, self.to_ms) - max(from_ms, self.from_ms)


@dataclass(frozen=True)
class Clump:
    """A group of holds too short to be told apart."""

    from_ms: int
    to_ms: int
    count: int


@dataclass
class Track:
    """The intervals of one machine in a window, and their counts."""

    window: Window
    machine_id: str
    holds: list[Span] = field(default_factory=list)
    reservations: list[Span] = field(default_factory=list)
    overlaps: list[Span] = field(default_factory=list)
    closures: list[Span] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    #: How many runs held it and waited for it, and how long those waited inside the window.
    held_count: int = 0
    wait_count: int = 0
    waited_ms: int = 0
    _narrow: Counter[int] = field(default_factory=Counter)
    _narrow_waits: Counter[int] = field(default_factory=Counter)
    _steps: Counter[int] = field(default_factory=Counter)

    def add(self, interval: Interval) -> None:
        """Add what happened here; what lies outside of the window is left out."""
        if interval.from_ms >= self.window.to_ms or interval.to_ms < self.window.from_ms:
            return
        if isinstance(interval, Wait):
            self._add_wait(interval)
        elif interval.kind == "reservation":
            self.reservations.append(interval)
        elif interval.kind == "overlap":
            self.overlaps.append(interval)
        elif interval.kind == "closed":
            self.closures.append(interval)
        else:
            self._add_hold(interval)

    def _add_hold(self, hold: Span) -> None:
        self.held_count += 1
        if self._is_narrow(hold) and not hold.is_open:
            self._narrow[self.window.column(hold.from_ms)] += 1
        else:
            self.holds.append(hold)

    def _add_wait(self, wait: Wait) -> None:
        inside = self.window.width_ms(wait.from_ms, wait.to_ms)
        if not inside and wait.outcome == "granted":
            return  # It did not have to wait.
        self.wait_count += 1
        self.waited_ms += inside
        self._steps[self.window.column(wait.from_ms)] += 1
        self._steps[self.window.column(wait.to_ms) + 1] -= 1
        if not self._is_narrow(wait) or wait.outcome == "waiting":
            self.waits.append(wait)
            del self.waits[MOST_WAITS:]
        else:
            self._narrow_waits[self.window.column(wait.from_ms)] += 1

    def _is_narrow(self, item: Span | Wait) -> bool:
        return COLUMNS * self.window.width_ms(item.from_ms, item.to_ms) < self.window.span_ms

    @property
    def clumps(self) -> list[Clump]:
        """The holds that are too short to be drawn by themselves, those beside each other as one."""
        return self._clumps_of(self._narrow)

    @property
    def wait_clumps(self) -> list[Clump]:
        """The same of the waits."""
        return self._clumps_of(self._narrow_waits)

    def _clumps_of(self, counts: Counter[int]) -> list[Clump]:
        width = self.window.span_ms / COLUMNS
        clumps: list[Clump] = []
        for column in sorted(counts):
            begin, end = (round(self.window.from_ms + n * width) for n in (column, column + 1))
            if clumps and begin - clumps[-1].to_ms < width:
                last = clumps.pop()
                clumps.append(Clump(last.from_ms, end, last.count + counts[column]))
            else:
                clumps.append(Clump(begin, end, counts[column]))
        return clumps

    @property
    def depth(self) -> list[int]:
        """The number of waits in each column."""
        return list(accumulate(self._steps[column] for column in range(COLUMNS)))

    @property
    def hold_rows(self) -> list[list[Span]]:
        return list(rows(self.holds))[:MOST_LANES]

    @property
    def wait_rows(self) -> list[list[Wait]] | None:
        """The waits in rows of which no two overlap; None where there are more than a chart has room for."""
        if self.wait_count > MOST_WAITS:
            return None
        wait_rows = list(rows(self.waits))
        return wait_rows if len(wait_rows) <= MOST_ROWS else None


def rows(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """*items* in as few rows as need be, each in the first one that is free when it begins."""
    made: list[list[_Item]] = []
    for item in sorted(items, key=lambda item: (item.from_ms, item.to_ms, item.task_id or "")):
        row = next((row for row in made if row[-1].to_ms <= item.from_ms), None)
        if row is None:
            made.append([item])
        else:
            row.append(item)
    return iter(made)


#: Milliseconds between the marks of an axis.
_STEPS = [1000 * s for s in (
    1, 5, 15, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 30 * 86400,
    90 * 86400, 365 * 86400,
)]  # fmt: skip


def ticks(window: Window, *, most: int = 9) -> tuple[list[int], int]:
    """The moments that the axis marks, and the milliseconds between them."""
    step = next((step for step in _STEPS if window.span_ms <= most * step), _STEPS[-1])
    first = -(-window.from_ms // step) * step
    return list(range(first, window.to_ms, step)), step
