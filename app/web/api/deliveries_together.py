"""Deliveries that come at the same time go to Redis together: one script, and one synced write, for all of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from app.coordination.board import Board
from app.domain.events import Event
from app.store.errors import StoreError, StoreUnreachable
from app.store.fair_queue import LONGEST_TURN
from app.store.fairness import serve

#: Events that go together: some milliseconds of Redis, which serves others in between.
MOST_EVENTS = 32


class DeliveriesTogether:
    """The way to Redis of the deliveries of a process: one script is under way at a time, with all that came meanwhile.

    Who finds nobody there goes at once, and is not slower than alone. The first of those who come meanwhile goes next.

    Args:
        confirm: As for `Board.deliver`.
        longest: Seconds that anybody waits for others.
    """

    def __init__(self, board: Board, *, confirm: bool, longest: float = LONGEST_TURN) -> None:
        self._board = board
        self._confirm = confirm
        self._longest = longest
        self._guard = threading.Lock()
        #: In the order in which they came. The first one is under way, or about to be.
        self._queue: deque[_Delivery] = deque()
        self._is_under_way = False

    def deliver(self, event: Event) -> str:
        """Apply *event*: its outcome, as `Board.deliver` says.

        Raises:
            StoreError: as there; or it is not known in time whether it was applied.
        """
        delivery = _Delivery(event)
        with self._guard:
            self._queue.append(delivery)
            goes_at_once, self._is_under_way = not self._is_under_way, True
        try:
            if not goes_at_once and not delivery.sleep(self._longest) and delivery.outcome is None:
                raise StoreUnreachable(f"Redis has not come to a delivery for {self._longest:g} s")
            if delivery.outcome is None:
                self._go()
        except BaseException:
            # Those behind it go on.
            self._leave(delivery)
            raise
        if isinstance(delivery.outcome, StoreError):
            raise delivery.outcome
        assert delivery.outcome is not None
        return delivery.outcome

    def _go(self) -> None:
        """Apply the first of the queue, the caller's own among them."""
        with self._guard:
            batch = [*self._queue][:MOST_EVENTS]
        outcomes: Sequence[str | StoreError]
        # What they take together, each has taken a part of.
        serve(*("deliveries",) * len(batch))
        try:
            outcomes = self._board.deliver_many([each.event for each in batch], confirm=self._confirm)
        except StoreError as error:
            if isinstance(error, StoreUnreachable):
                # Redis was away for as long as a call tries it: nobody behind these waits as long once more.
                with self._guard:
                    batch = [*self._queue]
            outcomes = [error] * len(batch)
        finally:
            serve("deliveries")
        done = batch[: len(outcomes)]
        for delivery, outcome in zip(done, outcomes, strict=True):
            delivery.outcome = outcome
        with self._guard:
            # Somebody behind the first one may have left.
            while self._queue and self._queue[0].outcome is not None:
                self._queue.popleft()
            self._have_next_go()
        for delivery in done:
            delivery.wake()

    def _have_next_go(self) -> None:
        self._is_under_way = bool(self._queue)
        if self._queue:
            self._queue[0].wake()

    def _leave(self, delivery: _Delivery) -> None:
        with self._guard:
            if delivery in self._queue:
                was_first = self._queue[0] is delivery
                self._queue.remove(delivery)
                if was_first:
                    self._have_next_go()


class _Delivery:
    """An event on its way, and who sleeps until it was applied, or is to go himself."""

    __slots__ = ("_lock", "event", "outcome")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.outcome: str | StoreError | None = None
        # The smallest thing to sleep on, under threads and under gevent.
        self._lock = threading.Lock()
        self._lock.acquire()

    def sleep(self, seconds: float) -> bool:
        """Whether it was woken in time."""
        return self._lock.acquire(timeout=seconds)

    def wake(self) -> None:
        if self._lock.locked():
            self._lock.release()
