"""Releases in front of Flask: whoever is next waits for what this takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from app.domain.errors import AnotherOwner
from app.services import Services
from app.store.errors import StoreError
from app.web.api.step_answers import TEXT, answer_to_release, kind_of
from app.web.auth import Doorkeeper
from app.web.errors import Problem
from app.web.printed import printable
from app.web.step_headers import step_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH = re.compile(r"/api/waits/([A-Za-z0-9-]{1,100})\Z")


class PlainReleases:
    """WSGI middleware: a release as the step scripts send it is carried out here.

    All others go on inside, and so does one that could not be carried out: it changes nothing a second time.

    Args:
        headers: Of every answer of the API, by the scheme of its request.
    """

    def __init__(
        self, inner: WSGIApplication, services: Services, doorkeeper: Doorkeeper,
        headers: Callable[[str], Mapping[str, str]],
    ) -> None:  # fmt: skip
        self._inner = inner
        self._services = services
        self._doorkeeper = doorkeeper
        self._headers = headers
        # Those are logged, or wait for copies.
        self._is_off = services.settings.log_level == "debug" or bool(services.settings.redis_replicas)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = None if self._is_off or environ["REQUEST_METHOD"] != "DELETE" else self._carried_out(environ)
        if answer is None:
            return self._inner(environ, start_response)
        kind, body = answer
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        start_response("200 OK", list({**headers, **self._headers(environ["wsgi.url_scheme"])}.items()))
        return [body]

    def _carried_out(self, environ: WSGIEnvironment) -> tuple[str, bytes] | None:
        """The content type and the body of the answer; None where it was not."""
        path, kind = _PATH.match(environ.get("PATH_INFO", "")), kind_of(environ)
        if not path or not kind or environ.get("QUERY_STRING") or environ.get("CONTENT_LENGTH", "0") not in ("", "0"):
            return None
        try:
            token = self._doorkeeper.find_step(environ)
            if token is None:
                return None
            claim = step_headers(environ).claim
            outcome = self._services.board.release(path[1], by=token.name, claim=claim, owner=token.identity.owner)
        except (Problem, StoreError, AnotherOwner):
            return None
        answer = answer_to_release(path[1], outcome, claim, kind)
        return kind, printable(answer.encode(), is_text=kind == TEXT)
