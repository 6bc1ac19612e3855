"""A wait as it is told: its stretches and sentences, with the names that people know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.domain.narrative import Names, story
from app.domain.replay import Wait
from app.queries.names import names_of
from app.services import Services

#: Stretches of one wait that an answer shows.
MOST_STRETCHES = 200


def wait_story(wait: Wait, names: Names) -> dict[str, Any]:
    """A wait with its stretches and its story."""
    return {
        "task_id": wait.task_id,
        "run": wait.run,
        "label": names.run(wait.task_id),
        "url": names.urls.get(wait.task_id.lower()),
        "machines": list(wait.machines),
        "project_id": wait.project_id,
        "environment_id": wait.environment_id,
        "from_ms": wait.from_ms,
        "to_ms": wait.to_ms,
        "waited_ms": wait.waited_ms,
        "lost_ms": wait.lost_ms,
        "outcome": wait.outcome,
        "cause": wait.cause,
        "stretches": [
            {
                **part._asdict(),
                "reason": str(part.reason),
                "machine": names.machine(part.machine_id) if part.machine_id else None,
                "label": names.run(part.task_id) if part.task_id else None,
                "url": names.urls.get((part.task_id or "").lower()),
            }
            for part in wait.stretches[:MOST_STRETCHES]
        ],
        "more_stretches": max(0, len(wait.stretches) - MOST_STRETCHES),
        "story": story(wait, names),
    }


def names_in(gate: Services, tasks: Iterable[str], machines: Iterable[str]) -> Names:
    """What people call these tasks and machines."""
    return names_of(gate, tasks=tasks, machines=machines)
