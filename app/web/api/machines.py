"""``/api/machines`` and ``/api/runs``: who holds what and who waits for it now; and reservations."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.domain.errors import UnknownRun
from app.queries.references import id_of
from app.queries.views import MachineWithRuns, last_runs, run_of
from app.settings.values import Token
from app.web.api.routing import Api, current_services
from app.web.api.schemas.machines import (
    MachineDetail,
    Machines,
    ReservationModel,
    ReservationRequest,
    RunFactsModel,
    Unreserved,
)
from app.web.errors import Problem

api = Api(Blueprint("machines", __name__))


@api.route("GET", "/api/machines", role="viewer", answers={200: Machines})
def machines(caller: Token) -> Any:
    """Every machine: who holds it, its line, its reservation."""
    snapshot = current_services().snapshot()
    return {
        "now_ms": snapshot.now_ms,
        "machines": snapshot.machines,
        "unresolved": snapshot.unresolved,
        "unseen": current_services().unseen.runs(),
        "faults": current_services().faults(snapshot),
        "old_steps": current_services().old_steps.projects(snapshot.now_ms),
        "closed_since_ms": snapshot.closed_since_ms,
        "octopus_unreachable": current_services().reach.unreachable(),
    }


@api.route("GET", "/api/machines/{machine_id}", role="viewer", answers={200: MachineDetail},
           errors=(404, 409))  # fmt: skip
def machine(machine_id: str, caller: Token) -> Any:
    """One machine, by its id or its name, with its last runs."""
    services = current_services()
    state = services.snapshot().machine(id_of(services, "machine", machine_id))
    if state is None:
        raise Problem(404, "unknown_machine", f"{machine_id[:100]} is unknown: no run asked for it lately")
    return MachineWithRuns(state, last_runs(services, state.id))


@api.route("PUT", "/api/machines/{machine_id}/reservation", role="admin", body=ReservationRequest,
           answers={200: ReservationModel}, errors=(404, 409))  # fmt: skip
def reserve(machine_id: str, body: ReservationRequest, caller: Token) -> Any:
    """Reserve a machine, by its id or its name: running work goes on, nobody new is granted.

    One that octowait does not know is refused, unless `create` says that it is the id of one that nobody has used yet.
    """
    services = current_services()
    known_id = id_of(services, "machine", machine_id, create=body.create)
    return dict(services.board.reserve(known_id, note=body.note, by=caller.name, until_ms=body.until_ms))


@api.route("DELETE", "/api/machines/{machine_id}/reservation", role="admin", answers={200: Unreserved},
           errors=(404, 409))  # fmt: skip
def unreserve(machine_id: str, caller: Token) -> Any:
    """End a machine's reservation; the next in line is granted."""
    services = current_services()
    done = services.board.unreserve(id_of(services, "machine", machine_id), by=caller.name)
    return {"outcome": "unreserved" if done else "nothing"}


@api.route("GET", "/api/runs/{task_id}", role="viewer", answers={200: RunFactsModel}, errors=(404,))
def run(task_id: str, caller: Token) -> Any:
    """One run: its facts and its timeline."""
    facts = run_of(current_services(), task_id)
    if facts is None:
        raise UnknownRun(f"{task_id[:100]} is unknown: no step and no event ever named it")
    return facts
