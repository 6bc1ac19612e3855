"""Values of the domain as the Lua scripts take them."""

from __future__ import annotations

from json import JSONEncoder
from typing import Any

from app.domain.events import Batch, Event
from app.domain.run import RunRequest

#: A value as JSON without blanks; ``json.dumps`` makes an encoder for each.
compact_json = JSONEncoder(separators=(",", ":")).encode


def event_fields(event: Event) -> dict[str, Any]:
    """The event as ``lua/lib/deliveries.lua`` takes it: no nulls, since Lua has none."""
    return {
        "id": event.id or event.key,
        "category": event.category,
        "effect": str(event.effect),
        "occurred_ms": event.occurred_ms or 0,
        "info": event.info,
        **({"task": event.task_id} if event.task_id else {}),
        **({"deployment": event.deployment_id} if event.deployment_id else {}),
        **({"outcome": event.outcome} if event.outcome else {}),
        **({"sent_ms": event.sent_ms} if event.sent_ms is not None else {}),
    }


def batch_member(batch: Batch | None) -> str:
    """Where in its batch an event came, as ``lua/lib/deliveries.lua`` keeps it; empty if it came alone."""
    return f"{batch.id}\0{batch.total}\0{batch.number}" if batch and batch.total > 1 else ""


def identity_fields(run: RunRequest) -> dict[str, Any]:
    """Who asks for a run, as fields of the request that ``lua/join.lua`` takes; without those that are empty."""
    who = run.identity
    limits = who.limits if who and not who.is_admin else None
    given = {
        **({"owner": who.owner} if who and who.owner else {}),
        "credential": run.credential,
        "remark": run.remark,
        "verdict": run.verdict,
        **{name: getattr(limits, name, None) for name in ("max_waiting", "max_new_machines", "max_new_mb")},
    }
    sets = {name: dict.fromkeys(getattr(limits, name), True) for name in ("spaces", "projects", "families") if limits}
    sets["parent_projects"] = dict.fromkeys(run.parent_projects, True)
    return {name: value for name, value in {**given, **sets}.items() if value}
