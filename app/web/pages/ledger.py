"""The ledger page: the time lost by waiting, by whom and to whom."""

from __future__ import annotations

from typing import Any

from flask import render_template, request

from app.domain.analysis.ledger import By
from app.queries.ledger import ledger_of
from app.web.api.routing import current_services
from app.web.pages.base import blueprint
from app.web.pages.filters import HistoryFilter
from app.web.pages.ranges import Range

#: Groups that the page shows; the CSV has all.
MOST_ROWS = 200

SPANS = ("1d", "7d", "30d", "90d")


@blueprint.get("/ledger")
def ledger() -> Any:
    services = current_services()
    by = request.args.get("by", "")
    group = By(by) if by in list(By) else By.BLOCKER
    time_range = Range.of(request.args, services.board.now_ms(), default="7d")
    history_filter = HistoryFilter.of(services, request.args, "machine_id", "project_id")
    book = ledger_of(
        services, group, from_ms=time_range.window.from_ms, to_ms=time_range.window.until_ms, **history_filter.ids
    )
    return render_template(
        "_ledger.html" if "fragment" in request.args else "ledger.html",
        book=book,
        rows=[] if history_filter.complaints else book.rows[:MOST_ROWS],
        most_lost_ms=max((row.lost_ms for row in book.rows), default=0),
        groups=list(By),
        group=group,
        time_range=time_range,
        spans=SPANS,
        ids=history_filter.ids,
        entered=history_filter.entered,
        complaints=history_filter.complaints,
        now_ms=time_range.window.now_ms,
        accuracy=services.estimates.accuracy(),
    )
