"""The request in the log: what every line says of the one that it was written in, and one line for each at level debug.

All of it is found out when a line is written: most requests write none, and are not to pay for it.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

import structlog
from flask import Flask, Response, g, has_request_context, request

from app.logs import about

log = structlog.get_logger()

#: An id that a proxy gave the request, and that can be written anywhere.
_GIVEN = re.compile(r"^[A-Za-z0-9._-]{1,64}\Z")


def install(app: Flask, *, is_verbose: bool) -> None:
    """Let every line that is written in a request of *app* name it; if *is_verbose*, write one for each."""

    @app.before_request
    def _begin() -> None:
        about.set(_facts)
        if is_verbose:
            g.began = time.perf_counter()

    @app.after_request
    def _end(response: Response) -> Response:
        if is_verbose:
            took_ms = round((time.perf_counter() - g.get("began", time.perf_counter())) * 1000, 1)
            # Without its query, which may say anything.
            log.debug("request", method=request.method, path=request.path, status=response.status_code, took_ms=took_ms)
        if "request_id" in g:
            response.headers.setdefault("X-Request-ID", g.request_id)
        return response


def name_in_log(**facts: Any) -> None:
    """Name these *facts*, such as ``task`` or ``machines``, in the lines of this request."""
    g.log_facts = {**g.get("log_facts", {}), **facts}


def _facts() -> dict[str, Any]:
    if not has_request_context():
        return {}
    arguments = request.view_args or {}
    facts: dict[str, Any] = {"request_id": _request_id()}
    if "task_id" in arguments:
        facts["task"] = str(arguments["task_id"])[:100]
    if "machine_id" in arguments:
        facts["machines"] = [str(arguments["machine_id"])[:100]]
    facts |= g.get("log_facts", {})
    return facts


def _request_id() -> str:
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _GIVEN.match(given) else os.urandom(8).hex()
    return str(g.request_id)
