"""The timeline page: a table of records, the newest first, filtered and in pages."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from typing import Any

from flask import render_template, request

from app.domain.records import KINDS, Filter, Record
from app.history.timeline import Timeline
from app.queries.names import names_of
from app.services import Services
from app.web.api.routing import current_services
from app.web.pages.base import blueprint
from app.web.pages.filters import HistoryFilter
from app.web.pages.ranges import Range

#: Records of a page.
PAGE = 100

#: Machines of a record that are named.
MOST_NAMED = 20

#: The first look back is this long, ms; each further one is longer by the factor.
FIRST_LOOK_MS, FACTOR = 60_000, 8

#: What records are filtered by, besides their kind and time.
FIELDS = ("machine_id", "task_id", "project_id", "environment_id")

_STAMP = re.compile(r"^[0-9]{1,15}-[0-9]{1,10}\Z")


@blueprint.get("/timeline")
def timeline() -> Any:
    services = current_services()
    time_range = Range.of(request.args, services.board.now_ms(), default="7d")
    history_filter = HistoryFilter.of(services, request.args, *FIELDS)
    kind = request.args.get("kind")
    kind = kind if kind in KINDS else None
    before = request.args.get("before", "")
    before_id = before if _STAMP.match(before) else None
    records, older = _page_of(services, history_filter, kind, time_range, before_id)
    names = names_of(services, tasks=[r.task_id for r in records if r.task_id],
        machines={machine for record in records for machine in record.machines[:MOST_NAMED]},
    )  # fmt: skip
    return render_template(
        "_timeline.html" if "fragment" in request.args else "timeline.html",
        records=records,
        names=names,
        older=older,
        before=before_id,
        now_ms=time_range.window.now_ms,
        time_range=time_range,
        spans=("1h", "1d", "7d", "30d", "90d"),
        filters={**history_filter.ids, **({"kind": kind} if kind else {})},
        entered=history_filter.entered,
        complaints=history_filter.complaints,
        kinds=KINDS,
        unread_until_ms=services.timeline.unread_until_ms(),
    )


def _page_of(
    services: Services, history_filter: HistoryFilter, kind: str | None, time_range: Range, before: str | None
) -> tuple[list[Record], str | None]:
    if history_filter.complaints:
        return [], None
    limited = Filter(
        **history_filter.ids, kind=kind, from_ms=time_range.window.from_ms, to_ms=time_range.window.until_ms + 1
    )
    return newest_page(services.timeline, limited, before=before)


def newest_page(
    timeline: Timeline, selection: Filter, *, before: str | None = None, limit: int = PAGE
) -> tuple[list[Record], str | None]:
    """The last *limit* records of *selection*, newest first, from before the record *before*; and where to go on.

    *selection* has both ends. It is read in parts that go back further and further, so the newest of many cost little.
    """
    assert selection.from_ms is not None and selection.to_ms is not None
    records: list[Record] = []
    end = min(selection.to_ms, int(before.partition("-")[0]) + 1) if before else selection.to_ms
    look = FIRST_LOOK_MS
    while end > selection.from_ms and len(records) <= limit:
        begin = max(selection.from_ms, end - look)
        part = replace(selection, from_ms=begin, to_ms=end)
        some: deque[Record] = deque(maxlen=limit + 1)
        some.extend(record for record in timeline.read(part) if not before or _is_before(record.id, before))
        records += reversed(some)
        end, look = begin, look * FACTOR
    return records[:limit], records[limit - 1].id if len(records) > limit else None


def _is_before(one: str, other: str) -> bool:
    return [int(part) for part in one.split("-")] < [int(part) for part in other.split("-")]
