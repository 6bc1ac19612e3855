"""Metrics for Prometheus: their definitions, and the increments that each record of the timeline makes.

Labels have a bounded set of values, never a task or a machine: a value that is not listed is counted as ``other``.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from app.domain.events import is_early
from app.domain.records import KINDS, Filter, Record
from app.followers.metric_values import MetricValues
from app.history.timeline import Timeline
from app.jobs import JOBS

#: What is added to which field of the store; fields are ``name NUL label values NUL part``, all separated by NUL, where
#: the part is ``n`` for a count, the number of a bucket, or ``ms`` for the sum.
Increments = Counter[str]

_MINUTES = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0)


@dataclass(frozen=True)
class MetricDefinition:
    """A counter, or with *buckets* (upper bounds, seconds) a histogram. *labels* are their names and known values."""

    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    def count(self, *values: str) -> Increments:
        """One more."""
        return Counter({self._field(values, "n"): 1})

    def observe(self, ms: int, *values: str) -> Increments:
        """One more that took so long; less than nothing, as clocks that differ make it, is nothing."""
        ms = max(0, ms)
        bucket = next((at for at, bound in enumerate(self.buckets) if ms <= bound * 1000), len(self.buckets))
        return Counter({self._field(values, str(bucket)): 1, self._field(values, "ms"): ms})

    def _field(self, values: Iterable[str], part: str) -> str:
        known = [
            value if value in allowed else "other" for value, allowed in zip(values, self.labels.values(), strict=True)
        ]
        return "\0".join((self.name, *known, part))


RECORDS = MetricDefinition(
    "octowait_records",
    "Records of the timeline.",
    {"kind": KINDS},
)
WAIT = MetricDefinition(
    "octowait_wait_seconds", "How long runs waited, by how the wait ended.",
    {"outcome": ("granted", "left", "expired", "timed_out", "refused")}, _MINUTES,
)  # fmt: skip
HOLD = MetricDefinition(
    "octowait_hold_seconds", "How long leases were held, by what ended them.",
    {"cause": (
        "step", "event", "reconciled", "forced", "max_hold", "paused", "abandoned", "uncollected", "taken_over",
        "disproved",
    )}, _MINUTES,
)  # fmt: skip
HANDOFF = MetricDefinition(
    "octowait_handoff_seconds", "How long a machine that somebody waited for was idle between two holders.",
    buckets=(0.005, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)  # fmt: skip
WEBHOOK_LAG = MetricDefinition(
    "octowait_webhook_lag_seconds", "From when an event occurred until its webhook was applied.",
    buckets=(1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0),
)  # fmt: skip
WEBHOOKS = MetricDefinition(
    "octowait_webhooks", "Webhooks, by what became of them.",
    {"outcome": ("applied", "duplicate", "ignored", "kept", "unauthorized", "failed")},
)  # fmt: skip
REFUSALS = MetricDefinition(
    "octowait_refusals",
    "Calls that were refused: without a valid secret, without the role, after too many tries, or beyond limits; and "
    "what steps had seen that octowait has not signed (unsigned), which is ignored.",
    {"reason": ("unauthorized", "forbidden", "too_many", "not_allowed", "unsigned")},
)  # fmt: skip
REPAIRS = MetricDefinition(
    "octowait_repairs", "What no webhook had told, by how it was found out.",
    {"kind": ("reconciled", "catch_up", "rebuild")},
)  # fmt: skip
LATENESS = MetricDefinition(
    "octowait_repair_lateness_seconds", "From when it occurred until it was found out.",
    {"kind": ("reconciled", "catch_up", "rebuild")}, (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0),
)  # fmt: skip
# Prometheus has a label "job" of its own.
JOB = MetricDefinition(
    "octowait_job_seconds", "How long jobs of the workers took.",
    {"name": tuple(job.name for job in JOBS), "outcome": ("done", "failed")},
    (0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 180.0),
)  # fmt: skip

METRICS = (RECORDS, WAIT, HOLD, HANDOFF, WEBHOOK_LAG, WEBHOOKS, REFUSALS, REPAIRS, LATENESS, JOB)

#: Records after which a machine that was busy is free.
_FREES = ("released", "ended", "unreserved")


class MetricIncrements:
    """Increments of records, added in order. *freed* is the time (ms) since when a machine (lower-case id) is free."""

    def __init__(self, freed: Mapping[str, int]) -> None:
        self.increments: Increments = Counter()
        self.freed: dict[str, int | None] = dict(freed)

    def add(self, record: Record) -> None:
        self.increments.update(RECORDS.count(record.kind))
        detail, cause = record.detail, record.cause or ""
        if "waited_ms" in detail:
            self.increments.update(WAIT.observe(int(detail["waited_ms"]), record.kind))
        if "held_ms" in detail:
            self.increments.update(HOLD.observe(int(detail["held_ms"]), cause))
        if record.kind == "granted":
            self._take(record)
        elif record.kind in _FREES or "held_ms" in detail:
            self.freed |= {machine.lower(): record.at_ms for machine in record.machines}
        elif record.kind == "observed":
            self.freed |= {machine.lower(): None for machine in record.machines}
        self._repair(record)

    def _take(self, record: Record) -> None:
        joined_ms = record.at_ms - int(record.detail.get("waited_ms", 0))
        for machine in record.machines:
            freed_ms = self.freed.get(machine.lower())
            # Who was not in line yet when it became free has not been waiting for it.
            if freed_ms is not None and joined_ms <= freed_ms:
                self.increments.update(HANDOFF.observe(record.at_ms - freed_ms))
            self.freed[machine.lower()] = None

    def _repair(self, record: Record) -> None:
        kind = record.cause if record.cause == "reconciled" else record.detail.get("via")
        if record.kind == "event" and kind is None and "occurred_ms" in record.detail:
            self.increments.update(WEBHOOK_LAG.observe(record.lag_ms))
        if kind and not is_early(kind, int(record.detail.get("late_ms", 0))) and not record.detail.get("note"):
            self.increments.update(REPAIRS.count(kind))
            if "late_ms" in record.detail:
                self.increments.update(LATENESS.observe(int(record.detail["late_ms"]), kind))


def count_records(measured: MetricValues, timeline: Timeline, *, most: int = 20_000) -> int:
    """Count the records since the last pass, at most *most*; how many, 0 also if another process did.

    The scheduler does it every few seconds. A scrape could do it as well, but reads of the timeline must not stand in
    the way of blocked requests, and a job would wait for others.

    Raises:
        StoreError: Redis does not answer; nothing was counted.
    """
    seen = measured.counted_to()
    records = list(itertools.islice(timeline.read(Filter(), after=seen or None), most))
    if not records:
        return 0
    granted = {machine.lower() for record in records if record.kind == "granted" for machine in record.machines}
    derived = MetricIncrements(measured.freed(sorted(granted)))
    for record in records:
        derived.add(record)
    is_ours = measured.advance(seen, records[-1].id, derived.increments, derived.freed)
    return len(records) if is_ours else 0
