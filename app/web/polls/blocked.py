"""Blocked polls: each sleeps once until its answer is there, and those of a process go to Redis together.

Its greenlet does not wake for the looks between: what asks for it is one greenlet of the process. That also keeps the
others small, since one keeps the memory of the deepest stack that it ever had, and the Redis client's is deep.
"""

from __future__ import annotations

import socket
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import gevent
from gevent.hub import Waiter

from app.coordination.board import Board, Poll, StillWaits
from app.coordination.ticks import Ticks
from app.coordination.wakes import Wakes
from app.domain.status import RunStatus
from app.store.fair_queue import DearTurns
from app.store.fairness import serve, served
from app.web.errors import Problem
from app.web.polls.crowd import Crowd, end_of_poll, next_period
from app.web.polls.quiet import Quiet

#: Polls that go together: some milliseconds of Redis, which serves others in between.
MOST_POLLS = 100

#: Polls that are answered before others get a turn, such as one that was woken meanwhile.
MOST_ANSWERS = 10

#: What a poll is answered.
Answer = RunStatus | StillWaits | None


class BlockedPoll:
    """A poll from when its request came until it has its answer. *deadline*: when it has one in any case."""

    __slots__ = ("_connection", "_deadline", "_goes_on", "_has_slept", "_is_asked", "_is_over", "_is_woken", "_polls",
                 "_tick", "_timer", "_waiter", "_who", "group")  # fmt: skip

    def __init__(self, polls: BlockedPolls, who: Poll, deadline: float, connection: socket.socket | None) -> None:
        self._polls, self._who, self._deadline, self._connection = polls, who, deadline, connection
        #: For whom it is made.
        self.group = served()[0]
        self._waiter = Waiter()
        self._tick = 0
        self._timer: Any = None
        #: It is in the queue, or on its way to Redis; there it was woken once more.
        self._is_asked = self._is_woken = False
        self._has_slept = self._goes_on = self._is_over = False

    def answer(self) -> RunStatus | None:
        """Sleep until the answer is there. Raises what it came to instead."""
        try:
            answer: RunStatus | Exception | None = self._waiter.get()
        finally:
            self._is_over = True
            self._rise()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wake(self) -> None:
        """Ask now; who is on its way to Redis asks again."""
        self._rise()
        self._is_woken = True
        if not (self._is_asked or self._is_over):
            self._is_asked = True
            self._polls.queue(self)

    def sleep(self, seconds: float) -> None:
        """Ask in *seconds*; of more than a second, at the last tick in them."""
        self._has_slept = True
        if seconds > 1:
            self.sleep_until(time.monotonic() + seconds)
        else:
            self._timer = gevent.get_hub().loop.timer(max(0.0, seconds))
            self._timer.start(self.wake)

    def sleep_until(self, moment: float) -> None:
        """Ask at the last tick up to that *moment*, or at the next one."""
        self._tick = self._polls.ticks.add(self.wake, moment)

    def _rise(self) -> None:
        if self._tick:
            self._polls.ticks.remove(self.wake, self._tick)
            self._tick = 0
        if self._timer:
            self._timer.close()
            self._timer = None

    def next_poll(self) -> Poll | None:
        """What to ask now; None where nobody is there to hear it."""
        self._is_woken = False
        if self._has_slept and has_hung_up(self._connection):
            # A grant that nobody is there to collect must not count as collected.
            self._settle(Problem(503, "hung_up", "the client hung up, so nothing was collected"))
        if self._is_over:
            return None
        who, blocks = self._who, self._who.blocks or self._has_slept
        self._goes_on = not self._polls.are_closed and time.monotonic() < self._deadline
        return Poll(who.task_id, who.claim, blocks, who.owner, blocks and self._goes_on, who.seen)

    def take(self, answer: Answer | Exception) -> None:
        """What Redis says: it sleeps on while its run waits."""
        self._is_asked = False
        if not isinstance(answer, StillWaits) and not (
            self._goes_on and isinstance(answer, RunStatus) and answer.is_waiting
        ):
            self._settle(answer)
        elif self._is_woken or self._polls.are_closed:
            # Whoever is told to stop while it asks looks once more, for the whole answer.
            self._has_slept = True
            self.wake()
        else:
            self.sleep(min(self._deadline - time.monotonic(), answer.slice_seconds))

    def _settle(self, answer: RunStatus | Exception | None) -> None:
        if not self._is_over:
            self._is_over = True
            gevent.get_hub().loop.run_callback(self._waiter.switch, answer)


