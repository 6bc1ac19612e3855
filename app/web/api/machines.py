"""``/api/machines`` and ``/api/runs``: who holds what and who waits for it now; and reservations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint

from app.coordination.snapshot import Machine, Snapshot
from app.domain.errors import UnknownRun
from app.domain.wording import closed_words, never_named
from app.queries.machines import MachineWithRuns, last_runs
from app.queries.pages import machines_page
from app.queries.references import id_of
from app.queries.views import run_of
from app.services import Services
from app.settings.values import Token
from app.store.fairness import in_turns
from app.web.api.routing import Api, current_services
from app.web.api.schemas.machines import (
    InLine,
    MachineDetail,
    MachineModel,
    Machines,
    MachinesQuery,
    ReservationModel,
    ReservationRequest,
    RunFactsModel,
    Unreserved,
)
from app.web.errors import Problem

api = Api(Blueprint("machines", __name__))

#: Machines, and waiters of one machine, that are put into an answer between two turns of others.
IN_A_TURN, WAITERS_IN_A_TURN = 20, 200

NOTHING_OF_THE_BOARD: dict[str, Any] = {"unresolved": (), "unseen": (), "faults": (), "old_steps": ()}


@api.route("GET", "/api/machines", role="viewer", query=MachinesQuery, answers={200: Machines}, errors=(404,))
def machines(query: MachinesQuery, caller: Token) -> Any:
    """The machines: who holds them, their lines, their reservations.

    Of more than `limit`, 500 at most, the others are on the pages behind `next_cursor`, which tell nothing but these.
    """
    services = current_services()
    snapshot = services.snapshot()
    page, next_cursor = machines_page(snapshot, limit=query.limit, cursor=query.cursor)
    return {
        "now_ms": snapshot.now_ms,
        "machines": [_model_of(machine) for machine in in_turns(page, IN_A_TURN)],
        "machines_count": len(snapshot.machines),
        "next_cursor": next_cursor,
        "closed_since_ms": snapshot.closed_since_ms,
        "closed_why": closed_words(snapshot.closed_cause) if snapshot.closed_since_ms else None,
        "octopus_unreachable": services.reach.unreachable(),
        **(NOTHING_OF_THE_BOARD if query.cursor else _of_the_board(services, snapshot)),
    }


@dataclass(frozen=True)
class _WithLine:
    """A machine whose line is in its shape already; all else is the machine's."""

    machine: Machine | MachineWithRuns
    line: list[InLine]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.machine, name)


def _model_of(machine: Machine) -> MachineModel:
    return MachineModel.model_validate(_WithLine(machine, _line_of(machine)), from_attributes=True)


def _line_of(machine: Machine) -> list[InLine]:
    """Its line, which can have thousands in it, shaped in turns."""
    line = in_turns(machine.line, WAITERS_IN_A_TURN, at_first=False)
    return [InLine.model_validate(waiter, from_attributes=True) for waiter in line]


def _of_the_board(services: Services, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "unresolved": snapshot.unresolved,
        "unseen": services.unseen.runs(),
        "faults": services.faults(snapshot),
        "old_steps": services.old_steps.projects(snapshot.now_ms),
    }


@api.route("GET", "/api/machines/{machine_id}", role="viewer", answers={200: MachineDetail},
           errors=(404, 409))  # fmt: skip
def machine(machine_id: str, caller: Token) -> Any:
    """One machine, by its id or its name, with its last runs."""
    services = current_services()
    known_id = id_of(services, "machine", machine_id)
    snapshot = services.shared_snapshot.machines_alone([known_id])
    state = snapshot.machine(known_id)
    if state is None:
        raise Problem(404, "unknown_machine", f"{machine_id[:100]} is unknown: no run asked for it lately")
    runs = last_runs(services, state, snapshot.now_ms)
    return _WithLine(MachineWithRuns(state, runs), _line_of(state))


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
        raise UnknownRun(never_named(task_id))
    return facts
