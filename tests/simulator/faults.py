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
        too_many: The API answers 429.
        error: The API answers 500.
        unavailable: The API answers 503.
        only: Those three concern only calls whose route contains this text, such as ``preview``.
        most: Those three come only so many times more; None: for ever.
        slow_seconds: The API answers so much later.
        retry_after: Seconds in Retry-After of 429 and 503, as they stand; None: it is not sent.
        is_down: The API closes connections without an answer.
        is_in_maintenance: The API answers 503 with a page of HTML.
        flag_off: A task that waits for a person says ``HasPendingInterruptions`` false.
        types_off: It names no ``PendingInterruptionTypes``.
    """

    drop: float = 0.0
    double: float = 0.0
    delay_seconds: float = 0.0
    reorder: float = 0.0
    abort: float = 0.0
    too_many: float = 0.0
    error: float = 0.0
    unavailable: float = 0.0
    only: str = ""
    most: int | None = None
    slow_seconds: float = 0.0
    retry_after: int | None = 1
    is_down: bool = False
    is_in_maintenance: bool = False
    flag_off: float = 0.0
    types_off: float = 0.0


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

    def falls_for(self, route: str, chance: float) -> bool:
        """Whether a fault of the API with this *chance* befalls a call of *route*, one of the most that may be."""
        faults = self.faults
        if faults.only.lower() not in route.lower() or faults.most == 0 or not self.falls(chance):
            return False
        if faults.most is not None:
            self.faults = replace(self.faults, most=faults.most - 1)
        return True

    def between(self, most: float) -> float:
        """Uniformly from 0 to *most*."""
        with self._lock:
            return self._random.uniform(0, most)

    def shuffled(self, items: list[Any]) -> list[Any]:
        with self._lock:
            return self._random.sample(items, len(items))

    def as_json(self) -> dict[str, Any]:
        return asdict(self.faults)
