"""Checks of the data in Redis: whether all that is kept of runs and machines agrees."""

from __future__ import annotations

from collections.abc import Iterator

from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, error, ok
from app.domain.phrases import several

#: Flaws that are told one by one.
MOST_TOLD = 10


def agreement(context: DoctorContext) -> Iterator[Finding]:
    """All that is kept of runs and machines agrees."""
    flaws = context.flaws()
    if not flaws:
        yield ok("data_agree", "All that Redis has of runs and machines agrees.")
        return
    more = f"; and {len(flaws) - MOST_TOLD} more" if len(flaws) > MOST_TOLD else ""
    yield error(
        "data_disagree",
        f"{several(len(flaws), 'thing')} in Redis {'does' if len(flaws) == 1 else 'do'} not agree: "
        f"{'; '.join(map(str, flaws[:MOST_TOLD]))}{more}.",
        "With an API key a worker puts that right within minutes, and the timeline says so ('repaired'). See who else "
        "writes into this Redis; without an API key, restore a backup or free the machine by hand.",
    )
