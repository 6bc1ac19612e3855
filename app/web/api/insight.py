"""The ledger, explanations and the accuracy of ETAs: what is derived from the timeline."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Blueprint, Response

from app.domain.analysis.ledger import By, Row
from app.domain.errors import UnknownRun
from app.domain.wording import never_named
from app.queries.explain import explanation_of
from app.queries.ledger import COLUMNS, ledger_of
from app.queries.references import ids_of
from app.settings.values import Token
from app.web.api.routing import Api, current_services
from app.web.api.schemas.insight import EtaReport, ExplainAnswer, LedgerAnswer, LedgerQuery
from app.web.api.timeline import plain

api = Api(Blueprint("insight", __name__))


@api.route("GET", "/api/ledger", role="viewer", query=LedgerQuery, answers={200: LedgerAnswer},
           errors=(404, 409), media=("application/json", "text/csv"))  # fmt: skip
def ledger(query: LedgerQuery, caller: Token) -> Any:
    """What was lost by waiting.

    What counts is the part of each wait that lies in the range, so ranges and groups add up.
    """
    services = current_services()
    ids = ids_of(services, machine_id=query.machine_id, project_id=query.project_id)
    answer = ledger_of(services, By(query.by), from_ms=query.from_ms, to_ms=query.to_ms, **ids)
    if query.format == "json":
        return answer
    return Response(ledger_csv(answer.rows), content_type="text/csv; charset=utf-8")


@api.route("GET", "/api/waits/{task_id}/explain", role="viewer", answers={200: ExplainAnswer}, errors=(404,))
def explained(task_id: str, caller: Token) -> Any:
    """Why a run does not start: who is in its way, down to the run that really works.

    Also what would let it go, and what another priority or fewer machines would change. Of a run that waits no longer:
    what it waited for.
    """
    explanation = explanation_of(current_services(), task_id)
    if explanation is None:
        raise UnknownRun(never_named(task_id))
    return explanation


@api.route("GET", "/api/eta-report", role="viewer", answers={200: EtaReport})
def eta_report(caller: Token) -> Any:
    """How often waits took no longer than was foretold when they began."""
    return current_services().estimates.accuracy()


def ledger_csv(rows: Iterable[Row]) -> Iterator[str]:
    """A header and one line a group."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    writer.writerows([plain(getattr(row, column)) for column in COLUMNS] for row in rows)
    yield buffer.getvalue()