class BlockedPolls:
    """The polls that block in a process, with one way to Redis for all who ask at the same time.

    Those of a token whose calls take long there go by themselves, so that no other waits for their answers.
    """

    def __init__(self, board: Board, wakes: Wakes, dear: DearTurns) -> None:
        self._board = board
        self._wakes = wakes
        self._dear = dear
        self._crowd = Crowd()
        #: Who asks: of each group that is dear, and of all others.
        self._asking: defaultdict[str, deque[BlockedPoll]] = defaultdict(deque)
        self._running: set[str] = set()
        self.ticks = Ticks(gevent.spawn, gevent.sleep)
        self.quiet = Quiet(self.ticks)

    @property
    def are_closed(self) -> bool:
        """Whether everybody is let go."""
        return self._wakes.is_closed

    def wait(self, who: Poll, seconds: float, connection: socket.socket | None = None) -> RunStatus | None:
        """Sleep while the run waits, at most *seconds*; the open request is a sign of life all the time.

        Returns:
            The status of the run at the end; None where nobody has heard of it.

        Raises:
            Problem: 503; the client has hung up.
            AnotherOwner: the run is not its token's.
            StoreError: Redis does not answer.
        """
        blocked = BlockedPoll(self, who, end_of_poll(time.monotonic(), seconds), connection)
        key = who.task_id.lower()
        self._wakes.add(key, blocked)
        try:
            if who.blocks and seconds > 1 and self._crowd.is_large() and not self._wakes.has_woken(key):
                # Who is in line hears of his turn meanwhile, and many look together for what a few of them cost.
                blocked.sleep_until(next_period(time.monotonic()))
            else:
                blocked.wake()
            return blocked.answer()
        finally:
            self._wakes.remove(key, blocked)

    def queue(self, blocked: BlockedPoll, *, first: bool = False) -> None:
        """Have it ask with the others; *first*: in front of them."""
        name = blocked.group if self._dear.is_dear(blocked.group) else ""
        asking = self._asking[name]
        if first:
            asking.appendleft(blocked)
        else:
            asking.append(blocked)
        if name not in self._running:
            self._running.add(name)
            gevent.spawn(self._run, name)

    def _run(self, name: str) -> None:
        asking = self._asking[name]
        try:
            with self.quiet.disturbed():
                while asking:
                    self._ask_some(asking)
            del self._asking[name]
        finally:
            self._running.discard(name)

    def _ask_some(self, asking: deque[BlockedPoll]) -> None:
        batch: list[tuple[BlockedPoll, Poll]] = []
        while asking and len(batch) < MOST_POLLS:
            blocked = asking.popleft()
            if poll := blocked.next_poll():
                batch.append((blocked, poll))
        if not batch:
            return
        serve(*(blocked.group for blocked, _ in batch))
        answers: Sequence[Answer | Exception]
        try:
            answers = self._board.poll_many([poll for _, poll in batch])
        except Exception as error:  # Each of those who ask is told, or would never wake.
            answers = [error] * len(batch)
        # Those in front of them may have shown that their group is dear.
        for blocked, _ in reversed(batch[len(answers) :]):
            self.queue(blocked, first=True)
        # Who is woken meanwhile need not wait until all of these have their answer.
        gevent.spawn(self._give, [blocked for blocked, _ in batch[: len(answers)]], answers)

    def _give(self, batch: Sequence[BlockedPoll], answers: Sequence[Answer | Exception]) -> None:
        with self.quiet.disturbed():
            for number, (blocked, answer) in enumerate(zip(batch, answers, strict=True), 1):
                blocked.take(answer)
                if number % MOST_ANSWERS == 0:
                    gevent.sleep(0)


def has_hung_up(connection: socket.socket | None) -> bool:
    """Whether the client at the other end of *connection*, gevent's, has closed it; False where there is none."""
    if connection is None:
        return False
    try:
        # What gevent has around it would wait.
        own: socket.socket = connection._sock  # type: ignore[attr-defined]
        return own.recv(1, socket.MSG_PEEK) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
