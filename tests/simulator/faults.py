"""What goes wrong on demand, by dice with a seed."""

from __future__ import annotations

import random
import threading
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Chances are from 0 to 1; seconds are divided by the clock's speed.

    Attributes:
        drop: A webhook counts as sent and is not.
        double: A webhook is sent twice.
        delay_seconds: A webhook is sent up to so much later than its batch, each on its own, so out of order.
        reorder: The events of a batch are shuffled.
        abort: A batch ends before an event, as after a failed call: that event and the rest are lost.
        too_many: The API answers 429 with Retry-After.
        error: The API answers 500.
        slow_seconds: The API answers so much later.
        retry_after: Seconds in Retry-After, as they stand.
        is_down: The API closes connections without an answer.
    """

    drop: float = 0.0
    double: float = 0.0
    delay_seconds: float = 0.0
    reorder: float = 0.0
    abort: float = 0.0
    too_many: float = 0.0
    error: float = 0.0
    slow_seconds: float = 0.0
    retry_after: int = 1
    is_down: bool = False


class Dice:
    """The faults of the moment, and the chance that decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.faults = Faults()

    def set(self, **changes: Any) -> Faults:
        """Change some faults, the others stay. Raises: TypeError: no such fault."""
        self.faults = replace(self.faults, **changes)
        return self.faults

    def clear(self) -> None:
        self.faults = Faults()

    def falls(self, chance: float) -> bool:
        """True with this *chance*."""
        with self._lock:
            return chance > 0 and self._random.random() < chance

    def between(self, most: float) -> float:
        """Uniformly from 0 to *most*."""
        with self._lock:
            return self._random.uniform(0, most)

    def shuffled(self, items: list[Any]) -> list[Any]:
        with self._lock:
            return self._random.sample(items, len(items))

    def as_json(self) -> dict[str, Any]:
        return asdict(self.faults)
