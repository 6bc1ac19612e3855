"""Requests for a place in the line, in the order in which they came: thousands can come at the same time.

All at once they would wait for each other at each of their calls of Redis, so that all of them were answered late, and
some too late. Each token has its turn after the others, however many ask with one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from app.store.fair_queue import LONGEST_TURN, FairQueue, NoTurn
from app.web.errors import Problem

#: Joins that are under way at once: more than are needed to keep a process busy, since one can wait for replicas.
MOST_AT_ONCE = 100

#: Machines of a join from which on only one is under way: Redis answers nobody else for some 5 ms a thousand.
WIDE = 500

#: Seconds that such a join waits for its turn besides: both are less than a step waits for the answer.
LONGEST_WIDE = 4.0


class NoTurnYet(Problem):
    """So many asked before that the turn of a join did not come; nothing was changed."""


class JoinsInTurn:
    """Lets *most* joins be under way, those that came first of each token in turn; nobody waits longer than *longest*
    seconds for that.

    A request is to be let in before, and its body read: whoever sends that slowly would keep a turn.
    """

    def __init__(self, *, most: int = MOST_AT_ONCE, longest: float = LONGEST_TURN) -> None:
        self._all = _Turns(most, longest)
        self._wide = _Turns(1, min(longest, LONGEST_WIDE))

    @contextmanager
    def turn(self, token: str, machines: int) -> Iterator[None]:
        """The turn of a join with a *token* of that name, for so many *machines*. Raises: NoTurnYet: 503."""
        with self._wide.turn(token) if machines >= WIDE else nullcontext(), self._all.turn(token):
            yield


class _Turns:
    def __init__(self, most: int, longest: float) -> None:
        self._longest = longest
        self._queue = FairQueue(most, longest=longest)
        for number in range(most):
            self._queue.put_nowait(number)

    @contextmanager
    def turn(self, group: str) -> Iterator[None]:
        try:
            turn = self._queue.get(group=group)
        except NoTurn as error:
            raise NoTurnYet(
                503, "too_many_joins", f"others asked before, and are not answered yet after {self._longest:g} s",
                headers={"Retry-After": "1"},
            ) from error  # fmt: skip
        try:
            yield
        finally:
            self._queue.put_nowait(turn)
