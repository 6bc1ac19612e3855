"""The ledger of waiting, with the names that people know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.domain.analysis.ledger import By, Ledger, Row
from app.domain.analysis.narrative import mentioned
from app.domain.wording import Names
from app.queries.names import names_of
from app.queries.stories import WaitStory
from app.services import Services

DEFAULT_RANGE_MS = 30 * 86_400_000

#: The fields of a group, as they are shown and exported.
COLUMNS = ("key", "name", "waits", "lost_ms", "median_ms", "p90_ms", "worst_ms", "share")


@dataclass(frozen=True)
class LedgerOfRange:
    """What was lost by waiting from *from_ms* until *to_ms*; what was before *known_from_ms* is not on record here."""

    by: By
    from_ms: int
    to_ms: int
    known_from_ms: int | None
    total: Row
    rows: list[Row]
    longest: list[WaitStory]


def ledger_of(services: Services, by: By, **limits: Any) -> LedgerOfRange:
    """One of `ledgers_of`."""
    [answer] = ledgers_of(services, [by], **limits)
    return answer


def ledgers_of(
    services: Services, bys: Sequence[By], *, from_ms: int | None = None, to_ms: int | None = None,
    machine_id: str | None = None, project_id: str | None = None,
) -> list[LedgerOfRange]:  # fmt: skip
    """The ledgers of a range, by default of the last 30 days. The records of the range are read once, in chunks."""
    # Exclusive, and what happened in this millisecond counts.
    now_ms = services.past.now_ms() + 1
    to_ms = min(now_ms, to_ms) if to_ms is not None else now_ms
    from_ms = from_ms if from_ms is not None else max(0, to_ms - DEFAULT_RANGE_MS)
    begin_ms = services.past.begin_ms()
    books = {by: Ledger(by, from_ms=from_ms, machine_id=machine_id, project_id=project_id) for by in bys}
    for interval in services.past.intervals(from_ms=from_ms, to_ms=to_ms):
        for book in books.values():
            book.add(interval)
    known_ms = max(from_ms, begin_ms) if begin_ms else None
    return [
        _with_names(services, book, LedgerOfRange(by, from_ms, to_ms, known_ms, book.total(), book.rows(), []))
        for by, book in books.items()
    ]


def _with_names(services: Services, book: Ledger, known: LedgerOfRange) -> LedgerOfRange:
    """*known* with names and the longest waits of *book*."""
    longest = book.longest()
    tasks = [*mentioned(longest), *(row.example for row in known.rows if row.example)]
    machines = [machine for wait in longest for machine in wait.machines]
    machines += [row.key for row in known.rows if row.key and known.by is By.MACHINE]
    names = names_of(services, tasks=tasks, machines=machines)
    return replace(
        known,
        rows=[replace(row, name=_name(row, known.by, names)) for row in known.rows],
        longest=[WaitStory(wait, names) for wait in longest],
    )


def _name(row: Row, by: By, names: Names) -> str | None:
    """What people call the group."""
    if by is By.MACHINE:
        return names.machines.get((row.key or "").lower())
    if by is By.WEEK:
        return None
    return (names.environments if by is By.ENVIRONMENT else names.projects).get((row.example or "").lower())
