"""``/healthz`` and ``/readyz``, open to everybody."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.domain.wording import capitalized, closed_words
from app.web.api.routing import Api, current_services
from app.web.api.schemas.admin import ProcessStatus
from app.web.errors import Problem

api = Api(Blueprint("health", __name__))


@api.route("GET", "/healthz", role=None, answers={200: ProcessStatus})
def healthz() -> Any:
    """The process is alive."""
    return {"status": "alive"}


@api.route("GET", "/readyz", role=None, answers={200: ProcessStatus})
def readyz() -> Any:
    """Redis answers, refuses nothing and keeps what it is told, a worker has been seen, and the board grants."""
    services = current_services()
    for fault in services.store_faults():
        raise Problem(503, fault.code, f"{fault.message} {fault.do}")
    if cause := services.board.sweep().closed_cause:
        raise Problem(
            503,
            "rebuilding",
            f"{capitalized(closed_words(cause))}: nobody is granted until it is known what runs where",
        )
    if not services.has_worker():
        raise Problem(503, "no_worker", "Redis answers, but no worker has been seen: expected 'octowait worker' to run")
    return {"status": "ready"}
