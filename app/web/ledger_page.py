"""What waiting cost: who lost how long to whom."""

from __future__ import annotations

from typing import Any

from flask import render_template, request

from app.domain.ledger import By
from app.web.contract import services
from app.web.insight import ledger_json
from app.web.pages import blueprint, matching_id
from app.web.ranges import Range

#: Groups that the page shows; the CSV has all.
MOST_ROWS = 200

SPANS = ("1d", "7d", "30d", "90d")


@blueprint.get("/ledger")
def ledger() -> Any:
    gate = services()
    by = request.args.get("by", "")
    group = By(by) if by in list(By) else By.BLOCKER
    shown = Range.asked(request.args, gate.board.now_ms(), default="7d")
    wanted = {name: matching_id(request.args.get(name)) for name in ("machine_id", "project_id")}
    book = ledger_json(gate, group, from_ms=shown.window.from_ms, to_ms=shown.window.until_ms, **wanted)
    return render_template(
        "ledger.html",
        book=book,
        rows=book["rows"][:MOST_ROWS],
        most_lost_ms=max((row["lost_ms"] for row in book["rows"]), default=0),
        groups=list(By),
        group=group,
        shown=shown,
        spans=SPANS,
        wanted={name: value for name, value in wanted.items() if value},
        accuracy=gate.foresight.accuracy(),
    )
