"""``/api/rebuild``, ``/api/catch-up``, ``/api/dead-letters``: what an operator asks of the workers, and what failed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.jobs import CATCH_UP, REBUILD
from app.settings import Token
from app.web.api.reading import STREAM_ID
from app.web.api.routing import Api, services
from app.web.api.schemas import DeadLetters, Forgotten, RebuildRequest, Rebuilt, Requested
from app.web.errors import Problem

api = Api(Blueprint("repairs", __name__))


@api.route("POST", "/api/catch-up", role="admin", answers={202: Requested}, errors=(409,))
def catch_up(caller: Token) -> Any:
    """Have a worker read the events of Octopus that no webhook brought."""
    _require_octopus()
    services().request(CATCH_UP)
    return {"outcome": "requested"}, 202


@api.route("POST", "/api/rebuild", role="admin", body=RebuildRequest, answers={202: Rebuilt}, errors=(409,))
def rebuild(body: RebuildRequest, caller: Token) -> Any:
    """Grant nobody until it has been found out anew from Octopus who runs where.

    With `open`, grant again at once: the operator knows that nothing runs which octowait does not know.
    """
    gate = services()
    if body.open:
        done = gate.board.open("operator", by=caller.name, reason=body.reason)
        return {"outcome": "opened" if done else "was_open"}, 202
    _require_octopus()
    done = gate.board.close(by=caller.name, reason=body.reason)
    gate.request(REBUILD)
    return {"outcome": "closed" if done else "was_closed"}, 202


@api.route("GET", "/api/dead-letters", role="admin", answers={200: DeadLetters})
def dead_letters(caller: Token) -> Any:
    """Jobs that failed, newest first. What they should have done is asked for again at its next time."""
    return {"dead_letters": services().dead.all()}


@api.route("DELETE", "/api/dead-letters/{letter_id}", role="admin", answers={200: Forgotten}, errors=(404,))
def forget_dead_letter(letter_id: str, caller: Token) -> Any:
    """Keep a dead letter no longer."""
    if not STREAM_ID.match(letter_id) or not services().dead.forget(letter_id):
        raise Problem(404, "not_kept", f"{letter_id[:100]} is not kept: expected an id of GET /api/dead-letters")
    return {"outcome": "forgotten"}


def _require_octopus() -> None:
    if not services().knows_octopus:
        raise Problem(
            409, "no_api_key", "only Octopus can say: expected OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY"
        )
