"""``/api/report``: a range of the past as one file for an incident report, which needs no script and no other file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from flask import Blueprint, Response, current_app, stream_with_context
from markupsafe import Markup
from pydantic import Field

from app.domain.analysis.ledger import By
from app.domain.records import Filter, Record
from app.queries.ledger import LedgerOfRange, ledgers_of
from app.queries.names import names_of
from app.queries.references import ids_of
from app.services import Services
from app.settings.values import Token
from app.store.fairness import in_turns, in_turns_by_size
from app.web.api.routing import Api, current_services
from app.web.api.schemas.fields import Input, Ms, Reference
from app.web.charts.build import drawn, machines_in, tasks_in
from app.web.charts.layout import lay_out, utc
from app.web.charts.svg import draw
from app.web.charts.track import Track, Window

api = Api(Blueprint("report", __name__))

DEFAULT_RANGE_MS = 86_400_000

#: Records that a report lists, the first; charts and ledger count all of them.
MOST_RECORDS = 20_000

#: Machines of a record that are named.
MOST_NAMED = 20

#: Machines that are drawn, those where most was waited; the ledger counts all of them.
MOST_CHARTS = 100

#: Machines of intervals that are put on tracks between two turns of others.
TRACKED_IN_A_TURN = 1_000

#: Pieces of the template that are sent at once.
BUFFERED = 200

HEADERS = {
    # For somebody who opens it where it came from; the file says the same of itself.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class ReportQuery(Input):
    """Without *from_ms* the 24 hours before *to_ms*."""

    machine_id: Annotated[Reference | None, Field(description="Only this machine, an id or a name.")] = None
    project_id: Annotated[
        Reference | None, Field(description="Only machines that runs of this project used; only its waits and records.")
    ] = None
    from_ms: Ms | None = None
    to_ms: Annotated[Ms | None, Field(description="Exclusive; now by default.")] = None


@api.route("GET", "/api/report", role="viewer", query=ReportQuery, answers={200: None}, errors=(404, 409),
           media=("text/html",))  # fmt: skip
def report(query: ReportQuery, caller: Token) -> Any:
    """A range as one HTML file: a chart of each machine, the ledger, the records.

    It streams, and loads nothing from anywhere.
    """
    services = current_services()
    now_ms = services.board.now_ms()
    to_ms = min(query.to_ms, now_ms + 1) if query.to_ms is not None else now_ms + 1
    from_ms = query.from_ms if query.from_ms is not None else max(0, to_ms - DEFAULT_RANGE_MS)
    window = Window(from_ms, max(to_ms, from_ms + 1), now_ms)
    limits = ids_of(services, machine_id=query.machine_id, project_id=query.project_id)
    stream = current_app.jinja_env.get_template("report.html").stream(
        style=_style(),
        window=window,
        limits={name: value for name, value in limits.items() if value},
        by=caller.name,
        now_ms=now_ms,
        charts=_Charts(services, window, **limits),
        books=_books(services, window, **limits),
        records=_records(services, Filter(**limits, from_ms=from_ms, to_ms=window.to_ms)),
        most=MOST_RECORDS,
    )
    stream.enable_buffering(BUFFERED)
    name = f"octowait-{utc(from_ms).replace(' ', 'T').replace(':', '')}.html"
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(stream_with_context(iter(stream)), headers=headers, content_type="text/html; charset=utf-8")


@cache
def _style() -> Markup:
    """The style sheet of the pages, which is ours: it has nothing in it that ends a style element."""
    return Markup(files("app.web").joinpath("static/pages.css").read_text())


@dataclass
class _Charts:
    """A chart for each machine on which something happened, by name. *left_out* is known once they were asked for."""

    services: Services
    window: Window
    machine_id: str | None
    project_id: str | None
    left_out: int = field(init=False, default=0)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        tracks = _tracks(self.services, self.window, self.machine_id, self.project_id)
        self.left_out = max(0, len(tracks) - MOST_CHARTS)
        keys = sorted(tracks, key=lambda key: (-tracks[key].waited_ms, -tracks[key].held_count, key))[:MOST_CHARTS]
        known = names_of(self.services, tasks=(), machines=keys)
        for number, key in enumerate(sorted(keys, key=lambda key: known.machine(key).lower())):
            yield _chart(self.services, tracks[key], number)


def _chart(services: Services, track: Track, number: int) -> Mapping[str, Any]:
    intervals = drawn(track)
    names = names_of(services, tasks=tasks_in(intervals), machines={track.machine_id, *machines_in(intervals)}
    )  # fmt: skip
    chart = lay_out(track, names, lambda task: None)
    return {
        "name": names.machine(track.machine_id), "id": track.machine_id, "track": track,
        "svg": draw(chart, track, key=f"chart-{number}"), "legend": chart.legend,
    }  # fmt: skip


def _tracks(services: Services, window: Window, machine_id: str | None, project_id: str | None) -> dict[str, Track]:
    span = {"from_ms": window.from_ms, "to_ms": window.until_ms}
    intervals = services.past.of_machine(machine_id, **span) if machine_id else services.past.of_all(**span)
    tracks: dict[str, Track] = {}
    is_wanted: set[str] = set()
    closures = []
    for one in in_turns_by_size(intervals, lambda one: 1 + len(one.machines), TRACKED_IN_A_TURN):
        if not one.machines:
            closures.append(one)
        for machine in one.machines:
            key = machine.lower()
            if not machine_id or key == machine_id.lower():
                tracks.setdefault(key, Track(window, machine)).add(one)
                if not project_id or (one.project_id or "").lower() == project_id.lower():
                    is_wanted.add(key)
    for track, closure in in_turns(itertools.product(tracks.values(), closures)):
        track.add(closure)
    return {key: track for key, track in tracks.items() if key in is_wanted}


def _books(services: Services, window: Window, **limits: str | None) -> Iterator[LedgerOfRange]:
    """The ledger by blocker, then by machine; made when they are asked for."""
    yield from ledgers_of(services, [By.BLOCKER, By.MACHINE], from_ms=window.from_ms, to_ms=window.to_ms, **limits)


def _records(services: Services, selection: Filter) -> Iterator[Mapping[str, Any]]:
    """At most `MOST_RECORDS`, each with what its task and its machines are called."""
    left: Iterator[Record] = itertools.islice(services.timeline.read(selection), MOST_RECORDS)
    while some := list(itertools.islice(left, 500)):
        names = names_of(services, tasks=[record.task_id for record in some if record.task_id],
            machines={machine for record in some for machine in record.machines[:MOST_NAMED]},
        )  # fmt: skip
        for record in some:
            yield {
                **record.__dict__,
                "label": names.run(record.task_id) if record.task_id else "",
                "at": [names.machine(machine) for machine in record.machines[:MOST_NAMED]],
                "more": max(0, len(record.machines) - MOST_NAMED),
            }
