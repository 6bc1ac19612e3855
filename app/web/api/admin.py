"""``/api/rebuild``, ``/api/catch-up``, ``/api/archive``: what an operator asks of the workers; and what failed.

``/api/dead-letters`` lists jobs that failed, ``/api/kept`` deliveries that could not be applied, ``/api/refusals``
calls that were refused.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.jobs import ARCHIVE, CATCH_UP, REBUILD
from app.settings.values import Token
from app.web.api.routing import Api, current_services
from app.web.api.schemas.admin import (
    ArchiveRequest,
    ArchiveState,
    DeadLetters,
    Forgotten,
    KeptDeliveries,
    RebuildRequest,
    RebuiltModel,
    RefusedCalls,
    Requested,
    SignInCode,
)
from app.web.api.timeline import STREAM_ID
from app.web.errors import Problem
from app.web.tokens import digest

api = Api(Blueprint("admin", __name__))


@api.route("POST", "/api/catch-up", role="admin", answers={202: Requested}, errors=(409,))
def catch_up(caller: Token) -> Any:
    """Have a worker read the events of Octopus that no webhook brought."""
    _require_octopus()
    current_services().request(CATCH_UP)
    return {"outcome": "requested"}


@api.route("POST", "/api/rebuild", role="admin", body=RebuildRequest, answers={202: RebuiltModel}, errors=(409,))
def rebuild(body: RebuildRequest, caller: Token) -> Any:
    """Grant nobody until it has been found out anew from Octopus who runs where.

    With `open`, grant again at once: the operator knows that nothing runs which octowait does not know.
    """
    services = current_services()
    if body.open:
        done = services.board.open("operator", by=caller.name, reason=body.reason)
        return {"outcome": "opened" if done else "was_open"}
    _require_octopus()
    done = services.board.close(by=caller.name, reason=body.reason)
    services.request(REBUILD)
    return {"outcome": "closed" if done else "was_closed"}


@api.route("POST", "/api/sign-in-code", role="viewer", answers={201: SignInCode})
def sign_in_code(caller: Token) -> Any:
    """Make a code that signs a browser in as the caller: once, within ten minutes.

    So a link can be printed, or opened, without the token in it.
    """
    return {"code": current_services().sessions.make_code(digest(caller.secret))}


@api.route("GET", "/api/refusals", role="admin", answers={200: RefusedCalls})
def refused_calls(caller: Token) -> Any:
    """Calls that were refused in the last day: without a valid secret, without the role, after too many tries."""
    return {"refusals": current_services().refusals.recent()}


@api.route("GET", "/api/dead-letters", role="admin", answers={200: DeadLetters})
def dead_letters(caller: Token) -> Any:
    """Jobs that failed, newest first. What they should have done is asked for again at its next time."""
    return {"dead_letters": current_services().dead_jobs.all()}


@api.route("DELETE", "/api/dead-letters/{letter_id}", role="admin", answers={200: Forgotten}, errors=(404,))
def forget_dead_letter(letter_id: str, caller: Token) -> Any:
    """Keep a dead letter no longer."""
    if not STREAM_ID.match(letter_id) or not current_services().dead_jobs.forget(letter_id):
        raise Problem(404, "not_kept", f"{letter_id[:100]} is not kept: expected an id of GET /api/dead-letters")
    return {"outcome": "forgotten"}


@api.route("GET", "/api/kept", role="admin", answers={200: KeptDeliveries})
def list_kept(caller: Token) -> Any:
    """Deliveries that were authentic and could not be applied, newest first, without any secret."""
    return {"kept": current_services().dead_deliveries.all()}


@api.route("DELETE", "/api/kept/{kept_id}", role="admin", answers={200: Forgotten}, errors=(404,))
def forget_kept(kept_id: str, caller: Token) -> Any:
    """Keep a delivery no longer."""
    if not STREAM_ID.match(kept_id) or not current_services().dead_deliveries.forget(kept_id):
        raise Problem(404, "not_kept", f"{kept_id[:100]} is not kept: expected an id of GET /api/kept")
    return {"outcome": "forgotten"}


@api.route("GET", "/api/archive", role="viewer", answers={200: ArchiveState})
def archive(caller: Token) -> Any:
    """The days of the timeline that are in files."""
    services = current_services()
    return {"days": services.archive.manifests(), "head": services.retention.head()}


@api.route("POST", "/api/archive", role="admin", body=ArchiveRequest, answers={202: Requested})
def archive_now(body: ArchiveRequest, caller: Token) -> Any:
    """Have a worker archive now what is old enough; it does so by itself every hour."""
    services = current_services()
    if body.begin_anew and (head := services.retention.head()):
        # The files that follow do not show that some are missing; the timeline does.
        services.board.note("archive_lost", by=caller.name, day=head.day, last_id=head.last_id, hash=head.hash)
        services.retention.begin_anew()
    services.request(ARCHIVE)
    return {"outcome": "requested"}


def _require_octopus() -> None:
    if not current_services().knows_octopus:
        raise Problem(
            409, "no_api_key", "only Octopus can say: expected OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY"
        )
