"""The HTTP side: API keys, the three forms of paths, error answers, and faults."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from werkzeug import Request, Response
from werkzeug.http import http_date
from werkzeug.serving import WSGIRequestHandler

from tests.simulator.clock import Clock
from tests.simulator.model import Denied, Invalid, Missing, Space, User
from tests.simulator.routing import ANYBODY, OPEN, Call, Created, Handler, Route, Text, find

if TYPE_CHECKING:
    from tests.simulator.octopus import Octopus

log = logging.getLogger("simulator")


class Api:
    """A WSGI application: ``/api`` as Octopus has it, ``/sim`` for the tests."""

    def __init__(self, octopus: Octopus, api: Sequence[Route], sim: Sequence[Route]) -> None:
        self._octopus = octopus
        self._api = api
        self._sim = sim

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        # What is encoded is one part: the slashes of a Git reference do not divide.
        raw = urlsplit(environ.get("REQUEST_URI") or request.path).path
        parts = [unquote(part) for part in raw.split("/") if part]
        try:
            answer = self._sim_answer(request, parts[1:]) if parts[:1] == ["sim"] else self._answer(request, parts)
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            answer = _error(500, f"The simulator failed: {type(error).__name__}: {error}")
        return answer(environ, start_response)

    @property
    def is_down(self) -> bool:
        return self._octopus.dice.faults.is_down or self._octopus.outages.is_silent

    def _answer(self, request: Request, parts: list[str]) -> Response:
        if not parts or parts[0].lower() != "api":
            return _error(404, "Octopus is at /api.")
        user = self._user(request)
        space, rest, error = self._scope(parts[1:])
        route, ids = find(self._api, request.method, rest)
        what = route.shown if route else f"{request.method} (unknown)"
        is_allowed, headers, seconds = self._octopus.rate_limit.take(user.id if user else str(request.remote_addr))
        is_counted = user is not None and user.is_service
        if not is_allowed and is_counted:
            response = _error(429, "Too many requests.", retry_after=self._retry_after(seconds))
        else:
            response = self._fault(what) or self._served(request, user, space, route, ids, error)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        self._octopus.calls.count(user.name if user else "nobody", what, response.status_code)
        return response

    def _retry_after(self, seconds: int) -> int | None:
        return None if self._octopus.dice.faults.retry_after is None else seconds

    def _served(
        self, request: Request, user: User | None, space: Space | None, route: Route | None, ids: dict[str, str],
        error: str,
    ) -> Response:  # fmt: skip
        if user is None and route is not None and route.permission is OPEN:
            user = self._octopus.nobody
        if user is None:
            return _error(401, "You must be logged in to request this resource. Please provide a valid API key.")
        if space is not None and space.id in user.hidden:
            error = f"The resource '{space.id}' was not found."
        if error or route is None:
            return _error(404, error or f"The resource '{request.path}' was not found.")
        if route.permission not in (ANYBODY, OPEN) and not user.may(route.permission):
            return _error(403, "You do not have permission to perform this action. Please contact your Octopus "
                               f"administrator. Missing permission: {route.permission}")  # fmt: skip
        return _guarded(route.handler, Call(self._octopus, request, user, space, ids))

    def _sim_answer(self, request: Request, parts: list[str]) -> Response:
        route, ids = find(self._sim, request.method, parts)
        if route is None:
            return _error(404, f"{request.method} {request.path} is not there.")
        return _guarded(route.handler, Call(self._octopus, request, self._octopus.admin, None, ids))

    def _user(self, request: Request) -> User | None:
        key = request.headers.get("X-Octopus-ApiKey") or request.args.get("apikey")
        key = key or request.headers.get("Authorization", "").removeprefix("Bearer ")
        return next((user for user in self._octopus.store.all("Users") if user.api_key == key), None)

    def _scope(self, parts: list[str]) -> tuple[Space | None, list[str], str]:
        """The space of ``{space}/…`` or ``spaces/{space}/…``, the rest of the path, and what is wrong."""
        if len(parts) > 2 and parts[0].lower() == "spaces":
            wanted, rest = parts[1], parts[2:]
        elif parts and re.fullmatch(r"spaces-\d+", parts[0], re.IGNORECASE):
            wanted, rest = parts[0], parts[1:]
        else:
            return None, parts, ""
        for space in self._octopus.store.all("Spaces"):
            if wanted.lower() in (space.id.lower(), space.slug.lower(), space.name.lower()):
                return space, rest, ""
        return None, rest, f"The resource '{wanted}' was not found."

    def _fault(self, route: str) -> Response | None:
        dice, faults = self._octopus.dice, self._octopus.dice.faults
        if faults.slow_seconds:
            threading.Event().wait(self._octopus.clock.real(faults.slow_seconds))
        if faults.is_in_maintenance or self._octopus.outages.shows_page:
            return _page(faults.retry_after)
        if dice.falls_for(route, faults.too_many):
            response = _error(429, "Too many requests.", retry_after=faults.retry_after)
            response.headers["Octopus-RateLimit"] = f"r=0;t={faults.retry_after or 1}"
            return response
        if dice.falls_for(route, faults.unavailable):
            return _error(503, "Unavailable on demand.", retry_after=faults.retry_after)
        return _error(500, "Failed on demand.") if dice.falls_for(route, faults.error) else None


def _guarded(handler: Handler, call: Call) -> Response:
    try:
        with call.octopus.store.lock:
            answer = handler(call)
    except Missing as error:
        return _error(404, str(error))
    except Denied as error:
        return _error(403, str(error))
    except Invalid as error:
        return _error(400, "There was a problem with your request.", [str(error)])
    if isinstance(answer, Text):
        return Response(answer, content_type="text/plain; charset=utf-8")
    status = 201 if isinstance(answer, Created) else 200
    return Response(json.dumps(answer), status, content_type="application/json; charset=utf-8")


def _error(status: int, message: str, errors: Sequence[str] = (), *, retry_after: int | None = None) -> Response:
    body: dict[str, Any] = {"ErrorMessage": message}
    if errors:
        body |= {"Errors": list(errors), "ParsedHelpLinks": []}
    response = Response(json.dumps(body), status, content_type="application/json; charset=utf-8")
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _page(retry_after: int | None) -> Response:
    """What stands before the server in a maintenance window."""
    response = Response("<!DOCTYPE html><html><head><title>Maintenance</title></head>"
                        "<body><h1>We'll be back soon</h1></body></html>", 503,
                        content_type="text/html; charset=utf-8")  # fmt: skip
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


class Connection(WSGIRequestHandler):
    """One call; while the API is down the connection is closed without an answer."""

    protocol_version = "HTTP/1.1"

    def run_wsgi(self) -> None:
        api: Any = self.server.app
        if api.is_down and not self.path.startswith("/sim"):
            self.close_connection = True
            self.connection.close()
            return
        super().run_wsgi()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The ``Date`` of each answer, by the server's own clock."""
        return http_date(Clock.now_ms() / 1000)

    def log_request(self, *args: Any, **kwargs: Any) -> None:
        """Thousands of lines that the count of calls says better."""
