"""Long polls: a request blocks until its run waits no longer, without a thread or a Redis connection of its own.

It sleeps in front of Flask, so that nothing of Flask is kept while it sleeps: ten thousand sleep at once.
"""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qs

import gevent

from app.domain.errors import AnotherOwner
from app.services import Services
from app.settings.values import Token
from app.store.errors import StoreError
from app.web.auth import ALLOWS, Doorkeeper, bearer
from app.web.errors import Problem
from app.web.pace import Pace
from app.web.step_headers import execution_of, step_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Descriptors left for Redis, files and requests that do not block.
SPARE_DESCRIPTORS = 200

#: The longest a request may block, seconds. Load balancers cut silent requests, often at 60.
MOST_SECONDS = 55.0

#: Where the view finds the problem that ended the sleep, if one did.
PROBLEM = "octowait.problem"

#: Where the view says that it told the run that it waits.
TELLS_WAITING = "octowait.tells_waiting"

#: Where the view finds that the request slept although it had not asked to, so that the first look at the run counts.
HAS_SLEPT = "octowait.has_slept"

_PATH = "/api/waits/"

#: Characters of an id; a longer one is none.
_ID_LENGTH = 100

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class _Sleeper:
    """Who blocks: the run, the execution of its step, and whose token asks."""

    task_id: str
    claim: str | None
    owner: str | None


class Blocking:
    """WSGI middleware: a poll with ``block_seconds`` sleeps here until there is something to say, then goes on inside.

    So does one that comes less than a second after its run was told that it waits, until that second is over.

    What it cannot read or does not allow goes inside at once, where it is answered as an error.
    """

    def __init__(self, inner: WSGIApplication, services: Services, doorkeeper: Doorkeeper) -> None:
        self._inner = inner
        self._services = services
        self._doorkeeper = doorkeeper
        self._pace = Pace()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        task_id = _polled(environ)
        if task_id is None:
            return self._inner(environ, start_response)
        wish = _block_seconds(environ)
        seconds = min(wish, self._services.settings.longest_block_seconds)
        early = self._pace.left(task_id)
        if (seconds or early) and (token := self._token(environ)):
            try:
                self._refuse_if_full()
                who = _Sleeper(task_id, step_headers(environ).claim, token.identity.owner)
                self._sleep(who, max(seconds, early), environ.get("gunicorn.socket"), blocks=bool(wish))
                environ[HAS_SLEPT] = True
            except Problem as problem:
                # Whoever did not ask to sleep is slowed down where there is room for that, and never refused.
                environ[PROBLEM] = problem if wish or problem.code != "too_many_waiters" else None
            except (StoreError, AnotherOwner):
                pass  # The view asks the store as well, and answers what it says.
        answer = self._inner(environ, start_response)
        if environ.get(TELLS_WAITING):
            self._pace.note(task_id)
        return answer

    def _token(self, environ: WSGIEnvironment) -> Token | None:
        """The token of who polls, if it may."""
        secret = bearer(environ.get("HTTP_AUTHORIZATION", ""))
        if not secret:
            return None
        try:
            token = self._doorkeeper.find(secret, environ.get("REMOTE_ADDR", ""), execution_of(environ))
        except Problem:
            return None
        return token if token and token.role in ALLOWS["step"] else None

    def _sleep(self, who: _Sleeper, seconds: float, connection: socket.socket | None, *, blocks: bool) -> None:
        """Sleep while the run waits, at most *seconds*; the open request is a sign of life all the time.

        Raises:
            Problem: 503; the client has hung up: a grant that nobody is there to collect must not count as collected.
            AnotherOwner: the run is not its token's.
        """
        wakes, deadline = self._services.wakes, time.monotonic() + seconds
        with wakes.sleeper(who.task_id) as sleeper:
            is_woken = False
            while not is_woken and not wakes.is_closed:
                slice_seconds = self._slice(who, blocks=blocks)
                blocks = True
                left = deadline - time.monotonic()
                if slice_seconds is None or left <= 0:
                    return
                is_woken = sleeper.sleep(min(left, slice_seconds))
                if _has_hung_up(connection):
                    raise Problem(503, "hung_up", "the client hung up, so nothing was collected")
                if time.monotonic() >= deadline:
                    return

    def _slice(self, who: _Sleeper, *, blocks: bool) -> float | None:
        """Seconds until the next sign of life is due; None if the run does not wait."""
        board = self._services.board
        place = _apart(lambda: board.poll(who.task_id, claim=who.claim, blocks=blocks, owner=who.owner))
        return place.slice_seconds if place and place.is_waiting else None

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

    def caught() -> tuple[_Answer, None] | tuple[None, StoreError | AnotherOwner]:
        try:
            return call(), None
        except (StoreError, AnotherOwner) as error:
            return None, error

    answer, error = gevent.spawn(caught).get()
    if error:
        raise error
    return cast(_Answer, answer)


def _polled(environ: WSGIEnvironment) -> str | None:
    """The task id of a poll of a wait; None if this is none, or only looks."""
    path: str = environ.get("PATH_INFO", "")
    if environ["REQUEST_METHOD"] != "GET" or not path.startswith(_PATH) or len(path) > len(_PATH) + _ID_LENGTH:
        return None
    return None if "look" in parse_qs(environ.get("QUERY_STRING", "")) else path[len(_PATH) :]


def _block_seconds(environ: WSGIEnvironment) -> float:
    """What a poll of a wait asks for; 0 if what it asks is not allowed."""
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
