"""``POST /webhooks/octopus``: one event of an Octopus subscription."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from app.domain.events import Unreadable, parse_delivery
from app.followers.metrics import WEBHOOKS
from app.jobs import CATCH_UP, RESOLVE, WATCH
from app.services import Services
from app.store.errors import StoreError, StoreUnreachable
from app.web.api.routing import Api, current_services, read_body
from app.web.api.schemas.admin import Delivered
from app.web.auth import admits_delivery
from app.web.errors import Problem
from app.web.redaction import redacted
from app.web.request_log import name_in_log

api = Api(Blueprint("webhook", __name__))

#: What each outcome adds to what is measured.
COUNTED = {outcome: WEBHOOKS.count(outcome) for outcome in WEBHOOKS.labels["outcome"]}

#: What is asked of Octopus about an event that is applied.
_LEADS_TO = {"unresolved": RESOLVE, "unconfirmed": WATCH}

#: Characters of an unreadable body that are kept.
MOST_KEPT = 65_536


@api.route("POST", "/webhooks/octopus", role=None, answers={202: Delivered}, errors=(401, 413))
def deliver() -> Any:
    """One event of a subscription.

    Answers 202 once it is stored, whatever it is: an error answer would make Octopus drop the rest of its batch.
    """
    services = current_services()
    secret = services.settings.webhook_secret
    assert secret
    if not admits_delivery(request.headers.get(services.settings.webhook_header), secret.get_secret_value()):
        services.metric_buffer.add(COUNTED["unauthorized"])
        raise Problem(
            401, "unauthorized", f"expected the webhook secret in the header {services.settings.webhook_header}"
        )
    body = read_body()
    try:
        event = parse_delivery(body)
    except Unreadable as unreadable:
        return _keep(body, str(unreadable), None)
    name_in_log(event_id=event.id, task=event.task_id)
    try:
        outcome = services.board.deliver(event, confirm=services.knows_octopus)
        if not services.board.has_copies():
            raise StoreUnreachable(
                "too few replicas of Redis have what was delivered: expected OCTOWAIT_REDIS_REPLICAS"
            )
    except StoreError:
        services.has_missed.set()
        services.metric_buffer.add(COUNTED["failed"])
        raise
    if outcome == "unlinked":
        services.request(CATCH_UP)
        return _keep(body, f"{event.category} names no server task and {event.deployment_id} is unknown", event.id)
    if outcome == "implausible":
        return _keep(body, f"Payload.Event.Occurred is more than a day from now ({event.category})", event.id)
    return {"event": event.id, "outcome": _noted(services, outcome)}


def answer_to_delivery(services: Services, event_id: str | None, outcome: str) -> bytes | None:
    """The answer to a delivery as the view gives it; None where that has to ask for more, or keeps it."""
    if outcome in ("unlinked", "implausible"):
        return None
    delivered = Delivered.model_validate({"event": event_id, "outcome": _noted(services, outcome)})
    return f"{delivered.model_dump_json(ensure_ascii=True)}\n".encode()


def _noted(services: Services, outcome: str) -> str:
    """What a delivery is answered with that outcome, once it is counted, and what it leads to is asked for."""
    if outcome in _LEADS_TO:
        services.request(_LEADS_TO[outcome])
        outcome = "applied"
    services.metric_buffer.add(COUNTED[outcome])
    return outcome


def _keep(body: bytes, reason: str, event_id: str | None) -> Any:
    services = current_services()
    secret = services.settings.webhook_secret
    assert secret
    services.metric_buffer.add(COUNTED["kept"])
    text = redacted(body, (secret.get_secret_value(),), MOST_KEPT)
    services.dead_deliveries.keep(body=text, reason=reason, event=event_id)
    return {"event": event_id, "outcome": "kept"}
