"""Interruptions over the API: seen by many, answered by whoever has taken responsibility."""

from __future__ import annotations

from tests.simulator import resources
from tests.simulator.envelope import collection
from tests.simulator.model import Interruption, Invalid
from tests.simulator.routing import Answer, Call, Routes

routes = Routes()

VIEW, SUBMIT = "InterruptionView", "InterruptionViewSubmitResponsible"


def _shown(call: Call, interruption: Interruption) -> resources.Resource:
    may_take = call.user.may(SUBMIT) and call.octopus.interruptions.may_take(interruption, call.user)
    return resources.interruption(interruption, call.user, may_take)


def _interruption(call: Call) -> Interruption:
    found: Interruption = call.get("Interruptions", call.ids["id"])
    return found


@routes("GET", "interruptions", VIEW)
def interruptions(call: Call) -> Answer:
    """Newest first; ``regarding`` is a task or a deployment."""
    ids = {text.lower() for text in call.texts("ids")}
    regarding = {text.lower() for text in call.texts("regarding")}
    found = [
        interruption
        for interruption in reversed(call.in_space(call.octopus.store.all("Interruptions")))
        if (not ids or interruption.id.lower() in ids)
        and (not regarding or regarding & _about(interruption))
        and (interruption.is_pending or not call.flag("pendingOnly"))
    ]
    return collection(call, found, "Interruption", lambda interruption: _shown(call, interruption))


def _about(interruption: Interruption) -> set[str]:
    deployment = interruption.task.deployment
    return {interruption.task.id.lower(), *([deployment.id.lower()] if deployment else [])}


@routes("GET", "interruptions/{id}", VIEW)
def interruption(call: Call) -> Answer:
    return _shown(call, _interruption(call))


@routes("GET", "interruptions/{id}/responsible", VIEW)
def responsible(call: Call) -> Answer:
    """The user, or null."""
    user = _interruption(call).responsible
    return resources.user(user) if user else None


@routes("PUT", "interruptions/{id}/responsible", SUBMIT)
def take_responsibility(call: Call) -> Answer:
    call.octopus.interruptions.take(_interruption(call), call.user)
    return resources.user(call.user)


@routes("POST", "interruptions/{id}/submit", SUBMIT)
def submit(call: Call) -> Answer:
    """Takes ``{"Id", "SpaceId", "Result" | "Guidance", "Notes"}``, and the values inside ``Form`` as older clients
    send them."""
    interruption, body = _interruption(call), call.body
    for name, value in (("Id", interruption.id), ("SpaceId", interruption.space_id)):
        if str(body.get(name) or "").lower() != value.lower():
            raise Invalid(f"{name} is {body.get(name)!r}: expected {value}.")
    form = (body.get("Form") or {}).get("Values") or {}
    values = {name: str(value) for name, value in {**form, **body}.items()
              if name in ("Result", "Guidance", "Notes") and value is not None}  # fmt: skip
    call.octopus.interruptions.submit(interruption, call.user, values)
    return _shown(call, interruption)
