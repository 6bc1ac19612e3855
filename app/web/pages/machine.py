"""The page of a machine: its chart, holders, line and reservation."""

from __future__ import annotations

from typing import Any

from flask import redirect, render_template, request, url_for

from app.domain.wording import closed_words
from app.queries.etas import etas_of
from app.queries.machines import last_runs, with_neighbours
from app.queries.references import id_of
from app.services import Services
from app.store.fairness import in_turns
from app.web.api.routing import current_services
from app.web.charts.build import chart_of, drawn, machines_in, names_for, rows_of, track_of
from app.web.charts.track import Track
from app.web.errors import Problem
from app.web.pages.base import blueprint
from app.web.pages.forms import Draft, take_notice
from app.web.pages.ranges import SPANS, Range, span_ms

#: Spans for a machine that has no longer past: its first minutes fill the chart.
YOUNG = ("1m", "2m", "3m", "5m", "8m")

#: Waiters of a machine that its page shows.
LINE_ON_PAGE = 500

#: Those of them that it shows without being asked: what stands below the line is to be found.
LINE_UNFOLDED = 50

#: ETAs that are worked out between two turns of others.
ETAS_IN_A_TURN = 5


@blueprint.get("/machines/<machine_id>")
def machine(machine_id: str) -> Any:
    """The page of a machine; one that is called by its name is shown at the address of its id."""
    known_id = id_of(current_services(), "machine", machine_id)
    if known_id.lower() != machine_id.lower():
        return redirect(
            f"{url_for('pages.machine', machine_id=known_id)}?{request.query_string.decode()}".rstrip("?"), 302
        )
    return show_machine(machine_id)


def show_machine(machine_id: str, draft: Draft | None = None) -> Any:
    """The page; with *draft*, a form that was sent and could not be accepted."""
    services = current_services()
    snapshot = with_neighbours(services, machine_id, most_waiters=LINE_ON_PAGE)
    state = snapshot.machine(machine_id)
    if state is None:
        raise Problem(404, "unknown_machine", f"{machine_id[:100]} is unknown: no run asked for it lately")
    time_range, track = _range_and_track(services, state.id, snapshot.now_ms)
    shown_there = drawn(track)
    names = names_for(services, shown_there, {state.id, *machines_in(shown_there)})
    chart, legend = chart_of(track, names)
    is_fragment = "fragment" in request.args
    tasks = [waiter.task_id for waiter in state.line[:LINE_ON_PAGE]]
    page = render_template(
        "_machine.html" if is_fragment else "machine.html",
        machine=state,
        etas=etas_of(services, snapshot, in_turns(tasks, ETAS_IN_A_TURN)),
        runs=sorted(last_runs(services, state, snapshot.now_ms), key=lambda run: run.began_ms or 0, reverse=True),
        now_ms=snapshot.now_ms,
        closed_since_ms=snapshot.closed_since_ms,
        closed_why=closed_words(snapshot.closed_cause),
        most=LINE_ON_PAGE,
        unfolded=LINE_UNFOLDED,
        time_range=time_range,
        spans=SPANS,
        track=track,
        chart=chart,
        legend=legend,
        rows=rows_of(track, names),
        draft=draft,
        notice=None if is_fragment else take_notice(),
    )
    return (page, draft.status) if draft else page


def _range_and_track(services: Services, machine_id: str, now_ms: int) -> tuple[Range, Track]:
    """The part of time that is asked for; of the default one only as much as has anything in it."""
    time_range = Range.of(request.args, now_ms)
    track = track_of(services, machine_id, time_range.window)
    if not {"span", "from_ms", "to_ms"} & request.args.keys():
        begins_ms = min((interval.from_ms for interval in (*drawn(track), *track.clumps)), default=0)
        shorter = (*YOUNG, *SPANS[: SPANS.index(time_range.span or SPANS[0])])
        enough = next((span for span in shorter if now_ms - (span_ms(span) or 0) < begins_ms), None)
        if enough:
            time_range = Range.following(enough, now_ms)
            track = track_of(services, machine_id, time_range.window)
    return time_range, track
