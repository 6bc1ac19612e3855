"""Snapshots as people see them, to be compared."""

from __future__ import annotations

from typing import Any

from app.coordination.snapshot import Snapshot
from app.queries.views import waiting_places


def shown(snapshot: Snapshot) -> dict[str, Any]:
    """All that a page or an answer shows of a snapshot; how old it is aside."""
    return {
        "machines": [
            (machine.id, machine.name, machine.holders, [_waiter(waiter) for waiter in machine.line])
            for machine in snapshot.machines
        ],
        "waiting": snapshot.waiting,
        "places": [(place.task_id, place.machines) for place in waiting_places(snapshot)],
        "unresolved": snapshot.unresolved,
        "closed": snapshot.closed_since_ms is not None,
        "cause": snapshot.closed_cause,
    }


def _waiter(waiter: Any) -> tuple[Any, ...]:
    run = waiter.run
    return waiter.task_id, waiter.place, run.state, run.info, run.priority, run.parked, run.family, run.requested_at_ms


def assert_same(first: Snapshot, second: Snapshot) -> None:
    assert shown(first) == shown(second)
