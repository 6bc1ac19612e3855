"""What a step's request for a place is made of, and what follows from it: for its view, and in front of that."""

from __future__ import annotations

from datetime import timedelta

from app.domain.run import RunRequest, parse_parent
from app.domain.status import RunStatus
from app.services import Services
from app.web.api.schemas.waits import WaitRequest
from app.web.step_headers import StepHeaders

#: Of a body, what is no information about the run.
_TERMS = {"machines", "priority", "timeout_seconds", "parked", "on_behalf_of"}


def request_of(task_id: str, body: WaitRequest, step: StepHeaders) -> RunRequest:
    """What the step of a run asks of the gate."""
    parent, word = parse_parent(body.on_behalf_of) if body.on_behalf_of else (None, None)
    info = body.model_dump(exclude=_TERMS, exclude_none=True, exclude_defaults=True)
    return RunRequest(
        task_id=task_id,
        info=info | ({"on_behalf_of": parent} if parent else {}),
        priority=body.priority,
        timeout=timedelta(seconds=body.timeout_seconds) if body.timeout_seconds else None,
        parked=body.parked,
        on_behalf_of=parent,
        parent_word=word,
        claim=step.claim,
        is_old_step=step.version is None,
    )


def have_named(services: Services, place: RunStatus) -> None:
    """Have the names of the machines found out of a run that has joined: no step knows them."""
    if place.is_new and services.knows_octopus and any(machine.name == machine.id for machine in place.machines):
        services.unresolved.to_name(place.task_id, now_ms=place.now_ms)
