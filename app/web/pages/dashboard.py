"""The dashboard: every machine, who holds it, who waits for it; and all who wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import current_app, render_template, request, url_for

from app.coordination.snapshot import Machine, Snapshot
from app.domain.status import Described, RunStatus, in_the_way
from app.domain.wording import closed_words
from app.queries.etas import eta_of
from app.queries.views import waiting_places
from app.services import Services
from app.store.fairness import in_turns
from app.web.api.routing import current_services
from app.web.pages.base import blueprint

#: Waiters of one machine, and of all, that the dashboard shows.
LINE_ON_DASHBOARD, WAITING_ON_DASHBOARD = 20, 15

#: Machines of a fleet that the dashboard shows whole. Of a larger one it shows so many at once, and so many waiters of
#: each: some 400 KB.
WHOLE_FLEET, CARDS, LINE_OF_MANY = 500, 200, 3

#: Cards that are made between two turns of others: some milliseconds.
CARDS_IN_A_TURN = 4

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


@dataclass(frozen=True)
class CardPage:
    """A part of the machines that match, where the board has more than one page shows: from *begin* on, of *count*."""

    begin: int
    end: int
    count: int
    card_filter: DashboardFilter

    @property
    def earlier(self) -> str | None:
        """The address of the page before."""
        return self._address(max(0, self.begin - CARDS)) if self.begin else None

    @property
    def later(self) -> str | None:
        """The address of the page behind."""
        return self._address(self.end) if self.end < self.count else None

    def _address(self, begin: int) -> str:
        chosen = self.card_filter
        show = chosen.show if chosen.show != "all" else ""
        terms = {"q": chosen.query, "show": show, "environment": chosen.environment, "project": chosen.project}
        values: dict[str, Any] = {name: value for name, value in {**terms, "from": begin}.items() if value}
        return url_for("pages.dashboard", **values)


@blueprint.get("/")
def dashboard() -> Any:
    """The machines, or some of a large fleet. ``fragment=1`` answers the live part alone, ``fragment=some`` that of the
    given machines.

    With ``seen``, the id of a timeline record: 204 if nothing happened since.
    """
    services = current_services()
    # Before the snapshot: what happens in between is then looked at again and not missed.
    last_id = services.timeline.last_id()
    if request.args.get("seen") == last_id:
        return "", 204
    snapshot = services.snapshot()
    card_filter = DashboardFilter.of(request.args)
    page = _page(snapshot, card_filter) if len(snapshot.machines) > WHOLE_FLEET else None
    waiting, waiting_count = _waiting(services, snapshot, card_filter)
    is_whole = "fragment" not in request.args
    return render_template(
        "dashboard.html" if is_whole else "_dashboard.html",
        machines=in_turns(_machines_of(snapshot, page), CARDS_IN_A_TURN),
        page=page[0] if page else None,
        is_part=request.args.get("fragment") == "some",
        last_id=last_id,
        now_ms=snapshot.now_ms,
        summary=_summary(snapshot),
        waiting=waiting,
        more_waiting=max(0, waiting_count - WAITING_ON_DASHBOARD),
        closed_since_ms=snapshot.closed_since_ms,
        closed_why=closed_words(snapshot.closed_cause),
        unreachable=services.reach.unreachable(),
        faults=current_app.extensions["octowait.recent_faults"].of(snapshot),
        most=LINE_OF_MANY if page else LINE_ON_DASHBOARD,
        has_match=bool(page[1]) if page else any(map(card_filter.accepts, snapshot.machines)),
        card_filter=card_filter,
        choices=_choices(snapshot, card_filter) if is_whole else {},
        base_url=services.settings.base_url,
        webhook_header=services.settings.webhook_header,
    )


def _page(snapshot: Snapshot, card_filter: DashboardFilter) -> tuple[CardPage, Sequence[Machine]]:
    """The page that is asked for, and its machines; the last one, where that is behind it."""
    machines: Sequence[Machine] = snapshot.machines
    if not card_filter.is_all:
        machines = [machine for machine in in_turns(machines, CARDS_IN_A_TURN) if card_filter.accepts(machine)]
    begin = request.args.get("from", 0, type=int)
    begin = max(0, min(begin, (len(machines) - 1) // CARDS * CARDS))
    part = machines[begin : begin + CARDS]
    return CardPage(begin, begin + len(part), len(machines), card_filter), part


def _machines_of(snapshot: Snapshot, page: tuple[CardPage, Sequence[Machine]] | None) -> Sequence[Machine]:
    """The machines whose cards are answered."""
    if request.args.get("fragment") == "some":
        named = [snapshot.machine(machine_id) for machine_id in dict.fromkeys(request.args.getlist("machine")[:CARDS])]
        return [machine for machine in named if machine]
    return page[1] if page else snapshot.machines


def _summary(snapshot: Snapshot) -> dict[str, Any]:
    """What the top of the dashboard counts."""
    tally = snapshot.tally
    return {
        "busy": tally.busy,
        "reserved": tally.reserved,
        "idle": tally.idle,
        "in_demand": tally.in_demand,
        "waiting": len(snapshot.queue),
        "longest": tally.longest_wait and dict(zip(("since_ms", "task_id"), tally.longest_wait, strict=True)),
        "unresolved": snapshot.unresolved,
    }


def _waiting(
    services: Services, snapshot: Snapshot, card_filter: DashboardFilter
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """The first of those who wait, in order, whom for and until when; and how many there are in all."""
    if card_filter.is_all:
        tasks = [task for _, task in snapshot.queue[:WAITING_ON_DASHBOARD]]
        first, count = waiting_places(snapshot, tasks), len(snapshot.queue)
    else:
        places = [place for place in in_turns(waiting_places(snapshot), CARDS_IN_A_TURN) if
                  card_filter.accepts_runs([place], *(machine.name for machine in place.machines))]  # fmt: skip
        first, count = iter(places[:WAITING_ON_DASHBOARD]), len(places)
    return [{"run": place, "eta": eta_of(services, place), **_blocker(place)} for place in first], count


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
    names = [machine.names for machine in in_turns(snapshot.machines)]
    environments = {card_filter.environment}.union(*(environments for environments, _ in names))
    projects = {card_filter.project}.union(*(projects for _, projects in names))
    return {"environment": sorted(filter(None, environments)), "project": sorted(filter(None, projects))}
