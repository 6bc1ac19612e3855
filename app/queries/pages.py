"""Pages of the machines and of those who wait: however large the fleet, an answer is not."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter

from app.coordination.snapshot import Machine, Snapshot
from app.coordination.snapshot.sorting import sort_key
from app.domain.errors import UnknownName


def machines_page(snapshot: Snapshot, *, limit: int, cursor: str | None) -> tuple[Sequence[Machine], str | None]:
    """At most *limit* machines by name, and the cursor of the next page: the id of the last machine.

    Raises:
        UnknownName: *cursor* is the id of no machine, or of one that has been forgotten meanwhile.
    """
    begin = 0
    if cursor:
        last = snapshot.machine(cursor)
        if last is None:
            raise UnknownName(
                "machine", f"{cursor} is no machine any more after which to go on: begin with the first page"
            )
        begin = bisect_right(snapshot.machines, sort_key(last), key=sort_key)
    page = snapshot.machines[begin : begin + limit]
    return page, page[-1].id if begin + limit < len(snapshot.machines) else None


def waiting_page(snapshot: Snapshot, *, limit: int, cursor: str | None) -> tuple[Sequence[str], str | None]:
    """At most *limit* tasks that wait, in order, and the cursor of the next page: the order of the last one."""
    begin = bisect_right(snapshot.queue, cursor, key=itemgetter(0)) if cursor else 0
    page = snapshot.queue[begin : begin + limit]
    return [task for _, task in page], page[-1][0] if begin + limit < len(snapshot.queue) else None
