"""The offset of Octopus's clock: what that is ahead of the board's time, as far as it is known (rule 17)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from app.domain.durations import format_duration
from app.domain.faults import Fault
from app.store.clock import read_now_ms
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import Scripts, redis_errors

#: Seconds between two measurements of one process.
MEASURE_EVERY = 10.0

#: The time that an answer of Octopus says is in whole seconds: it may be so many ms later.
SECOND_MS = 1000


@dataclass(frozen=True)
class ClockOffset:
    """What Octopus's clock is ahead of the board's time: something from *least_ms* to *most_ms*.

    Args:
        source: ``answer`` (the ``Date`` of Octopus's answers), ``webhook`` (when those say that they were sent), or
            ``assumed`` where neither has told.
    """

    least_ms: int = 0
    most_ms: int = 0
    source: str = "assumed"

    @property
    def middle_ms(self) -> int:
        return (self.least_ms + self.most_ms) // 2

    @property
    def is_known(self) -> bool:
        return self.source != "assumed"

    def faults(self, tolerance: timedelta) -> list[Fault]:
        """One where the two are farther apart than clocks are that somebody synchronizes."""
        apart_ms = max(self.least_ms, -self.most_ms)
        if apart_ms <= tolerance // timedelta(milliseconds=1):
            return []
        side = "ahead of" if self.least_ms > 0 else "behind"
        return [
            Fault(
                "clocks_apart",
                f"The clock of Octopus is {format_duration(apart_ms)} {side} that of Redis: octowait reckons with it, "
                "and whoever compares its times with those of Octopus is misled.",
                "Let both machines synchronize their clocks.",
            )
        ]


class OffsetMeter:
    """Measures the offset by answers of Octopus. All methods raise `StoreError`."""

    def __init__(
        self, script: Scripts, client: Client, keys: Keys, *, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._script = script
        self._client = client
        self._keys = keys
        self._clock = clock
        self._next = 0.0

    def note(self, date_ms: int, *, sent: float, received: float) -> None:
        """Note what an answer says, at most once in `MEASURE_EVERY`.

        Args:
            date_ms: Its ``Date``, in whole seconds.
            sent: When its request was sent, and *received* when it was there, seconds by this process's clock.

        Source: lua/measure.lua.
        """
        if received < self._next:
            return
        self._next = received + MEASURE_EVERY
        before = self._clock()
        with redis_errors():
            now_ms = read_now_ms(self._client, self._keys) + self._script.offset_ms
        after = self._clock()
        # What the board's time was at the earliest when Octopus made its answer, and at the latest.
        earliest_ms, latest_ms = now_ms - round((after - sent) * 1000), now_ms - round((before - received) * 1000)
        self._script("measure", date_ms - latest_ms, date_ms + SECOND_MS - earliest_ms)
