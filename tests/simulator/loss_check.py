"""Whether anything was lost or left behind: every event once, every grant ended, nothing but history in Redis."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.domain.records import Record
from tests.simulator.record import uses_gate

#: Keys that may be left when everybody has gone: history, and what a process remembers of it.
HISTORY = re.compile(
    r"octowait:\{[^}]+\}:(runs|machines|counters|events|aliases|ended|timeline|index:.*|asked|caught-up-to|caught-up-by|batches(-over)?"
    r"|event-categories|octopus-.*|scheduler|.*-round|resolve-failures:.*|resolving:.*|resolve-pass|unnamed|wake:.*|kept|dead|past:.*|plan:.*"
    r"|measured.*|ended_claims|changes|epochs|processes|clock:.*|blocked-requests|archived|archiving|notify-.*)$"
)

_ABOUT_RUNS = re.compile(r"Deployment|RunbookRun|TaskCanceled|ManualIntervention|GuidedFailure")


def left_over(keys: Iterable[str]) -> Iterator[str]:
    """Of the *keys* in Redis those that should be gone."""
    for key in keys:
        if not HISTORY.match(key):
            yield f"left in Redis: {key}"


def unended(record: Mapping[str, Any]) -> Iterator[str]:
    """Runs of the simulated server that never ended."""
    for run in record["runs"]:
        if run["ended_ms"] is None:
            yield f"not ended: {run['task_id']} {run['state']}"


def missing(record: Mapping[str, Any], timeline: Sequence[Record]) -> Iterator[str]:
    """What really happened and is not in the timeline, or is there twice."""
    told = Counter(str(r.detail["event"]) for r in timeline if r.kind == "event")
    for event in record["events"]:
        event_id, category = event["Id"], event["Category"]
        if _ABOUT_RUNS.match(category) and told[event_id] != 1:
            yield f"{category} {event_id} is {told[event_id]} times in the timeline"
    granted = Counter((r.task_id or "").lower() for r in timeline if r.kind == "granted")
    ended = Counter((r.task_id or "").lower() for r in timeline if r.kind == "released")
    for run in record["runs"]:
        task = run["task_id"].lower()
        if uses_gate(run) and run["work"] and not granted[task]:
            yield f"{run['task_id']} passed its gate and was never granted"
    for task in sorted({run["task_id"] for run in record["runs"]}):
        if granted[task.lower()] != ended[task.lower()]:
            yield f"{task} was granted {granted[task.lower()]} times and released {ended[task.lower()]} times"
