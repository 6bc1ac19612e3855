"""A crowd: so many who come to block that their first looks had better go together."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.coordination.ticks import tick_of

#: Polls that come to block between two ticks, from which on they are a crowd.
MANY = 3


class Crowd:
    """Whether so many come to block that their first looks had better go together.

    Args:
        now: Seconds by a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tick = self._count = self._before = 0

    def is_large(self) -> bool:
        """Somebody comes: whether he is one of many, in this tick or in the one before."""
        tick = tick_of(self._now())
        if tick != self._tick:
            self._before = self._count if tick == self._tick + 1 else 0
            self._tick, self._count = tick, 0
        self._count += 1
        return max(self._count, self._before) >= MANY
