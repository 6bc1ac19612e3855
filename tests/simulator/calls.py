"""Counts the calls of the API, so that a polling loop can be compared with octowait."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any


class Calls:
    """Calls by API key (its user's name) and by what was called, e.g. ``GET tasks/{id}``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[str, Counter[str]] = {}

    def count(self, who: str, what: str, status: int) -> None:
        with self._lock:
            self._counts[who, what, status] += 1
            self._seconds.setdefault(who, Counter())[str(int(time.time()))] += 1

    def as_json(self) -> dict[str, Any]:
        """``{"total", "by_key": {who: n}, "by_path": {what: n}, "by_key_and_path": {who: {what: n}}, "by_status",
        "by_key_and_second": {who: {second since the epoch: n}}}``."""
        with self._lock:
            counts = dict(self._counts)
            seconds = {who: dict(numbers) for who, numbers in self._seconds.items()}
        by_key: Counter[str] = Counter()
        by_path: Counter[str] = Counter()
        by_status: Counter[str] = Counter()
        both: dict[str, Counter[str]] = {}
        for (who, what, status), number in counts.items():
            by_key[who] += number
            by_path[what] += number
            by_status[str(status)] += number
            both.setdefault(who, Counter())[what] += number
        return {"total": sum(counts.values()), "by_key": by_key, "by_path": by_path, "by_status": by_status,
                "by_key_and_path": both, "by_key_and_second": seconds}  # fmt: skip
