"""Long polls: a request blocks until its run waits no longer, without a thread or a Redis connection of its own.

It sleeps in front of Flask, so that nothing of Flask is kept while it sleeps: ten thousand sleep at once.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qs

import gevent

from app.services import Services
from app.store.errors import StoreError
from app.web.auth import ALLOWS, Doorkeeper, bearer
from app.web.errors import Problem
from app.web.step_headers import step_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Descriptors left for Redis, files and requests that do not block.
SPARE_DESCRIPTORS = 200

#: The longest a request may block, seconds. Load balancers cut silent requests, often at 60.
MOST_SECONDS = 55.0

#: Where the view finds the problem that ended the sleep, if one did.
PROBLEM = "octowait.problem"

_PATH = "/api/waits/"

_Answer = TypeVar("_Answer")


class Blocking:
    """WSGI middleware: a poll with ``block_seconds`` sleeps here until there is something to say, then goes on inside.

    What it cannot read or does not allow goes inside at once, where it is answered as an error.
    """

    def __init__(self, inner: WSGIApplication, services: Services, doorkeeper: Doorkeeper) -> None:
        self._inner = inner
        self._services = services
        self._doorkeeper = doorkeeper

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        seconds = _block_seconds(environ)
        if seconds and self._may_poll(environ):
            try:
                claim = step_headers(environ).claim
                self._sleep(environ["PATH_INFO"][len(_PATH) :], claim, seconds, environ.get("gunicorn.socket"))
            except Problem as problem:
                environ[PROBLEM] = problem
            except StoreError:
                pass  # The view asks the store as well, and answers what it says.
        return self._inner(environ, start_response)

    def _may_poll(self, environ: WSGIEnvironment) -> bool:
        secret = bearer(environ.get("HTTP_AUTHORIZATION", ""))
        try:
            token = self._doorkeeper.find(secret, environ.get("REMOTE_ADDR", "")) if secret else None
        except Problem:
            return False
        return token is not None and token.role in ALLOWS["step"]

    def _sleep(
        self, task_id: str, claim: str | None, seconds: float, connection: socket.socket | None
    ) -> None:  # fmt: skip
        """Sleep while the run waits, at most *seconds*; the open request is a sign of life all the time.

        Raises:
            Problem: 503; there are too many, or the client has hung up: a grant that nobody is there to collect must
                not count as collected.
        """
        self._refuse_if_full()
        wakes, deadline = self._services.wakes, time.monotonic() + seconds
        with wakes.sleeper(task_id) as sleeper:
            is_woken = False
            while not is_woken and not wakes.is_closed:
                slice_seconds = self._slice(task_id, claim)
                left = deadline - time.monotonic()
                if slice_seconds is None or left <= 0:
                    return
                is_woken = sleeper.sleep(min(left, slice_seconds))
                if _has_hung_up(connection):
                    raise Problem(503, "hung_up", "the client hung up, so nothing was collected")
                if time.monotonic() >= deadline:
                    return

    def _slice(self, task_id: str, claim: str | None) -> float | None:
        """Seconds until the next sign of life is due; None if the run does not wait."""
        place = _apart(lambda: self._services.board.poll(task_id, claim=claim, blocks=True))
        return place.run.ttl_ms / 2000 if place and place.is_waiting else None

    def _refuse_if_full(self) -> None:
        most = most_connections()
        if len(self._services.wakes) >= most:
            raise Problem(
                503, "too_many_waiters", f"this process holds {most} blocked requests, the most its descriptors allow",
                headers={"Retry-After": "5"},
            )  # fmt: skip


def most_connections() -> int:
    """Connections of this process that may be open at once, so that descriptors are left for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - SPARE_DESCRIPTORS, soft // 2)


def _apart(call: Callable[[], _Answer]) -> _Answer:
    """What *call* answers, made in a greenlet of its own.

    A greenlet keeps the memory of the deepest stack it ever had, and the Redis client's is deep: about 2 KB for each of
    those who sleep.
    """

    def caught() -> tuple[_Answer, None] | tuple[None, StoreError]:
        try:
            return call(), None
        except StoreError as error:
            return None, error

    answer, error = gevent.spawn(caught).get()
    if error:
        raise error
    return cast(_Answer, answer)


def _block_seconds(environ: WSGIEnvironment) -> float:
    """What a poll of a wait asks for; 0 if this is none, or what it asks is not allowed."""
    if environ["REQUEST_METHOD"] != "GET" or not environ.get("PATH_INFO", "").startswith(_PATH):
        return 0
    text: Any = parse_qs(environ.get("QUERY_STRING", "")).get("block_seconds", ["0"])[0]
    try:
        seconds = float(text)
    except ValueError:
        return 0
    return seconds if 0 < seconds <= MOST_SECONDS else 0


def _has_hung_up(connection: socket.socket | None) -> bool:
    """Whether the client at the other end of *connection* has closed it; False where that cannot be seen."""
    if connection is None:
        return False
    before = connection.gettimeout()
    try:
        connection.settimeout(0.0)
        return connection.recv(1, socket.MSG_PEEK) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(before)
