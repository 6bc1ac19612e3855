"""Requests for a place in the line, in the order in which they came: thousands can come at the same time.

All at once they would wait for each other at each of their calls of Redis, so that all of them were answered late, and
some too late.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.store.fair_queue import LONGEST_TURN, FairQueue, NoTurn
from app.web.errors import Problem

#: Joins that are under way at once: more than are needed to keep a process busy, since one can wait for replicas.
MOST_AT_ONCE = 100


class NoTurnYet(Problem):
    """So many asked before that the turn of a join did not come; nothing was changed."""


class JoinsInTurn:
    """Lets *most* joins be under way, those that came first; nobody waits longer than *longest* seconds for his turn.

    A request is to be let in before, and its body read: whoever sends that slowly would keep a turn.
    """

    def __init__(self, *, most: int = MOST_AT_ONCE, longest: float = LONGEST_TURN) -> None:
        self._longest = longest
        self._turns = FairQueue(most, longest=longest)
        for number in range(most):
            self._turns.put_nowait(number)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Raises: NoTurnYet: 503."""
        try:
            turn = self._turns.get()
        except NoTurn as error:
            raise NoTurnYet(
                503, "too_many_joins", f"others asked before, and are not answered yet after {self._longest:g} s",
                headers={"Retry-After": "1"},
            ) from error  # fmt: skip
        try:
            yield
        finally:
            self._turns.put_nowait(turn)
