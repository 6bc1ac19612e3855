"""Ticks: moments that many sleep until, so that they wake together."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds between two ticks.
TICK_SECONDS = 0.1

#: Of a tick, by which a moment may be too early to count as its own: those that were computed are.
_BLUR = 0.001

#: Lets somebody go on.
Wake = Callable[[], object]


def tick_of(moment: float) -> int:
    """The number of the last tick up to *moment*, in seconds of the monotonic clock."""
    return int(moment / TICK_SECONDS + _BLUR)


def last_tick(moment: float) -> float:
    """When that tick is."""
    return tick_of(moment) * TICK_SECONDS


class Ticks:
    """Wakes those who sleep until a tick, all of them together, beside its caller while there are any.

    A time-out for each of ten thousand would cost as much as all else about their sleep, and wake them one by one.
    For the greenlets of one thread: none of them is interrupted in here.

    Args:
        start: Runs something beside its caller.
        sleep: Sleeps so many seconds.
        now: Seconds by a clock that never goes back.
    """

    def __init__(
        self, start: Callable[[Callable[[], object]], object], sleep: Callable[[float], object],
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._start, self._sleep, self._now = start, sleep, now
        self._wakes: dict[int, set[Wake]] = {}
        self._last = 0

    def __len__(self) -> int:
        return sum(map(len, self._wakes.values()))

    def add(self, wake: Wake, moment: float) -> int:
        """Have *wake* called at the last tick up to *moment*, or at the next one; the number of the tick."""
        current = tick_of(self._now())
        if not self._wakes:
            self._last = current
            self._start(self._run)
        tick = max(tick_of(moment), current + 1)
        self._wakes.setdefault(tick, set()).add(wake)
        return tick

    def remove(self, wake: Wake, tick: int) -> None:
        """Have it not called, if it has not been."""
        if wakes := self._wakes.get(tick):
            wakes.discard(wake)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            now = self._now()
            self._sleep((tick_of(now) + 1) * TICK_SECONDS - now)
            due, is_over = self._take()
            for wake in due:
                wake()

    def _take(self) -> tuple[list[Wake], bool]:
        """Who is due, and whether nobody else is there."""
        current = tick_of(self._now())
        due = [wake for tick in range(self._last + 1, current + 1) for wake in self._wakes.pop(tick, ())]
        self._last = current
        return due, not self._wakes
