"""Calls of the step scripts about their waits in front of Flask, which would take longer for each than all else.

Whoever is next in the line waits for what a release takes, and for what the confirming of its grant takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.domain.errors import GateError
from app.domain.status import WAIT_STATES, RunStatus
from app.queries.references import joined_ids_of
from app.services import Services
from app.settings.values import Token
from app.web.api.joining import have_named, request_of
from app.web.api.joins_in_turn import JoinsInTurn, NoTurnYet
from app.web.api.owning import StepCalls
from app.web.api.routing import parsed_body
from app.web.api.schemas.waits import WaitRequest
from app.web.api.step_answers import TEXT, answer_to_release, kind_of, reply_to_poll
from app.web.auth import Doorkeeper
from app.web.bodies import read_again
from app.web.errors import Problem
from app.web.polls.long_poll import HAS_SLEPT, PROBLEM, TELLS_WAITING, Reply
from app.web.printed import printable
from app.web.step_headers import StepHeaders, step_headers
from app.web.tokens import Tokens

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = re.compile(r"/api/waits/([A-Za-z0-9-]{1,100})\Z")

#: How the step scripts say that they send JSON.
_SENT = ("application/json; charset=utf-8", "application/json")

#: The query of a call that confirms a grant.
_CONFIRMS = "block_seconds=0"

#: The status of an answer, and its body.
_Answer = tuple[str, Reply]


@dataclass(frozen=True)
class _Call:
    """A call as a step script sends it. *kind* is the content type of its answer."""

    environ: WSGIEnvironment
    task_id: str
    kind: str
    token: Token
    step: StepHeaders


class PlainWaits:
    """WSGI middleware: a call of ``/api/waits/{task}`` as the step scripts send it is carried out here.

    All others go on inside, to the view. So does one in which nothing was done, such as that of another owner; and one
    that ended in an error, which the view raises, and does not carry out a second time.

    Args:
        headers: Of every answer of the API, by the scheme of its request.
    """

    def __init__(
        self, inner: WSGIApplication, services: Services, doorkeeper: Doorkeeper, tokens: Tokens, joins: JoinsInTurn,
        headers: Callable[[str], Mapping[str, str]],
    ) -> None:  # fmt: skip
        self._inner = inner
        self._services = services
        self._doorkeeper = doorkeeper
        self._tokens = tokens
        self._joins = joins
        self._headers = headers
        self._most = services.settings.max_body_kib * 1024
        # Those are logged, or wait for copies.
        self._is_off = services.settings.log_level == "debug" or bool(services.settings.redis_replicas)
        self._verbs: dict[str, Callable[[_Call], _Answer | None]] = {
            "PUT": self._join, "GET": self._confirm, "DELETE": self._release,
        }  # fmt: skip

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = None if self._is_off else self._carried_out(environ)
        if answer is None:
            return self._inner(environ, start_response)
        status, reply = answer
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
        start_response(status, list({**headers, **self._headers(environ["wsgi.url_scheme"])}.items()))
        return [reply.body]

    def _carried_out(self, environ: WSGIEnvironment) -> _Answer | None:
        """The answer; None where the view is to give it."""
        verb, path = self._verbs.get(environ["REQUEST_METHOD"]), _PATH.match(environ.get("PATH_INFO", ""))
        kind = kind_of(environ)
        if not verb or not path or not kind or environ.get(PROBLEM):
            return None
        try:
            token = self._doorkeeper.find_step(environ)
            return verb(_Call(environ, path[1], kind, token, step_headers(environ))) if token else None
        except NoTurnYet as error:
            environ[PROBLEM] = error
        except (Problem, GateError):
            pass  # Nothing was done.
        except Exception as error:
            environ[PROBLEM] = error
        return None

    def _calls(self, call: _Call) -> StepCalls:
        return StepCalls(self._services, call.token, call.step.claim, self._tokens)

    def _reply(self, place: RunStatus, call: _Call) -> Reply | None:
        return reply_to_poll(self._services, place, call.environ)

    def _join(self, call: _Call) -> _Answer | None:
        environ = call.environ
        if environ.get("QUERY_STRING") or environ.get("CONTENT_TYPE") not in _SENT:
            return None
        data = read_again(environ, self._most)
        if data is None:
            return None
        body, calls = parsed_body(WaitRequest, data), self._calls(call)
        request = request_of(call.task_id, body, call.step)
        # The view would wait for a turn as well.
        if not calls.is_plain(request):
            return None
        with self._joins.turn(call.token.name, len(body.machines)):
            place = calls.join_plainly(request, joined_ids_of(self._services, body.machines))
            have_named(self._services, place)
            reply = self._reply(place, call)
        return ("201 CREATED" if place.is_new else "200 OK", reply) if reply else None

    def _confirm(self, call: _Call) -> _Answer | None:
        environ = call.environ
        if environ.get("QUERY_STRING") != _CONFIRMS or _has_body(environ) or environ.get(HAS_SLEPT):
            return None
        owner = call.token.identity.owner
        place = self._services.board.poll(call.task_id, claim=call.step.claim, owner=owner)
        if place is None or place.state not in WAIT_STATES:
            return None
        if call.step.claim:
            place = place.as_confirmed()
        environ[TELLS_WAITING] = place.is_waiting
        reply = self._reply(place, call)
        return ("200 OK", reply) if reply else None

    def _release(self, call: _Call) -> _Answer | None:
        if call.environ.get("QUERY_STRING") or _has_body(call.environ):
            return None
        claim, owner = call.step.claim, call.token.identity.owner
        outcome = self._services.board.release(call.task_id, by=call.token.name, claim=claim, owner=owner)
        text = answer_to_release(call.task_id, outcome, claim, call.kind)
        return "200 OK", Reply(call.kind, printable(text.encode(), is_text=call.kind == TEXT))


def _has_body(environ: WSGIEnvironment) -> bool:
    return environ.get("CONTENT_LENGTH", "0") not in ("", "0")
