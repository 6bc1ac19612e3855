"""One machine and what is around it, at the cost of what is there: the board is as large as the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.coordination.snapshot import Machine, Snapshot
from app.domain.records import Filter
from app.domain.run import RunState
from app.domain.status import MachinePlace, RunStatus
from app.queries.views import RunFacts, place_at
from app.services import Services

#: Runs that a machine's answer shows as its last.
LAST_RUNS = 20

#: Machines of one of them that are named, as many as of a wait.
MOST_MACHINES = 200

#: Other machines that are read for the ETAs of those in line.
MOST_NEIGHBOURS = 40


def with_neighbours(services: Services, machine_id: str, *, most_waiters: int) -> Snapshot:
    """The machine, if it is known, and the other machines for which the first *most_waiters* in its line wait."""
    snapshot = services.shared_snapshot.machines_alone([machine_id])
    machine = snapshot.machine(machine_id)
    neighbours = dict.fromkeys(
        other.lower() for waiter in (machine.line[:most_waiters] if machine else ()) for other in waiter.run.machines
    )
    ids = list(neighbours)[:MOST_NEIGHBOURS]
    return services.shared_snapshot.machines_alone([machine_id, *ids]) if ids else snapshot


@dataclass(frozen=True)
class MachineWithRuns:
    """A machine with its last runs; all else is the machine's."""

    machine: Machine
    last_runs: list[RunFacts]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.machine, name)


def last_runs(services: Services, machine: Machine, now_ms: int) -> list[RunFacts]:
    """The last runs of a machine, newest first, each without its timeline.

    Of its other machines each tells the names alone: to read one machine costs what is there.
    """
    tasks = _last_tasks(services, machine.id)
    known = services.registry.runs(tasks)
    runs = [known[task.lower()] for task in tasks if task.lower() in known]
    names = services.registry.machine_names({other for run in runs for other in _machines_of(run)})
    return [RunFacts(_as_seen_at(machine, run, names, now_ms), []) for run in runs]


def _last_tasks(services: Services, machine_id: str) -> list[str]:
    """The tasks of its last runs, newest first; most runs have fewer than five records."""
    tasks: dict[str, None] = {}
    for limit in (5 * LAST_RUNS, 20 * LAST_RUNS):
        records = services.timeline.newest(Filter(machine_id=machine_id), limit=limit)
        tasks = dict.fromkeys(record.task_id for record in reversed(records) if record.task_id)
        if len(tasks) >= LAST_RUNS or len(records) < limit:
            break
    return list(tasks)[:LAST_RUNS]


def _machines_of(run: RunState) -> tuple[str, ...]:
    """As many of its machines as a view shows."""
    return (run.machines or run.presumed)[:MOST_MACHINES]


def _as_seen_at(machine: Machine, run: RunState, names: Mapping[str, str], now_ms: int) -> RunStatus:
    """The status of a run with its place and the others at *machine*, and the names of its other machines."""
    waiter = machine.waiters.get(run.id)
    others = tuple(held for held in machine.holders if held.task_id != run.id)
    here = MachinePlace(machine.id, machine.name, 0, others, ())
    here = place_at(machine, waiter) if waiter else here
    places = [
        here if each.lower() == machine.id.lower() else MachinePlace(each, names.get(each.lower(), each), 0, (), ())
        for each in _machines_of(run)
    ]  # fmt: skip
    return RunStatus(run, now_ms, tuple(places))
