"""Webhooks in front of Flask, which would take longer for each than everything else together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from app.domain.events import parse_delivery
from app.services import Services
from app.web.api.deliveries_together import DeliveriesTogether
from app.web.api.webhook import answer_to_delivery
from app.web.auth import admits_delivery
from app.web.bodies import read_again

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/webhooks/octopus"


class PlainDeliveries:
    """WSGI middleware: a delivery that can be applied is answered here.

    All others go on inside, with their bodies, where they are refused, kept or answered as an error: what is carried
    out a second time there is the same event, which counts once.

    Args:
        headers: Of every answer, by the scheme of its request.
    """

    def __init__(self, inner: WSGIApplication, services: Services, headers: Callable[[str], Mapping[str, str]]) -> None:
        self._inner = inner
        self._services = services
        self._headers = headers
        self._together = DeliveriesTogether(services.board, confirm=services.knows_octopus)
        settings = services.settings
        self._secret_key = "HTTP_" + settings.webhook_header.upper().replace("-", "_")
        self._most = settings.max_body_kib * 1024
        # Those are logged, or wait for copies.
        self._is_off = settings.log_level == "debug" or bool(settings.redis_replicas)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._is_plain(environ):
            return self._inner(environ, start_response)
        body = read_again(environ, self._most)
        answer = self._applied(body) if body else None
        if answer is None:
            return self._inner(environ, start_response)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(answer))}
        start_response("202 ACCEPTED", list({**headers, **self._headers(environ["wsgi.url_scheme"])}.items()))
        return [answer]

    def _is_plain(self, environ: WSGIEnvironment) -> bool:
        """Whether it is a delivery as Octopus sends it, by somebody who knows the secret."""
        secret = self._services.settings.webhook_secret
        return bool(
            environ["PATH_INFO"] == PATH
            and environ["REQUEST_METHOD"] == "POST"
            and not self._is_off
            and environ.get("CONTENT_TYPE", "").startswith("application/json")
            and secret
            and admits_delivery(environ.get(self._secret_key), secret.get_secret_value())
        )

    def _applied(self, body: bytes) -> bytes | None:
        try:
            event = parse_delivery(body)
            outcome = self._together.deliver(event)
            return answer_to_delivery(self._services, event.id, outcome)
        except Exception:  # It fails inside as well, where that is logged and answered.
            return None
