"""Requests for a place in the line, in the order in which they came: thousands can come at the same time.

All at once they would wait for each other at each of their calls of Redis, so that all of them were answered late, and
some too late; and each would keep all of Flask's memory for a request meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.store.fair_queue import LONGEST_TURN, FairQueue, NoTurn
from app.web.errors import Problem
from app.web.long_poll import PROBLEM

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Joins that are under way at once: more than are needed to keep a process busy, since one can wait for replicas.
MOST_AT_ONCE = 32


class JoinsInTurn:
    """WSGI middleware: of all joins, *most* are under way, those that came first; nobody waits longer than *longest*
    seconds for his turn.
    """

    def __init__(self, inner: WSGIApplication, *, most: int = MOST_AT_ONCE, longest: float = LONGEST_TURN) -> None:
        self._inner = inner
        self._longest = longest
        self._turns = FairQueue(most, longest=longest)
        for number in range(most):
            self._turns.put_nowait(number)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "PUT" or not environ["PATH_INFO"].startswith("/api/waits/"):
            return self._inner(environ, start_response)
        try:
            turn = self._turns.get()
        except NoTurn:
            environ[PROBLEM] = Problem(
                503, "too_many_joins", f"others asked before, and are not answered yet after {self._longest:g} s",
                headers={"Retry-After": "1"},
            )  # fmt: skip
            return self._inner(environ, start_response)
        try:
            return self._inner(environ, start_response)
        finally:
            self._turns.put_nowait(turn)
