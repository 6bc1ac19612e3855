"""Time: durations can run fast, time stamps never do, since octowait compares them with its own clock; the server's
clock can be wrong, as those of machines are that nobody synchronizes.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Wall-clock time, and durations divided by *speed*."""

    #: What the clock of this process is ahead of the time, ms: it has one server.
    ahead_ms = 0

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed

    def real(self, seconds: float) -> float:
        """How long *seconds* of simulated time really take."""
        return seconds / self.speed

    @classmethod
    def now_ms(cls) -> int:
        """Milliseconds since the epoch, as the server believes."""
        return time.time_ns() // 1_000_000 + cls.ahead_ms


def iso(ms: int | None) -> str | None:
    """*ms* as Octopus writes it: ``2025-05-06T07:00:00.000+00:00``."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def parse_iso(text: str) -> int:
    """Milliseconds of an ISO 8601 time; without an offset it is UTC. Raises: ValueError."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "+"))
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class Timers:
    """Calls functions later, from one thread; a function that takes long must start a thread of its own."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="timers", daemon=True)
        self._thread.start()

    def after(self, real_seconds: float, call: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._entries, (time.monotonic() + real_seconds, next(self._numbers), call))
            self._changed.notify()

    def every(self, real_seconds: float, call: Callable[[], None]) -> None:
        def again() -> None:
            self.after(real_seconds, again)
            call()

        self.after(real_seconds, again)

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not self._entries or self._entries[0][0] > time.monotonic():
                    self._changed.wait(self._entries[0][0] - time.monotonic() if self._entries else None)
                call = heapq.heappop(self._entries)[2]
            call()
