"""Values of the domain as the Lua scripts take them."""

from __future__ import annotations

import json

from app.domain.events import Batch, Event


def event_json(event: Event) -> str:
    """The event as ``lua/deliver.lua`` takes it: no nulls, since Lua has none."""
    return json.dumps(
        {
            "id": event.id or event.key,
            "category": event.category,
            "effect": str(event.effect),
            "occurred_ms": event.occurred_ms or 0,
            "info": event.info,
            **({"task": event.task_id} if event.task_id else {}),
            **({"deployment": event.deployment_id} if event.deployment_id else {}),
            **({"outcome": event.outcome} if event.outcome else {}),
            **({"sent_ms": event.sent_ms} if event.sent_ms is not None else {}),
        },
        separators=(",", ":"),
    )


def batch_member(batch: Batch | None) -> str:
    """Where in its batch an event came, as ``lua/deliver.lua`` keeps it; empty if it came alone."""
    return f"{batch.id}\0{batch.total}\0{batch.number}" if batch and batch.total > 1 else ""
