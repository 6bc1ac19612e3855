"""The mutex of a Tentacle: held for one script at a time, so the steps of two deployments may alternate."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulator.activity import Activity


class Mutex:
    """First come, first served; a waiting activity that is stopped leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: deque[threading.Event] = deque()

    @contextmanager
    def held(self, activity: Activity) -> Iterator[None]:
        """Wait for the mutex and hold it. Raises: Stopped."""
        turn = threading.Event()
        with self._lock:
            self._line.append(turn)
            if self._line[0] is turn:
                turn.set()
        try:
            activity.wait(turn)
            yield
        finally:
            self._leave(turn)

    def _leave(self, turn: threading.Event) -> None:
        with self._lock:
            was_first = self._line[0] is turn
            self._line.remove(turn)
            if was_first and self._line:
                self._line[0].set()

    @property
    def is_held(self) -> bool:
        with self._lock:
            return bool(self._line)
