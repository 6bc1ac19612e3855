"""Long polls: a request blocks until its run waits no longer, without a thread or a Redis connection of its own.

It sleeps in front of Flask, so that nothing of Flask is kept while it sleeps: ten thousand sleep at once.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from app.coordination.board import Poll
from app.domain.errors import AnotherOwner
from app.domain.status import WAIT_STATES, RunStatus
from app.services import Services
from app.settings.values import Token
from app.store.errors import StoreError
from app.store.witness import seen_by_speakers
from app.web.auth import Doorkeeper
from app.web.errors import Problem
from app.web.polls.blocked import BlockedPolls
from app.web.polls.pace import Pace
from app.web.step_headers import step_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Descriptors left for Redis, files and requests that do not block.
SPARE_DESCRIPTORS = 200

#: The longest a request may block, seconds. Load balancers cut silent requests, often at 60.
MOST_SECONDS = 55.0

#: Where the view finds the problem, or another error, in which the call ended in front of it, if it did.
PROBLEM = "octowait.problem"

#: Where the view says that it told the run that it waits.
TELLS_WAITING = "octowait.tells_waiting"

#: Where the view finds that the request slept although it had not asked to, so that the first look at the run counts.
HAS_SLEPT = "octowait.has_slept"

_PATH = "/api/waits/"

#: Characters of an id; a longer one is none.
_ID_LENGTH = 100

#: The query of a poll that the view need not look at, and an id whose form nobody need look at.
_PLAIN_QUERY = re.compile(r"block_seconds=([0-9]{1,2}(?:\.[0-9]{1,9})?)\Z")
_PLAIN_ID = re.compile(r"[A-Za-z0-9-]+\Z")


@dataclass(frozen=True)
class Reply:
    """The body of an answer of 200, and its content type."""

    content_type: str
    body: bytes


#: Makes the answer to a poll without the view; None where the view is to be asked.
ReplyToPoll = Callable[[Services, RunStatus, "WSGIEnvironment"], Reply | None]


class Blocking:
    """WSGI middleware: a poll with ``block_seconds`` sleeps here until there is something to say, and is answered here.

    One that comes less than a second after its run was told that it waits sleeps until that second is over.

    What it cannot read, does not allow or cannot answer goes on inside, where it is answered as an error.

    Args:
        reply: Makes the answer of a plain poll.
        headers: Of every answer of the API, by the scheme of its request.
    """

    def __init__(
        self, inner: WSGIApplication, services: Services, doorkeeper: Doorkeeper, polls: BlockedPolls,
        reply: ReplyToPoll, headers: Callable[[str], Mapping[str, str]],
    ) -> None:  # fmt: skip
        self._inner = inner
        self._services = services
        self._doorkeeper = doorkeeper
        self._reply = reply
        self._headers = headers
        self._pace = Pace()
        self._polls = polls

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        task_id = _asked_about(environ)
        wish = None if task_id is None else _wish(environ.get("QUERY_STRING", ""))
        if task_id is None or wish is None:
            return self._inner(environ, start_response)
        seconds = min(wish, self._services.settings.longest_block_seconds)
        early = self._pace.left(task_id)
        place = None
        if (seconds or early) and (token := self._token(environ)):
            try:
                self._refuse_if_full()
                claim, owner = step_headers(environ).claim, token.identity.owner
                who = Poll(task_id, claim, bool(wish), owner, seen=seen_by_speakers())
                place = self._polls.wait(who, max(seconds, early), environ.get("gunicorn.socket"))
                environ[HAS_SLEPT] = True
            except Problem as problem:
                # Whoever did not ask to sleep is slowed down where there is room for that, and never refused.
                environ[PROBLEM] = problem if wish or problem.code != "too_many_waiters" else None
            except (StoreError, AnotherOwner):
                pass  # The view asks the store as well, and answers what it says.
        answer = self._answered_here(environ, start_response, place) if place and wish else None
        if answer is None:
            answer = self._inner(environ, start_response)
        if environ.get(TELLS_WAITING):
            self._pace.note(task_id)
        return answer

    def _answered_here(
        self, environ: WSGIEnvironment, start_response: StartResponse, place: RunStatus
    ) -> Iterable[bytes] | None:
        """The answer to a poll that is as the step scripts send it; the view takes five times as long to make it."""
        if not _is_plain(environ) or place.state not in WAIT_STATES:
            return None
        reply = self._reply(self._services, place, environ)
        if reply is None:
            return None
        environ[TELLS_WAITING] = place.is_waiting
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
        start_response("200 OK", list({**headers, **self._headers(environ["wsgi.url_scheme"])}.items()))
        return [reply.body]

    def _token(self, environ: WSGIEnvironment) -> Token | None:
        """The token of who polls, if it may."""
        try:
            return self._doorkeeper.find_step(environ)
        except Problem:
            return None

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


def _is_plain(environ: WSGIEnvironment) -> bool:
    """Whether a poll says nothing but for how long it may block."""
    return bool(
        _PLAIN_ID.match(environ["PATH_INFO"], len(_PATH))
        and _PLAIN_QUERY.match(environ.get("QUERY_STRING", ""))
        and environ.get("CONTENT_LENGTH", "0") in ("", "0")
    )


def _asked_about(environ: WSGIEnvironment) -> str | None:
    """The task id of a poll of a wait, or of a look at it; None if this is none."""
    path: str = environ.get("PATH_INFO", "")
    if environ["REQUEST_METHOD"] != "GET" or not path.startswith(_PATH) or len(path) > len(_PATH) + _ID_LENGTH:
        return None
    return path[len(_PATH) :]


def _wish(query: str) -> float | None:
    """For how long a poll of a wait asks to block, seconds; 0 if what it asks is not allowed, None of a look."""
    if plain := _PLAIN_QUERY.match(query):
        return _allowed(plain[1])
    fields = parse_qs(query, keep_blank_values=True)
    if "look" in fields:
        return None
    # Nobody sleeps with a query that is refused behind it.
    return _allowed(fields["block_seconds"][0]) if fields.keys() == {"block_seconds"} else 0


def _allowed(text: str) -> float:
    try:
        # Python takes the digits of every script, the model of the query only these.
        seconds = float(text) if text.strip().isascii() else 0
    except ValueError:
        return 0
    return seconds if 0 < seconds <= MOST_SECONDS else 0
