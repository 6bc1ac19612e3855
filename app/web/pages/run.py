"""The page of a run: its history in words and as bars, its blockers, its records."""

from __future__ import annotations

from typing import Any

from flask import render_template, request

from app.domain.analysis.intervals import Interval, Span
from app.domain.analysis.replay import Wait
from app.domain.status import RunStatus
from app.domain.wording import Names, never_named
from app.queries.explain import Explained, explanation_of
from app.queries.views import NOBODY_RESUMES, RunFacts, facts_of, needs_a_person
from app.services import Services
from app.web.api.routing import current_services
from app.web.charts.build import link_to, machines_in, names_for, stretches_of
from app.web.charts.layout import lay_out
from app.web.charts.legend import keys_of
from app.web.charts.svg import draw
from app.web.charts.track import Track, Window
from app.web.errors import Problem
from app.web.pages.base import blueprint
from app.web.pages.forms import Draft, take_notice

#: Machines of a run that are drawn.
MOST_DRAWN = 12

#: Waits of its task that are drawn, the last.
MOST_WAITS = 5

#: Stretches of its last wait that are listed, the last.
MOST_STRETCHES = 50


@blueprint.get("/runs/<task_id>")
def run(task_id: str) -> Any:
    return show_run(task_id)


def show_run(task_id: str, draft: Draft | None = None) -> Any:
    """The page; with *draft*, a form that was sent and could not be accepted."""
    services = current_services()
    place = services.board.place(task_id)
    if place is None:
        raise Problem(404, "unknown_run", never_named(task_id))
    facts = facts_of(services, place)
    now_ms = services.board.now_ms()
    waits = services.past.waits_of(facts.task_id, now_ms=now_ms, most=MOST_WAITS)
    held = _held(facts, now_ms)
    intervals: list[Interval] = [*waits, *([held] if held else [])]
    names = names_for(services, intervals, {m.id.lower() for m in facts.machines} | machines_in(waits))
    charts = _charts(facts, intervals, names, now_ms)
    is_fragment = "fragment" in request.args
    page = render_template(
        "_run.html" if is_fragment else "run.html",
        run=facts,
        label=place.title,
        is_parked=place.run.parked and place.is_waiting,
        family=_family(place),
        unseen=facts.unseen,
        knows_octopus=services.knows_octopus,
        by_hand=NOBODY_RESUMES if needs_a_person(services, place) else None,
        names={m.id.lower(): m.name for m in facts.machines},
        why=_why(services, place),
        stretches=stretches_of(waits[-1].stretches[-MOST_STRETCHES:] if waits else (), names),
        waited_for=waited_for(waits, facts.requested_at_ms, names),
        charts=charts,
        legend=keys_of({key for drawn in charts for key in drawn["legend"]}),
        now_ms=now_ms,
        draft=draft,
        notice=None if is_fragment else take_notice(),
    )
    return (page, draft.status) if draft else page


def _why(services: Services, place: RunStatus) -> Explained | None:
    """Why it waits; None if it does not, perhaps since a moment ago."""
    why = explanation_of(services, place.task_id) if place.is_waiting else None
    return why if why and why.what_if else None


def _family(place: RunStatus) -> dict[str, str]:
    """The others with whom it shares its machines, and what they are."""
    family = place.run.family
    holders = [held for machine in place.machines for held in machine.holders if family and held.family == family]
    others = {held.task_id: held.title for held in holders if held.task_id}
    return {task: what for task, what in others.items() if task != place.task_id}


def waited_for(waits: list[Wait], requested_at_ms: int | None, names: Names) -> dict[str, str]:
    """The blockers of its wait before the grant, the longest first: label by task, or nothing by reason."""
    wait = next((wait for wait in reversed(waits) if wait.from_ms == requested_at_ms), None)
    lost: dict[str, int] = {}
    for part in wait.stretches if wait else ():
        blocker = part.task_id or part.reason
        lost[blocker] = lost.get(blocker, 0) + part.to_ms - part.from_ms
    blockers = sorted(lost, key=lambda blocker: -lost[blocker])
    return {task: names.label(task) or "" for task in blockers[:5]}


def _charts(run: RunFacts, intervals: list[Interval], names: Names, now_ms: int) -> list[dict[str, Any]]:
    """A chart for each of its machines: how it waited, and how long it held."""
    intervals = [one for one in intervals if isinstance(one, Span) or one.waited_ms or one.outcome == "waiting"]
    if not intervals:
        return []
    begin, end = min(one.from_ms for one in intervals), max(one.to_ms for one in intervals)
    margin = max(1000, (end - begin) // 40)
    window = Window(begin - margin, end + margin, now_ms)
    charts = []
    for number, machine in enumerate(run.machines[:MOST_DRAWN]):
        track = Track(window, machine.id)
        for one in intervals:
            if machine.id.lower() in map(str.lower, one.machines):
                track.add(one)
        chart = lay_out(track, names, link_to, by_blocker=True)
        svg = draw(chart, track, key=f"chart-{number}")
        charts.append({"id": machine.id, "name": machine.name, "svg": svg, "legend": chart.legend})
    return charts


def _held(run: RunFacts, now_ms: int) -> Span | None:
    if run.held_ms is None:
        return None
    end = run.ended_at_ms or now_ms
    kind = "lease" if run.granted_at_ms else "observed"
    machines = tuple(machine.id for machine in run.machines)
    return Span(kind, run.task_id, run.run, machines, end - run.held_ms, end, run.ended_at_ms is None, run.cause)
