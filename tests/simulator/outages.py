"""Times in which the server is not there, and what becomes of its tasks."""

from __future__ import annotations

from tests.simulator.clock import Clock, Timers
from tests.simulator.engine import Engine
from tests.simulator.model import Invalid


class Outages:
    """Restarts and maintenance windows, one at a time. Everything here takes the store's lock."""

    def __init__(self, engine: Engine, clock: Clock, timers: Timers) -> None:
        self._engine = engine
        self._clock = clock
        self._timers = timers
        self._has_page = False
        #: Start and end in ms of each; no end: it lasts.
        self.all: list[list[int | None]] = []

    @property
    def is_silent(self) -> bool:
        """The server is away and nobody answers in its place."""
        return self._engine.is_away and not self._has_page

    @property
    def shows_page(self) -> bool:
        """The server is away and a page of HTML says so."""
        return self._engine.is_away and self._has_page

    def begin(self, seconds: float, *, cancels: bool, has_page: bool) -> None:
        """Go away for *seconds*, before the clock's speed; see `Engine.go_away`. Raises: Invalid: it is away."""
        with self._engine.changed:
            if self._engine.is_away:
                raise Invalid("The server is away already.")
            self._has_page = has_page
            self._engine.go_away(cancels=cancels)
            self.all.append([Clock.now_ms(), None])
        self._timers.after(self._clock.real(seconds), lambda: self._end(cancels=cancels))

    def _end(self, *, cancels: bool) -> None:
        with self._engine.changed:
            self.all[-1][1] = Clock.now_ms()
            self._engine.come_back(cancels=cancels)
