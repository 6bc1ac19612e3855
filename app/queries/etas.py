"""ETAs of waiters, as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable

from app.coordination.snapshot import Snapshot
from app.domain.eta import Eta
from app.domain.status import RunStatus
from app.queries.views import waiting_places
from app.services import Services


def etas_of(services: Services, snapshot: Snapshot, tasks: Iterable[str]) -> dict[str, Eta]:
    """The ETA of each of *tasks* that has one; none of a run that waits for a machine which is not in *snapshot*."""
    places = waiting_places(snapshot, tasks)
    whole = (place for place in places if len(place.machines) == len(place.run.machines))
    return {place.task_id: eta for place in whole if (eta := eta_of(services, place))}


def eta_of(services: Services, place: RunStatus) -> Eta | None:
    """When it will start; None where the past cannot tell."""
    return services.estimates.with_eta(place).eta_ms
