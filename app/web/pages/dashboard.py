"""The dashboard: every machine, who holds it, who waits for it; and all who wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import render_template, request

from app.coordination.snapshot import Machine, Snapshot
from app.domain.status import Described, RunStatus, in_the_way
from app.domain.wording import closed_words
from app.queries.etas import eta_of
from app.queries.views import waiting_places
from app.services import Services
from app.web.api.routing import current_services
from app.web.pages.base import blueprint

#: Waiters of one machine, and of all, that the dashboard shows.
LINE_ON_DASHBOARD, WAITING_ON_DASHBOARD = 20, 15

_TEXTS = ("task_id", "project", "release", "environment", "note", "by")


@dataclass(frozen=True)
class DashboardFilter:
    """The filter of the dashboard's cards, from its address; `pages.js` does the same."""

    query: str = ""
    show: str = "all"
    environment: str = ""
    project: str = ""

    @classmethod
    def of(cls, args: Mapping[str, str]) -> DashboardFilter:
        show = args.get("show", "all")
        return cls(
            args.get("q", "")[:200],
            show if show in ("busy", "waiting", "idle") else "all",
            args.get("environment", "")[:200],
            args.get("project", "")[:200],
        )

    @property
    def is_all(self) -> bool:
        return self == DashboardFilter()

    def accepts(self, machine: Machine) -> bool:
        """Whether the card of a machine is shown."""
        is_shown = {
            "waiting": bool(machine.line),
            "busy": machine.status != "idle",
            "idle": machine.status == "idle",
        }
        if not is_shown.get(self.show, True):
            return False
        runs = [*machine.holders, *machine.line]
        return self.accepts_runs(runs, machine.name, machine.id)

    def accepts_runs(self, runs: Iterable[Described], *texts: str) -> bool:
        """Whether any of *runs* is of the environment, any of the project, and the words are in them or in *texts*."""
        runs = list(runs)
        for name, value in (("environment", self.environment), ("project", self.project)):
            if value and value.lower() not in {str(getattr(run, name) or "").lower() for run in runs}:
                return False
        text = " ".join([*texts, *(str(getattr(run, name, None) or "") for run in runs for name in _TEXTS)]).lower()
        return all(word in text for word in self.query.lower().split())


blueprint.add_app_template_test(lambda machine, card_filter: card_filter.accepts(machine), "matching")


@blueprint.get("/")
def dashboard() -> Any:
    """Every machine. ``fragment=1`` answers the live part alone, ``fragment=some`` that of the given machines.

    With ``seen``, the id of a timeline record: 204 if nothing happened since.
    """
    services = current_services()
    # Before the snapshot: what happens in between is then looked at again and not missed.
    last_id = services.timeline.last_id()
    if request.args.get("seen") == last_id:
        return "", 204
    snapshot = services.snapshot()
    some = request.args.get("fragment") == "some"
    machine_ids = {machine_id.lower() for machine_id in request.args.getlist("machine")}
    machines = [m for m in snapshot.machines if not some or m.id.lower() in machine_ids]
    card_filter = DashboardFilter.of(request.args)
    waiting = _waiting(services, snapshot, card_filter)
    return render_template(
        "_dashboard.html" if "fragment" in request.args else "dashboard.html",
        machines=machines,
        is_part=some,
        last_id=last_id,
        now_ms=snapshot.now_ms,
        summary=_summary(snapshot),
        waiting=waiting[:WAITING_ON_DASHBOARD],
        more_waiting=max(0, len(waiting) - WAITING_ON_DASHBOARD),
        closed_since_ms=snapshot.closed_since_ms,
        closed_why=closed_words(snapshot.closed_cause),
        unreachable=services.reach.unreachable(),
        most=LINE_ON_DASHBOARD,
        card_filter=card_filter,
        choices=_choices(snapshot, card_filter),
        base_url=services.settings.base_url,
        webhook_header=services.settings.webhook_header,
    )


def _summary(snapshot: Snapshot) -> dict[str, Any]:
    """What the top of the dashboard counts."""
    statuses = Counter(machine.status for machine in snapshot.machines)
    in_demand = sum(machine.status == "idle" and bool(machine.line) for machine in snapshot.machines)
    waiters = (waiter for machine in snapshot.machines for waiter in machine.line)
    longest = min(waiters, key=lambda waiter: waiter.requested_at_ms, default=None)
    return {
        "busy": statuses["busy"],
        "reserved": statuses["reserved"],
        "idle": statuses["idle"] - in_demand,
        "in_demand": in_demand,
        "waiting": len(snapshot.waiting),
        "longest": longest and {"task_id": longest.task_id, "since_ms": longest.requested_at_ms},
        "unresolved": snapshot.unresolved,
    }


def _waiting(services: Services, snapshot: Snapshot, card_filter: DashboardFilter) -> list[dict[str, Any]]:
    """Who waits, in order; whom for and until when of those that are shown."""
    rows: list[dict[str, Any]] = []
    for place in waiting_places(snapshot):
        if not card_filter.accepts_runs([place], *(machine.name for machine in place.machines)):
            continue
        is_shown = len(rows) < WAITING_ON_DASHBOARD
        rows.append({"run": place, "eta": eta_of(services, place), **_blocker(place)} if is_shown else {})
    return rows


def _blocker(place: RunStatus) -> dict[str, Any]:
    """Where the wait of a run is longest, and who is in its way there."""
    worst, held = in_the_way(place)
    return {
        "machine": worst,
        "more": place.machines_count - 1,
        "held": held,
        "holder": held.holders[0] if held else None,
        "ahead": worst.ahead[0] if worst.ahead else None,
    }


def _choices(snapshot: Snapshot, card_filter: DashboardFilter) -> dict[str, list[str]]:
    """The environments and projects of all runs that hold or wait, and the ones that are asked for."""
    runs: list[Described] = [held for machine in snapshot.machines for held in machine.holders]
    runs += [waiter for machine in snapshot.machines for waiter in machine.line]
    environments = {card_filter.environment, *(run.environment for run in runs)}
    projects = {card_filter.project, *(run.project for run in runs)}
    return {"environment": sorted(filter(None, environments)), "project": sorted(filter(None, projects))}
