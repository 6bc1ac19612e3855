"""A crowd: so many who come to block that their looks had better go together.

Those of ten thousand that begin and end together cost a fifth less than some at a time: who comes alone finds nothing
of what it needs in the caches of the processors.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from app.coordination.ticks import last_tick

#: Seconds between two moments at which long polls end, and those of a crowd begin.
PERIOD_SECONDS = 1.0

#: Seconds from which on a poll is long.
LONG_SECONDS = 10.0

#: Polls that come to block in a period, from which on they are a crowd.
MANY = 10


class Crowd:
    """Whether so many come to block that their first looks had better go together.

    Args:
        now: Seconds by a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._period = self._count = self._before = 0

    def is_large(self) -> bool:
        """Somebody comes: whether he is one of many, in this period or in the one before."""
        period = int(self._now() / PERIOD_SECONDS)
        if period != self._period:
            self._before = self._count if period == self._period + 1 else 0
            self._period, self._count = period, 0
        self._count += 1
        return max(self._count, self._before) >= MANY


def next_period(moment: float) -> float:
    """When the next period begins."""
    return (int(moment / PERIOD_SECONDS) + 1) * PERIOD_SECONDS


def end_of_poll(now: float, seconds: float) -> float:
    """When a poll of so many *seconds* ends for its time alone: of more than a second with others, so that one script
    looks at all; never later.
    """
    end = now + seconds
    if seconds > LONG_SECONDS:
        return int(end / PERIOD_SECONDS) * PERIOD_SECONDS
    return last_tick(end) if seconds > 1 else end
