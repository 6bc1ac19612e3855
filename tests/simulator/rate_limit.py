"""A token bucket for each user, and the headers that tell of it."""

from __future__ import annotations

import threading
import time

#: Requests at once, and a minute before the clock's speed, of the policy for people and ordinary service accounts.
BURST, REQUESTS_PER_MINUTE = 200, 200


class RateLimit:
    """One request is one token, whatever it costs the server; tokens come back continuously.

    Args:
        rpm: Requests a real minute.
    """

    def __init__(self, burst: int, rpm: float) -> None:
        self._lock = threading.Lock()
        self._burst = burst
        self._rpm = rpm
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> tuple[bool, dict[str, str], int]:
        """Whether *who* has a token left, the headers of the answer, and the seconds until there is one."""
        with self._lock:
            now = time.monotonic()
            left, since = self._buckets.get(who, (float(self._burst), now))
            left = min(self._burst, left + (now - since) * self._rpm / 60)
            is_allowed = left >= 1
            left -= is_allowed
            self._buckets[who] = (left, now)
        seconds = max(1, round((1 - left) * 60 / self._rpm + 0.5)) if left < 1 else 0
        headers = {"Octopus-RateLimit-Policy": f"l={self._burst};rpm={round(self._rpm)}",
                   "Octopus-RateLimit": f"r={int(left)};t={seconds}"}  # fmt: skip
        return is_allowed, headers, seconds
