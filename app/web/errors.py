"""Errors over HTTP: RFC 9457 problem JSON, each with a stable `code`."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, current_app, g, json, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from app.domain.errors import GateError
from app.domain.phrases import clause
from app.domain.shortening import shortened
from app.services import disk_faults
from app.store.errors import NewerData, StoreError, StoreUnreachable

log = structlog.get_logger()

#: Characters of a detail: it can quote what was sent, and is printed into deployment logs.
MOST_DETAIL = 2000

_STATUS = {
    "holds_others": 409, "run_changed": 409, "closes_circle": 409, "not_waiting": 409, "ambiguous_name": 409,
    "unknown_run": 404,
    **{f"unknown_{kind}": 404 for kind in ("machine", "project", "environment", "tenant")},
}  # fmt: skip

_CODES = {404: "not_found", 405: "method_not_allowed"}


class Problem(Exception):
    """An answer that says what was wrong and what was expected."""

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers: dict[str, str] = more.pop("headers", {})
        self.more = more

    def response(self) -> Response:
        body = {
            "status": self.status,
            "title": HTTPStatus(self.status).phrase,
            "detail": shortened(self.detail, MOST_DETAIL),
            "code": self.code,
            **self.more,
        }
        return Response(json.dumps(body), self.status, self.headers, content_type="application/problem+json")


def problem_of(error: Exception) -> Problem:
    """Any error as a problem; one that nobody foresaw is logged here, once."""
    problem = _problem_of(error)
    # What `app.web.refusals` says, where it is one.
    g.refused_because = problem.detail
    return problem


def _problem_of(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case GateError():
            return Problem(_STATUS.get(error.code, 422), error.code, str(error))
        case NewerData():
            log.error("store refused", path=request.path, error=str(error))
            return Problem(503, "newer_data", str(error), headers={"Retry-After": "30"})
        case StoreError():
            log.error("store failed", path=request.path, error=str(error))
            return Problem(503, "store_unavailable", _with_cause(error), headers={"Retry-After": "1"})
        case RequestEntityTooLarge():
            most = f"{(request.max_content_length or 0) // 1024} KiB and {request.max_form_parts} fields"
            return Problem(413, "too_large", f"expected a form of at most {most}")
        case HTTPException() if error.code and error.code >= 400:
            headers = {name: value for name, value in error.get_headers() if name == "Allow"}
            return Problem(error.code, _CODES.get(error.code, "http_error"), error.description or "", headers=headers)
        case _:
            log.exception("unforeseen error", path=request.path)
            return Problem(500, "internal", "octowait failed; its log says how")


def _with_cause(error: StoreError) -> str:
    """The message with what may be the cause and can be seen here: a full disk, or what Redis says when it is asked."""
    services = current_app.extensions.get("octowait")
    faults = disk_faults(services.settings) if services else []
    if services and not isinstance(error, StoreUnreachable):
        with suppress(StoreError):
            faults += services.store_faults()
    return "; ".join([str(error), *(clause(fault.message) for fault in faults)])


def install(app: Flask) -> None:
    """Answer every error of *app* as a problem."""

    @app.errorhandler(Exception)
    def _answer(error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.code and error.code < 400:
            return Response(status=error.code, headers=list(error.get_headers()))
        return problem_of(error).response()
