"""Quiet: who has his answer lets all go first who are to get theirs, before his connection is looked after."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
from gevent.hub import Waiter

from app.coordination.ticks import Ticks
from app.web.polls.crowd import next_period


class Quiet:
    """Whether answers are under way. By the time that none are, most clients have closed their connection: then nothing
    is waited for.

    Args:
        ticks: At the next period all go on in any case.
    """

    def __init__(self, ticks: Ticks) -> None:
        self._ticks = ticks
        self._under_way = 0
        self._resting: list[Waiter] = []

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """Meanwhile answers are under way."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._go_on()

    def rest(self) -> None:
        """Sleep until it is quiet."""
        if self._under_way:
            if not self._resting:
                self._ticks.add(self._go_on, next_period(time.monotonic()))
            waiter = Waiter()
            self._resting.append(waiter)
            waiter.get()

    def _go_on(self) -> None:
        resting, self._resting = self._resting, []
        for waiter in resting:
            gevent.get_hub().loop.run_callback(waiter.switch, None)
