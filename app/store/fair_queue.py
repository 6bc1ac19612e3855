"""The queue behind a pool of connections: those who wait for one get it in the order in which they came.

It is the turn of each group after the other (`app.store.fairness`): one that has thousands wait keeps no other from its
turn. And groups whose calls take long in Redis share one turn there, so that those of others find a connection.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from queue import Empty, Full
from typing import Any

import redis

from app.store.fairness import served

#: The longest that anybody waits for his turn, seconds: less than a step waits for the answer to a call.
LONGEST_TURN = 15.0

#: Milliseconds of Redis from which on the calls of a group are dear, in the mean of its last ones. Most take tenths of
#: one; those about a run of many machines, or with much that follows from them, take ten to a hundred.
DEAR_MS = 5.0

#: What the newest call counts in that mean where it is above it, and below: some calls that take little do not show
#: that the next ones will, and the turn of one that is cheap costs little.
RISE, FALL = 0.2, 0.02


class NoTurn(redis.ConnectionError):
    """Somebody waited for his turn as long as one waits."""


class FairQueue:
    """Hands out what was put in last, and to him who has waited for it longest; as much of `queue.LifoQueue` as the
    library takes.

    That of the standard library hands nothing out: it wakes somebody, and whoever comes in between takes it. When
    thousands ask at the same time, some never get one.

    Args:
        maxsize: Items that there are in all.
        longest: Seconds that anybody waits.
        now: Seconds by a clock that never goes back.
    """

    def __init__(
        self, maxsize: int, *, longest: float = LONGEST_TURN, now: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._maxsize = maxsize
        self._longest = longest
        self._now = now
        self._guard = threading.Lock()
        self._waiting = _Groups()
        self._moved_at = -math.inf
        #: What nobody has; the library looks at it.
        self.queue: list[Any] = []

    def put_nowait(self, item: Any) -> None:
        """Raises: Full: *maxsize* items lie here."""
        with self._guard:
            if getattr(item, "is_connected", False):
                self._moved_at = self._now()
            if self._waiting:
                self._waiting.popleft().give(item)
            elif len(self.queue) >= self._maxsize:
                raise Full
            else:
                self.queue.append(item)

    def put_back(self, item: Any) -> None:
        """Put an *item* where the caller, who had his turn, gets it next."""
        with self._guard:
            self.queue.append(item)

    def get(self, block: bool = True, timeout: float = math.inf, *, group: str | None = None) -> Any:
        """An item; where there is none, the one that comes when it is the caller's turn.

        Args:
            timeout: Seconds in which no connection came back that is still one. While they do, the turn comes, and is
                waited for.
            group: By default the one that is served.

        Raises:
            Empty: there is none, and *block* is false.
            NoTurn: they have passed, or *longest*.
        """
        with self._guard:
            if self.queue:
                return self.queue.pop()
            if not block:
                raise Empty
            turn = _Turn(served()[0] if group is None else group)
            self._waiting.append(turn)
        try:
            self._await(turn, timeout)
        except NoTurn:
            if self._leaves(turn):
                raise
        except BaseException:
            # Something has come between, such as the time-out of a job: nothing is handed out to nobody.
            if not self._leaves(turn):
                self.put_nowait(turn.item)
            raise
        return turn.item

    def _await(self, turn: _Turn, timeout: float) -> None:
        began = self._now()
        while not turn.wait(min(self._until(began, timeout), began + self._longest) - self._now()):
            if reason := self._reason_to_go(began, timeout):
                raise NoTurn(reason)

    def _reason_to_go(self, began: float, timeout: float) -> str | None:
        """Why somebody who waits since *began* waits no longer; None: he does."""
        now = self._now()
        if now >= self._until(began, timeout):
            return f"all connections to it are in use, and none came back for {timeout:g} s"
        if now >= began + self._longest:
            return f"all connections to it were in use for {self._longest:g} s"
        return None

    def _until(self, began: float, timeout: float) -> float:
        return max(began, self._moved_at) + timeout

    def _leaves(self, turn: _Turn) -> bool:
        """Whether somebody waits no longer; False where his turn has come meanwhile."""
        with self._guard:
            try:
                self._waiting.remove(turn)
            except ValueError:
                return False
            return True


class DearTurns:
    """Lets the calls of groups that are dear into Redis one at a time, those of each group in turn; all others at once.

    Redis does one thing after the other. So nothing is lost by it, and who calls for little finds a connection, and
    in front of him one script that takes long, rather than as many as there are connections.
    """

    def __init__(self) -> None:
        self._turns = FairQueue(1)
        self._turns.put_nowait(None)
        #: The thread or greenlet whose turn it is.
        self._whose: int | None = None
        #: Of each group that is not cheap, milliseconds of Redis a call.
        self._means: dict[str, float] = {}

    def is_dear(self, group: str) -> bool:
        return self._means.get(group, 0.0) >= DEAR_MS

    def needs_turn(self) -> bool:
        """Whether the group that is served is dear, and this thread or greenlet has no turn."""
        return self.is_dear(served()[0]) and self._whose != threading.get_ident()

    def enter(self) -> bool:
        """Wait for the turn of the group that is served: whether it had to have one, and is to `leave`.

        Whoever has the turn, and calls for something else before that is over, needs no other.

        Raises:
            NoTurn: it did not come.
        """
        if not self.needs_turn():
            return False
        self._turns.get()
        self._whose = threading.get_ident()
        return True

    def leave(self) -> None:
        self._whose = None
        self._turns.put_nowait(None)

    def note(self, ms: float, answered: int = 1) -> None:
        """Those who are served have kept Redis for *ms*.

        Args:
            answered: How many of the calls that went together were answered, the first ones.
        """
        groups = served()
        if len(groups) > 1:
            groups = groups[: max(1, answered)]
            ms /= len(groups)
        for group in groups if len(groups) == 1 else set(groups):
            before = self._means.get(group, 0.0)
            if before or ms >= 1:
                self._note(group, before, ms)

    def _note(self, group: str, before: float, ms: float) -> None:
        mean = before + (RISE if ms > before else FALL) * (ms - before)
        if mean >= 1:
            self._means[group] = mean
        elif before:
            del self._means[group]


class _Turn:
    """Somebody who waits, on the smallest thing to sleep on, under threads and under gevent."""

    __slots__ = ("_lock", "group", "item")

    def __init__(self, group: str) -> None:
        self.group = group
        self.item: Any = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def give(self, item: Any) -> None:
        self.item = item
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        return self._lock.acquire(timeout=max(0.0, seconds))


class _Groups:
    """Those who wait: the first of one group, then of the next."""

    def __init__(self) -> None:
        self._groups: OrderedDict[str, deque[_Turn]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def append(self, turn: _Turn) -> None:
        self._groups.setdefault(turn.group, deque()).append(turn)

    def popleft(self) -> _Turn:
        group, turns = self._groups.popitem(last=False)
        turn = turns.popleft()
        if turns:
            self._groups[group] = turns
        return turn

    def remove(self, turn: _Turn) -> None:
        """Raises: ValueError: it is not there."""
        turns = self._groups.get(turn.group, deque())
        turns.remove(turn)
        if not turns:
            del self._groups[turn.group]
