"""The health page: delay of webhooks, workers, repairs, and what needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from flask import g, render_template, request

from app.coordination.board.clock_offset import ClockOffset
from app.domain.events import is_early
from app.domain.records import Filter, Record
from app.domain.wording import closed_words
from app.web.api.routing import current_services
from app.web.pages.base import blueprint

#: Records, the newest, that are looked through for webhooks and repairs.
LOOKED_THROUGH = 2000

#: Repairs, dead letters and kept deliveries that are listed.
LISTED = 20

#: Kinds that tell of octowait and its connection to Octopus, not of a run.
_REPAIRS = {
    "gap", "caught_up", "job_failed", "outage_ended", "clock_jumped", "repaired", "closed", "opened", "abandoned",
    "not_resumed", "overlapped", "octopus_unreachable", "octopus_reachable",
}  # fmt: skip


@blueprint.get("/health")
def health() -> Any:
    services = current_services()
    now_ms = services.board.now_ms()
    snapshot = services.snapshot()
    records = services.timeline.newest(Filter(), limit=LOOKED_THROUGH)
    # What deliveries and jobs said can have names in it that not every viewer is to see.
    is_admin = g.caller.role == "admin"
    refusals = services.refusals.recent()
    return render_template(
        "_health.html" if "fragment" in request.args else "health.html",
        now_ms=now_ms,
        since_ms=records[0].at_ms if records else None,
        webhooks=webhooks_of(records),
        event_at_ms=services.board.last_webhook_ms(),
        has_worker=services.has_worker(),
        knows_octopus=services.knows_octopus,
        calls=services.budget.calls(),
        rpm=services.settings.octopus_rpm,
        closed_since_ms=snapshot.closed_since_ms,
        closed_why=closed_words(snapshot.closed_cause),
        unreachable=services.reach.unreachable(),
        clock=offset_words(services.board.octopus_offset()),
        repairs=[record for record in reversed(records) if is_repair(record)][:LISTED],
        unresolved=snapshot.unresolved,
        faults=services.faults(snapshot),
        unseen=services.unseen.runs(),
        old_steps=services.old_steps.projects(now_ms),
        blocked=len(services.wakes),
        unread_until_ms=services.timeline.unread_until_ms(),
        dead_count=services.dead_jobs.count(),
        kept_count=services.dead_deliveries.count(),
        dead=services.dead_jobs.all()[:LISTED] if is_admin else [],
        refused_count=sum(each.count for each in refusals),
        refusals=refusals[:LISTED] if is_admin else [],
        kept=services.dead_deliveries.all()[:LISTED] if is_admin else [],
    )


def webhooks_of(records: Sequence[Record]) -> dict[str, Any] | None:
    """The number of events that came by webhook, and their delay; None if none did."""
    lags = [
        record.lag_ms
        for record in records
        if record.kind == "event" and "via" not in record.detail and record.detail.get("occurred_ms")
    ]
    if not lags:
        return None
    return {"count": len(lags), "last_ms": lags[-1], "median_ms": round(median(lags)), "worst_ms": max(lags)}


def offset_words(offset: ClockOffset) -> str:
    """What Octopus's clock is ahead or behind, and how that is known."""
    if not offset.is_known:
        return "not compared yet: taken for that of Redis"
    bounds = f"{offset.least_ms / 1000:+z.1f} s to {offset.most_ms / 1000:+z.1f} s from that of Redis"
    source = "of its answers" if offset.source == "answer" else "at which its webhooks say that they were sent"
    return f"{bounds}, by the time {source}"


def is_repair(record: Record) -> bool:
    """Whether something had gone wrong or unnoticed, and was put right or noticed then."""
    via = record.detail.get("via", "")
    is_late = bool(via) and not is_early(via, int(record.detail.get("late_ms", 0)))
    return record.kind in _REPAIRS or record.cause in ("reconciled", "forced") or is_late
