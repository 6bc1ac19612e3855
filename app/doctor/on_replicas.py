"""Checks of the replicas of Redis: whether a fail-over can lose a grant that was told."""

from __future__ import annotations

from collections.abc import Iterator

from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, error, ok, unknown, warning
from app.domain.faults import shortcomings
from app.domain.phrases import several


def copies(context: DoctorContext) -> Iterator[Finding]:
    """Each replica that can be made primary has every grant that was told."""
    assert context.condition
    condition, least = context.condition(), context.settings.redis_replicas
    lacks = shortcomings(condition, **context.settings.durability)
    if short := next((fault for fault in lacks if fault.code == "redis_replicas"), None):
        yield error(short.code, short.message, short.do)
        return
    priorities = {f"{host}:{port}": context.replica_priority(host, port) for host, port in condition.replicas}
    # One that does not say can be made primary.
    promotable = [name for name, priority in priorities.items() if priority != 0]
    silent = [name for name in promotable if priorities[name] is None]
    if len(promotable) > least:
        can = f"{several(len(promotable), 'replica')} of Redis ({', '.join(promotable)}) can be made primary"
        yield warning(
            "redis_replicas",
            f"{can}, and OCTOWAIT_REDIS_REPLICAS={least}: a fail-over to one that lags loses grants that were told.",
            f"Set OCTOWAIT_REDIS_REPLICAS={len(promotable)}, or 'replica-priority 0' on those that shall never be.",
        )
    elif silent:
        yield unknown(
            "redis_replicas",
            f"{', '.join(silent)} did not say whether it can be made primary: it counts as if it could.",
            "Run the doctor where the replicas of Redis can be reached.",
        )
    elif promotable:
        yield ok("redis_replicas", "Whichever replica of Redis is made primary has every grant that was told.")
    else:
        yield ok("redis_replicas", "Redis has no replica that can be made primary.")
