"""Polls that come while others are on their way to Redis go there together: ten thousand can be woken at once."""

from __future__ import annotations

import gevent
from gevent.event import AsyncResult

from app.coordination.board import Board, Poll, StillWaits
from app.domain.status import RunStatus

#: Polls that go together: some milliseconds of Redis, which serves others in between.
MOST_POLLS = 100

#: What a poll is answered.
Answer = RunStatus | StillWaits | None


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
