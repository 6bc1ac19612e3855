"""What every line of the log says about the request that it was written in, and one line for each at level debug."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger()

#: An id that a proxy gave the request, and that can be written anywhere.
_GIVEN = re.compile(r"^[A-Za-z0-9._-]{1,64}\Z")


def install(app: Flask) -> None:
    """Give every request of *app* an id, and its run and machine to the log."""

    @app.before_request
    def _begin() -> None:
        given = request.headers.get("X-Request-ID", "")
        # A connection that is kept serves many requests in one context.
        structlog.contextvars.clear_contextvars()
        g.began, g.request_id = time.perf_counter(), given if _GIVEN.match(given) else os.urandom(8).hex()
        structlog.contextvars.bind_contextvars(request_id=g.request_id, **_about(request.view_args or {}))

    @app.after_request
    def _end(response: Response) -> Response:
        response.headers.setdefault("X-Request-ID", g.get("request_id", ""))
        took_ms = round((time.perf_counter() - g.get("began", time.perf_counter())) * 1000, 1)
        # Without its query, which may say anything.
        log.debug("request", method=request.method, path=request.path, status=response.status_code, took_ms=took_ms)
        return response


def _about(arguments: dict[str, Any]) -> dict[str, Any]:
    """The run and the machines that the path names."""
    about: dict[str, Any] = {}
    if "task_id" in arguments:
        about["task"] = str(arguments["task_id"])[:100]
    if "machine_id" in arguments:
        about["machines"] = [str(arguments["machine_id"])[:100]]
    return about
