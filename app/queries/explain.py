"""Why a run stands where it does, with the names that people know."""

from __future__ import annotations

from typing import Any

from app.domain.explain import MOST_LINKS, Explanation, explain
from app.domain.narrative import mentioned
from app.domain.status import Place
from app.queries.stories import names_in, wait_story
from app.queries.views import NOBODY_RESUMES, message_of, needs_a_person
from app.services import Services

#: Waits of one task that an answer shows.
MOST_WAITS = 20


def explain_json(gate: Services, task_id: str) -> dict[str, Any] | None:
    """Why a run stands where it does, None if nobody has heard of it."""
    found = gate.board.place(task_id)
    if found is None:
        return None
    place = gate.foresight.with_eta(found)
    waits = gate.past.waits_of(place.task_id, now_ms=place.now_ms, most=MOST_WAITS)
    names = names_in(gate, mentioned(waits), [machine for wait in waits for machine in wait.machines])
    stories = [wait_story(wait, names) for wait in waits]
    foretell = gate.foresight.eta
    why = explain(place, gate.board.place, foretell, gate.board.waiting_children) if place.is_waiting else None
    unresolved = gate.unresolved.tasks()[:MOST_LINKS] if why else []
    return {
        "task_id": place.task_id,
        "state": str(place.state),
        "message": message_of(gate, place),
        "url": (place.run.get("info") or {}).get("url"),
        "now_ms": place.now_ms,
        "sentences": [
            *_sentences(place, why, unresolved, stories),
            *([NOBODY_RESUMES] if needs_a_person(gate, place) else []),
        ],
        "eta_ms": place.eta.as_json() if place.eta else None,
        "chain": [link.as_json() for link in why.chain] if why else [],
        "chain_is_cut": bool(why and why.is_cut),
        "machines": [_line_json(place, number) for number in range(len(place.machines))],
        "what_if": why and {"first": why.first.as_json(), "without": [other.as_json() for other in why.without]},
        "unresolved": unresolved,
        "waits": stories,
    }


def _sentences(
    place: Place, why: Explanation | None, unresolved: list[str], stories: list[dict[str, Any]]
) -> list[str]:
    said = why.sentences if why else [place.message]
    if unresolved:
        said = [*said, f"Running on machines that are not known yet, perhaps on these: {', '.join(unresolved)}."]
    return said + (stories[-1]["story"] if stories else [])


def _line_json(place: Place, number: int) -> dict[str, Any]:
    machine = place.machines[number]
    return {
        "id": machine.id,
        "name": machine.name,
        "place": machine.place or None,
        "holders": [held.label for held in machine.holders],
        "ahead": list(machine.ahead),
        "more": max(0, machine.place - 1 - len(machine.ahead)),
    }
