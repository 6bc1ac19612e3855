"""``/api/timeline`` and ``/api/stream``: what happened, and what happens."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from flask import Blueprint, Response, request, stream_with_context

from app.domain.neutral import visible, visible_json
from app.domain.records import Filter, Record
from app.history.records import COLUMNS
from app.queries.references import ids_of
from app.settings.values import Token
from app.web.api.routing import Api, current_services
from app.web.api.schemas.timeline import RecordModel, TimelinePage, TimelineQuery
from app.web.errors import Problem
from app.web.polls.long_poll import most_connections

api = Api(Blueprint("timeline", __name__))

#: Seconds between two signs of life on a stream that has nothing to say; load balancers cut silent ones, often at 60.
PING_SECONDS = 15.0

#: Machines of a page of records that are named, so that one with very many is answered in time.
MOST_NAMED = 2000

T = TypeVar("T")

#: What a spreadsheet takes for the beginning of a formula, and where what others wrote may begin with it.
_FORMULA = frozenset("=+-@\t\r\n")
_TEXTS = [COLUMNS.index(name) for name in ("task_id", "machines", "project_id", "environment_id", "cause")]
_DETAIL = COLUMNS.index("detail")

#: Controls that a cell may have: it is quoted then.
_IN_CELLS = "\t\r\n"

STREAM_ID = re.compile(r"^[0-9]{1,15}-[0-9]{1,15}\Z")


@api.route("GET", "/api/timeline", role="viewer", query=TimelineQuery, answers={200: TimelinePage},
           errors=(404, 409), media=("application/json", "application/x-ndjson", "text/csv"))  # fmt: skip
def timeline(query: TimelineQuery, caller: Token) -> Any:
    """Timeline records, oldest first.

    `json` answers pages; `ndjson` and `csv` stream all that match and ignore *limit*.
    """
    ids = ids_of(
        current_services(), machine_id=query.machine_id, project_id=query.project_id,
        environment_id=query.environment_id,
    )  # fmt: skip
    selection = Filter(**ids, task_id=query.task_id, kind=query.kind, from_ms=query.from_ms, to_ms=query.to_ms)
    records = current_services().timeline
    if query.format == "json":
        page, cursor = records.page(selection, limit=query.limit, after=query.cursor)
        machines = dict.fromkeys(machine.lower() for record in page for machine in record.machines)
        names = current_services().registry.machine_names(islice(machines, MOST_NAMED))
        return {"records": page, "machine_names": names, "next_cursor": cursor}
    if query.format == "ndjson":
        text, kind = as_ndjson(records.lines(selection, after=query.cursor)), "application/x-ndjson"
    else:
        text, kind = as_csv(records.rows(selection, after=query.cursor)), "text/csv; charset=utf-8"
    return Response(stream_with_context(text), content_type=kind)


@api.route("GET", "/api/stream", role="viewer", answers={200: None}, media=("text/event-stream",))
def stream(caller: Token) -> Any:
    """Server-sent events: each timeline record as it is written.

    A client that comes back with `Last-Event-ID` gets what it missed.
    """
    after = request.headers.get("Last-Event-ID", "").strip()
    last = after if STREAM_ID.match(after) else None
    feed = current_services().feed
    # A stream stays for as long as a browser does: steps that wait, and all else, need connections too.
    if len(feed) >= (most := most_connections() // 4):
        raise Problem(503, "too_many_streams", f"this process serves {most} streams, a quarter of its connections",
                      headers={"Retry-After": "30"})  # fmt: skip

    def events() -> Iterator[str]:
        records = feed.follow(last, ping_seconds=PING_SECONDS)
        # From here on it follows; the client may count on that when it reads the first bytes.
        next(records)
        yield ": connected\n\n"
        for record in records:
            yield f"id: {record.id}\ndata: {as_json(record)}\n\n" if record else ": ping\n\n"

    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return Response(stream_with_context(events()), headers=headers, content_type="text/event-stream")


def as_json(record: Record) -> str:
    """The record as JSON, in one line."""
    return RecordModel.model_validate(record, from_attributes=True).model_dump_json(ensure_ascii=True)


def as_ndjson(lines: Iterable[str]) -> Iterator[str]:
    """One JSON object a line, many lines a piece."""
    for some in _batches(lines):
        yield "\n".join(some) + "\n"


def as_csv(rows: Iterable[list[str]]) -> Iterator[str]:
    """A header and one line a row, many lines a piece."""
    yield ",".join(COLUMNS) + "\r\n"
    for some in _batches(rows):
        buffer = io.StringIO()
        csv.writer(buffer).writerows(map(_plain, some))
        yield buffer.getvalue()


def _batches(records: Iterable[T]) -> Iterator[list[T]]:
    # One piece is one write to the client; a write for each record would cost more than the record.
    left = iter(records)
    while some := list(itertools.islice(left, 500)):
        yield some


def plain(value: object) -> object:
    """*value* so that no spreadsheet takes a text for a formula, and no terminal for a command."""
    return _cell(value) if isinstance(value, str) else value


def _cell(text: str) -> str:
    text = visible(text, but=_IN_CELLS)
    return f"'{text}" if text[:1] in _FORMULA else text


def _plain(row: list[str]) -> list[str]:
    """*row* with its texts `plain`."""
    for at in _TEXTS:
        row[at] = _cell(row[at])
    row[_DETAIL] = visible_json(row[_DETAIL])
    return row
