"""The testimony of steps: what a step has seen of octowait's past, it tells with its next call (rule 24)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.followers.metrics import REFUSALS
from app.services import Services
from app.store.witness import speaking_for
from app.web.step_headers import SEEN_HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_HEADER = "HTTP_" + SEEN_HEADER.upper().replace("-", "_")


class Testimony:
    """WSGI middleware: every script of a request is told what its step has seen.

    A word whose signature is none of ours is counted, and ignored.
    """

    def __init__(self, inner: WSGIApplication, services: Services) -> None:
        self._inner = inner
        self._services = services

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        word, seal = environ.get(_HEADER), self._services.seal
        if not word or not seal:
            return self._inner(environ, start_response)
        seen = seal.read(word)
        if seen is None:
            self._services.metric_buffer.add(REFUSALS.count("unsigned"))
            return self._inner(environ, start_response)
        with speaking_for(seen):
            return self._inner(environ, start_response)
