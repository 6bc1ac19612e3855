"""The Flask application: the webhook endpoint, the API and the pages."""

from __future__ import annotations

import json
from functools import cache

from flask import Flask, Response, request

from app.services import Services
from app.web import errors, printed, refusals, request_log
from app.web.api import admin, health, insight, machines, metrics, report, timeline, waits, webhook
from app.web.api.joins_in_turn import JoinsInTurn
from app.web.api.openapi import document
from app.web.api.plain_deliveries import PlainDeliveries
from app.web.api.plain_waits import PlainWaits
from app.web.api.step_answers import reply_to_poll
from app.web.auth import Doorkeeper
from app.web.bodies import Bodies
from app.web.pages.recent_faults import RecentFaults
from app.web.pages.site import blueprint as pages
from app.web.peers import Peers
from app.web.polls.blocked import BlockedPolls
from app.web.polls.long_poll import Blocking
from app.web.sessions import ServerSessions
from app.web.step_identity import Issuer
from app.web.testimony import Testimony
from app.web.tokens import Tokens

#: No page of another origin loads what a session may read, as a script, a picture or a style.
API_HEADERS = {"Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}

#: Bytes of a form, which a stranger can send: a note of 1,000 characters takes 12,000 where each is escaped.
MOST_OF_A_FORM = 32_768


def headers_of_all(*, is_https: bool) -> dict[str, str]:
    """The headers of every answer."""
    return {
        "X-Content-Type-Options": "nosniff",
        **({"Strict-Transport-Security": "max-age=31536000"} if is_https else {}),
    }


def create_app(services: Services) -> Flask:
    """The application on *services*, whose settings carry the secrets."""
    settings = services.settings
    assert settings.webhook_secret and settings.tokens
    app = Flask(__name__)
    app.session_interface = ServerSessions(services.sessions)
    app.config.update(
        # Of what Flask reads itself; `read_body` reads all other bodies.
        MAX_CONTENT_LENGTH=min(MOST_OF_A_FORM, settings.max_body_kib * 1024),
        SESSION_COOKIE_NAME="octowait",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.base_url.startswith("https://"),
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    apis = [
        webhook.api,
        waits.api,
        machines.api,
        timeline.api,
        insight.api,
        report.api,
        admin.api,
        metrics.api,
        health.api,
    ]
    operations = [operation for api in apis for operation in api.operations]
    app.extensions["octowait"] = services
    tokens = app.extensions["octowait.tokens"] = Tokens.of(settings)
    doorkeeper = app.extensions["octowait.doorkeeper"] = Doorkeeper(
        tokens, services.attempts, services.board, Issuer.of(app, settings)
    )
    joins = app.extensions["octowait.joins"] = JoinsInTurn()
    is_https = settings.base_url.startswith("https://")

    def headers(scheme: str) -> dict[str, str]:
        return {**headers_of_all(is_https=is_https or scheme == "https"), **API_HEADERS}

    deliveries = PlainDeliveries(
        app.wsgi_app, services, lambda scheme: headers_of_all(is_https=is_https or scheme == "https"),
    )  # fmt: skip
    plain_waits = PlainWaits(deliveries, services, doorkeeper, tokens, joins, headers)
    inside = Bodies(plain_waits, seconds=settings.body_seconds)
    polls = BlockedPolls(services.board, services.wakes, services.board.script.dear)
    app.extensions["octowait.polls"] = polls
    inner = Blocking(inside, services, doorkeeper, polls, reply_to_poll, headers)
    app.wsgi_app = Peers(Testimony(inner, services), settings.trusted_proxies)  # type: ignore[method-assign]
    # Once a process, when it is first asked for: it takes as long as a hundred other answers.
    api_document = cache(lambda: document(operations, server=settings.public_url or "/"))
    app.extensions["octowait.document"] = api_document
    for api in apis:
        app.register_blueprint(api.blueprint)
    app.extensions["octowait.recent_faults"] = RecentFaults(services)
    app.register_blueprint(pages)
    errors.install(app)
    printed.install(app)
    request_log.install(app, is_verbose=settings.log_level == "debug")
    app.extensions["octowait.refusals"] = refusals.install(app, services)

    @cache
    def text_of_document() -> bytes:
        return json.dumps(api_document(), separators=(",", ":")).encode()

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(text_of_document(), content_type="application/json")

    @app.after_request
    def _harden(response: Response) -> Response:
        is_api = request.path.startswith("/api/")
        given = headers_of_all(is_https=is_https or request.is_secure) | (API_HEADERS if is_api else {})
        for name, value in given.items():
            response.headers.setdefault(name, value)
        return response

    return app
