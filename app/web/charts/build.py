"""The data of charts: intervals of a machine from the history, their names, and the same as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import url_for
from markupsafe import Markup

from app.domain.analysis.fronts import Stretch
from app.domain.analysis.intervals import Interval
from app.domain.analysis.replay import Wait
from app.domain.wording import Names, blocker
from app.queries.names import names_of
from app.services import Services
from app.web.charts.layout import lay_out
from app.web.charts.svg import draw
from app.web.charts.track import Track, Window

#: Rows of the table beside a chart, the newest.
MOST_TABLE_ROWS = 200

#: Tasks of a chart that are looked up to be named.
MOST_NAMED = 3000


def track_of(services: Services, machine_id: str, window: Window) -> Track:
    """The track of a machine in the window, from the history."""
    track = Track(window, machine_id)
    span = {"from_ms": window.from_ms, "to_ms": window.until_ms + 1}
    for interval in services.past.of_machine(machine_id, **span, least_ms=window.least_ms):
        track.add(interval)
    return track


def names_for(services: Services, intervals: Iterable[Interval], machines: Iterable[str]) -> Names:
    """What everything in *intervals* and the *machines* are called."""
    tasks = sorted(tasks_in(intervals))[:MOST_NAMED]
    return names_of(services, tasks=tasks, machines=machines)


def link_to(task_id: str) -> str:
    """The address of a run's page."""
    return url_for("pages.run", task_id=task_id)


def machines_in(intervals: Iterable[Interval]) -> set[str]:
    """The ids of the machines in *intervals*, in lower case."""
    machines = {name for one in intervals for name in one.machines}
    machines |= {p.machine_id for one in intervals if isinstance(one, Wait) for p in one.stretches if p.machine_id}
    return {name.lower() for name in machines}


def tasks_in(intervals: Iterable[Interval]) -> set[str]:
    """The ids of the tasks in *intervals*."""
    tasks: set[str] = set()
    for one in intervals:
        tasks |= {one.task_id} if one.task_id else set()
        if isinstance(one, Wait):
            tasks |= {part.task_id for part in one.stretches if part.task_id}
        elif one.kind == "overlap" and one.note:
            tasks.add(one.note)
    return tasks


def drawn(track: Track) -> list[Interval]:
    """The intervals of a track that are drawn one by one."""
    return [*track.holds, *track.waits, *track.reservations, *track.overlaps]


def chart_of(track: Track, names: Names) -> tuple[Markup, tuple[str, ...]]:
    """The chart of a machine's page, and the keys of its legend."""
    chart = lay_out(track, names, link_to)
    return draw(chart, track, key="chart"), chart.legend


def rows_of(track: Track, names: Names) -> list[dict[str, Any]]:
    """The chart as rows of a table, the newest first."""
    waits = {(wait.task_id, wait.to_ms): wait for wait in track.waits}
    rows: list[dict[str, Any]] = [
        {
            "task_id": hold.task_id, "label": names.label(hold.task_id), "kind": hold.kind,
            "from_ms": hold.from_ms, "to_ms": None if hold.is_open else hold.to_ms, "note": None,
            "waited_for": _waited_for(waits.pop((hold.task_id or "", hold.from_ms), None), names),
            "waited_ms": hold.waited_ms, "length_ms": hold.to_ms - hold.from_ms,
        }
        for hold in track.holds
    ]  # fmt: skip
    rows += [
        {
            "task_id": None, "label": span.note, "kind": "reservation", "from_ms": span.from_ms, "waited_for": [],
            "to_ms": None if span.is_open else span.to_ms, "waited_ms": None, "length_ms": span.to_ms - span.from_ms,
        }
        for span in track.reservations
    ]  # fmt: skip
    rows += [
        {
            "task_id": wait.task_id, "label": names.label(wait.task_id), "kind": wait.outcome,
            "from_ms": wait.from_ms, "to_ms": None if wait.outcome == "waiting" else wait.to_ms,
            "waited_for": _waited_for(wait, names), "waited_ms": wait.waited_ms, "length_ms": None,
        }
        for wait in waits.values() if wait.outcome != "granted"
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row["from_ms"], reverse=True)[:MOST_TABLE_ROWS]


def stretches_of(parts: Iterable[Stretch], names: Names) -> list[dict[str, Any]]:
    """Each stretch of a wait: since when, how long, and for whom in words."""
    return [
        {
            "from_ms": part.from_ms,
            "ms": part.to_ms - part.from_ms,
            "task_id": part.task_id,
            "said": blocker(part, names),
        }
        for part in parts
    ]


def _waited_for(wait: Wait | None, names: Names) -> list[dict[str, Any]]:
    return stretches_of(wait.stretches, names) if wait else []
