"""Counts what the timeline says, for ``/metrics``.

The scheduler does it every few seconds. What was counted and how far that is are written in one step, which is refused
when somebody else was there first: so no record counts twice, and a pass that dies has counted nothing. A scrape could
do it as well, but reads of the timeline must not stand in the way of blocked requests, and a job would wait for others.
"""

from __future__ import annotations

import itertools

from app.domain.records import Filter
from app.followers.metric_values import Measured
from app.followers.metrics import Derived
from app.history.timeline import Timeline

#: Records of one pass; the rest is the next one's.
MOST = 20_000


def measure(measured: Measured, timeline: Timeline, *, most: int = MOST) -> int:
    """Count the records since the last pass, at most *most*; how many, 0 also if somebody else did.

    Raises:
        StoreError: Redis does not answer; nothing was counted.
    """
    seen = measured.place()
    records = list(itertools.islice(timeline.read(Filter(), after=seen or None), most))
    if not records:
        return 0
    granted = {machine.lower() for record in records if record.kind == "granted" for machine in record.machines}
    derived = Derived(measured.freed(sorted(granted)))
    for record in records:
        derived.add(record)
    is_ours = measured.advance(seen, records[-1].id, derived.increments, derived.freed)
    return len(records) if is_ours else 0
