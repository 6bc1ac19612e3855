"""One machine: its chart, who holds it, its line, its reservation."""

from __future__ import annotations

from typing import Any

from flask import render_template, request

from app.web.charts import chart_of, drawn, machines_in, names_for, rows_of, track_of
from app.web.contract import services
from app.web.etas import etas_of
from app.web.forms import Draft, take_notice
from app.web.pages import blueprint
from app.web.problems import Problem
from app.web.ranges import SPANS, Range
from app.web.views import last_runs, machine_json

#: Waiters of a machine that its page shows.
LINE_ON_PAGE = 500


@blueprint.get("/machines/<machine_id>")
def machine(machine_id: str) -> Any:
    return show_machine(machine_id)


def show_machine(machine_id: str, draft: Draft | None = None) -> Any:
    """The page; with *draft*, a form that was sent and could not be accepted."""
    gate = services()
    snapshot = gate.snapshot()
    found = snapshot.machine(machine_id)
    if found is None:
        raise Problem(404, "unknown_machine", f"{machine_id[:100]} is unknown: no run ever asked for it")
    shown = Range.asked(request.args, snapshot.now_ms)
    track = track_of(gate, found.id, shown.window)
    shown_there = drawn(track)
    names = names_for(gate, shown_there, {found.id, *machines_in(shown_there)})
    is_fragment = "fragment" in request.args
    page = render_template(
        "_machine.html" if is_fragment else "machine.html",
        machine=machine_json(found),
        etas=etas_of(gate, snapshot, [waiter.task_id for waiter in found.line[:LINE_ON_PAGE]]),
        runs=last_runs(gate, found.id),
        now_ms=snapshot.now_ms,
        closed_since_ms=snapshot.closed_since_ms,
        most=LINE_ON_PAGE,
        shown=shown,
        spans=SPANS,
        track=track,
        chart=chart_of(track, names),
        rows=rows_of(track, names),
        draft=draft,
        notice=None if is_fragment else take_notice(),
    )
    return (page, draft.status) if draft else page
