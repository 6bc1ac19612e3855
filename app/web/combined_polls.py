"""Polls that come while others are on their way to Redis go there together: ten thousand can be woken at once."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
from gevent.event import AsyncResult

from app.coordination.board import Board, Poll, StillWaits
from app.coordination.ticks import tick_of
from app.domain.status import RunStatus

#: Polls that go together: some milliseconds of Redis, which serves others in between.
MOST_POLLS = 100

#: Polls that come to block between two ticks, from which on they are a crowd.
MANY = 3

#: What a poll is answered.
Answer = RunStatus | StillWaits | None


class Crowd:
    """Whether so many come to block that their first looks had better go together.

    Args:
        now: Seconds by a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._tick = self._count = self._before = 0

    def is_large(self) -> bool:
        """Somebody comes: whether he is one of many, in this tick or in the one before."""
        tick = tick_of(self._now())
        if tick != self._tick:
            self._before = self._count if tick == self._tick + 1 else 0
            self._tick, self._count = tick, 0
        self._count += 1
        return max(self._count, self._before) >= MANY


class CombinedPolls:
    """`Board.poll` for the greenlets of a process, with one way to Redis for all who ask at the same time.

    It is made in a greenlet of its own: one keeps the memory of the deepest stack that it ever had, and the Redis
    client's is deep, about 2 KB for each of those who sleep.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._queue: list[tuple[Poll, AsyncResult[Answer]]] = []
        self._is_running = False

    def __call__(self, poll: Poll) -> Answer:
        """As `Board.poll`, whose errors it raises; `StillWaits` where the poll is brief."""
        result: AsyncResult[Answer] = AsyncResult()
        self._queue.append((poll, result))
        if not self._is_running:
            self._is_running = True
            gevent.spawn(self._run)
        answer: Answer = result.get()
        return answer

    def _run(self) -> None:
        try:
            while self._queue:
                batch, self._queue = self._queue[:MOST_POLLS], self._queue[MOST_POLLS:]
                self._ask(batch)
        finally:
            self._is_running = False

    def _ask(self, batch: list[tuple[Poll, AsyncResult[Answer]]]) -> None:
        answers: list[Answer | Exception]
        try:
            answers = list(self._board.poll_many([poll for poll, _ in batch]))
        except Exception as error:  # Each of those who ask is told, or would never wake.
            answers = [error] * len(batch)
        for (_, result), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                result.set_exception(answer)
            else:
                result.set(answer)
