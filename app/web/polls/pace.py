"""How often a step may be told that its run still waits: a client that asks at once again is slowed down, not refused.

A proxy that drops the query of a poll, or a cache, makes a step ask hundreds of times a second. Each process counts for
itself: that bounds what it does, and asks Redis for nothing.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: Seconds between two answers that tell a run that it waits.
EVERY_SECONDS = 1.0

#: Runs that are remembered at most; without one a poll is only answered too soon.
MOST_RUNS = 10_000


class Pace:
    """When runs were told last that they wait, as far as that is less than `EVERY_SECONDS` ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answers: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def left(self, task_id: str) -> float:
        """Seconds until the run is to be told again, at most `EVERY_SECONDS`; 0: now."""
        last = self._answers.get(task_id.lower())
        return 0.0 if last is None else max(0.0, last + EVERY_SECONDS - self._clock())

    def note(self, task_id: str) -> None:
        """Note that the run is told now that it waits."""
        now = self._clock()
        self._answers.pop(task_id.lower(), None)
        self._answers[task_id.lower()] = now
        while self._answers and (
            len(self._answers) > MOST_RUNS or next(iter(self._answers.values())) <= now - EVERY_SECONDS
        ):
            self._answers.popitem(last=False)
