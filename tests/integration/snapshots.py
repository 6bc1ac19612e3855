"""Snapshots as people see them, to be compared."""

from __future__ import annotations

from typing import Any

from app.coordination.snapshot import Snapshot
from app.coordination.snapshot.values import Tally
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


def counted(snapshot: Snapshot) -> Tally:
    """Its machines, counted one by one."""
    demands = [(machine.status, bool(machine.line)) for machine in snapshot.machines]
    statuses = [status for status, _ in demands]
    waits = [(waiter.requested_at_ms, waiter.task_id) for machine in snapshot.machines for waiter in machine.line]
    return Tally(
        busy=statuses.count("busy"),
        reserved=statuses.count("reserved"),
        idle=demands.count(("idle", False)),
        in_demand=demands.count(("idle", True)),
        longest_wait=min(waits, default=None),
    )


def assert_same(first: Snapshot, second: Snapshot) -> None:
    assert shown(first) == shown(second)
    for snapshot in (first, second):
        assert snapshot.tally == counted(snapshot)
        assert [snapshot.machine(machine.id.upper()) for machine in snapshot.machines] == list(snapshot.machines)
