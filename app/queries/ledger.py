"""What was lost by waiting, with the names that people know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.domain.ledger import By, Ledger, Row
from app.domain.narrative import Names, mentioned
from app.queries.stories import names_in, wait_story
from app.services import Services

DEFAULT_RANGE_MS = 30 * 86_400_000

#: The fields of a group, as they are shown and exported.
COLUMNS = ("key", "name", "waits", "lost_ms", "median_ms", "p90_ms", "worst_ms", "share")


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
    names = names_in(gate, tasks, [*machines, *(row.key for row in rows if row.key and by is By.MACHINE)])
    return {
        "total": _row_json(book.total(), By.WEEK, names),
        "rows": [_row_json(row, by, names) for row in rows],
        "longest": [wait_story(wait, names) for wait in longest],
    }


def _row_json(row: Row, by: By, names: Names) -> dict[str, Any]:
    example = (row.example or "").lower()
    name = None
    if by is By.MACHINE:
        name = names.machines.get((row.key or "").lower())
    elif by is not By.WEEK:
        name = (names.environments if by is By.ENVIRONMENT else names.projects).get(example)
    return {"key": row.key, "name": name, **{c: getattr(row, c) for c in COLUMNS if c not in ("key", "name")}}
