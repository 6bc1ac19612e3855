"""What is derived from the timeline: the ledger of waiting, why a run stands where it does, how true ETAs were."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flask import Blueprint, Response

from app.domain.errors import UnknownRun
from app.domain.explain import MOST_LINKS, Explanation, explain
from app.domain.ledger import By, Ledger, Row
from app.domain.narrative import Names, mentioned, story
from app.domain.replay import Wait
from app.domain.status import Place
from app.queries.names import names_of
from app.queries.views import NOBODY_RESUMES, message_of, needs_a_person
from app.services import Services
from app.settings import Token
from app.web.api.routing import Api, services
from app.web.api.schemas.insight import EtaReport, ExplainAnswer, LedgerAnswer, LedgerQuery
from app.web.api.timeline import plain

api = Api(Blueprint("insight", __name__))

DEFAULT_RANGE_MS = 30 * 86_400_000

#: Stretches of one wait, and waits of one task, that an answer shows.
MOST_STRETCHES, MOST_WAITS = 200, 20

COLUMNS = ("key", "name", "waits", "lost_ms", "median_ms", "p90_ms", "worst_ms", "share")


@api.route("GET", "/api/ledger", role="viewer", query=LedgerQuery, answers={200: LedgerAnswer},
           media=("application/json", "text/csv"))  # fmt: skip
def ledger(query: LedgerQuery, caller: Token) -> Any:
    """What was lost by waiting.

    What counts is the part of each wait that lies in the range, so ranges and groups add up.
    """
    answer = ledger_json(
        services(), By(query.by), from_ms=query.from_ms, to_ms=query.to_ms, machine_id=query.machine_id,
        project_id=query.project_id,
    )  # fmt: skip
    if query.format == "json":
        return answer
    return Response(ledger_csv(answer["rows"]), content_type="text/csv; charset=utf-8")


@api.route("GET", "/api/waits/{task_id}/explain", role="viewer", answers={200: ExplainAnswer}, errors=(404,))
def explained(task_id: str, caller: Token) -> Any:
    """Why a run does not start: who is in its way, down to the run that really works.

    Also what would let it go, and what another priority or fewer machines would change. Of a run that waits no longer:
    what it waited for.
    """
    found = explain_json(services(), task_id)
    if found is None:
        raise UnknownRun(f"{task_id[:100]} is unknown: no step and no event ever named it")
    return found


@api.route("GET", "/api/eta-report", role="viewer", answers={200: EtaReport})
def eta_report(caller: Token) -> Any:
    """How often waits took no longer than was foretold when they began."""
    return services().foresight.accuracy()


def ledger_json(gate: Services, by: By, **wanted: Any) -> dict[str, Any]:
    """One of `ledgers_json`."""
    [answer] = ledgers_json(gate, [by], **wanted)
    return answer


def ledgers_json(
    gate: Services, bys: Sequence[By], *, from_ms: int | None = None, to_ms: int | None = None,
    machine_id: str | None = None, project_id: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The ledgers of a range, by default of the last 30 days. The records of the range are read once, in chunks."""
    # Exclusive, and what happened in this millisecond counts.
    now_ms = gate.past.now_ms() + 1
    to_ms = min(now_ms, to_ms) if to_ms is not None else now_ms
    from_ms = from_ms if from_ms is not None else max(0, to_ms - DEFAULT_RANGE_MS)
    begin_ms = gate.past.begin_ms()
    books = {by: Ledger(by, from_ms=from_ms, machine_id=machine_id, project_id=project_id) for by in bys}
    for told in gate.past.intervals(from_ms=from_ms, to_ms=to_ms):
        for book in books.values():
            book.add(told)
    span = {"from_ms": from_ms, "to_ms": to_ms, "known_from_ms": max(from_ms, begin_ms) if begin_ms else None}
    return [{"by": by.value, **span, **_book_json(gate, by, book)} for by, book in books.items()]


def _book_json(gate: Services, by: By, book: Ledger) -> dict[str, Any]:
    longest, rows = book.longest(), book.rows()
    tasks = [*mentioned(longest), *(row.example for row in rows if row.example)]
    machines = [machine for wait in longest for machine in wait.machines]
    names = _names(gate, tasks, [*machines, *(row.key for row in rows if row.key and by is By.MACHINE)])
    return {
        "total": _row_json(book.total(), By.WEEK, names),
        "rows": [_row_json(row, by, names) for row in rows],
        "longest": [wait_story(wait, names) for wait in longest],
    }


def ledger_csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A header and one line a group."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows([plain(row[column]) for column in COLUMNS] for row in rows)
    yield buffer.getvalue()


def explain_json(gate: Services, task_id: str) -> dict[str, Any] | None:
    """Why a run stands where it does, None if nobody has heard of it."""
    found = gate.board.place(task_id)
    if found is None:
        return None
    place = gate.foresight.with_eta(found)
    waits = gate.past.waits_of(place.task_id, now_ms=place.now_ms, most=MOST_WAITS)
    names = _names(gate, mentioned(waits), [machine for wait in waits for machine in wait.machines])
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


def wait_story(wait: Wait, names: Names) -> dict[str, Any]:
    """A wait with its stretches and its story."""
    return {
        "task_id": wait.task_id,
        "run": wait.run,
        "label": names.run(wait.task_id),
        "url": names.urls.get(wait.task_id.lower()),
        "machines": list(wait.machines),
        "project_id": wait.project_id,
        "environment_id": wait.environment_id,
        "from_ms": wait.from_ms,
        "to_ms": wait.to_ms,
        "waited_ms": wait.waited_ms,
        "lost_ms": wait.lost_ms,
        "outcome": wait.outcome,
        "cause": wait.cause,
        "stretches": [
            {
                **part._asdict(),
                "reason": str(part.reason),
                "machine": names.machine(part.machine_id) if part.machine_id else None,
                "label": names.run(part.task_id) if part.task_id else None,
                "url": names.urls.get((part.task_id or "").lower()),
            }
            for part in wait.stretches[:MOST_STRETCHES]
        ],
        "more_stretches": max(0, len(wait.stretches) - MOST_STRETCHES),
        "story": story(wait, names),
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


def _row_json(row: Row, by: By, names: Names) -> dict[str, Any]:
    example = (row.example or "").lower()
    name = None
    if by is By.MACHINE:
        name = names.machines.get((row.key or "").lower())
    elif by is not By.WEEK:
        name = (names.environments if by is By.ENVIRONMENT else names.projects).get(example)
    return {"key": row.key, "name": name, **{c: getattr(row, c) for c in COLUMNS if c not in ("key", "name")}}


def _names(gate: Services, tasks: Iterable[str], machines: Iterable[str]) -> Names:
    return names_of(gate, tasks=tasks, machines=machines)
