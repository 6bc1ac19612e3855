"""Which machines a step, or a whole task, runs on."""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulator.model import Environment, Machine, Store, Task, Tenant
from tests.simulator.steps import Step


def targets_of(step: Step, environment: Environment, tenant: Tenant | None, store: Store) -> list[Machine]:
    """The machines that *step* applies to in *environment*, disabled ones left out."""
    return [machine for machine in all_targets_of(step, environment, tenant, store) if not machine.is_disabled]


def all_targets_of(step: Step, environment: Environment, tenant: Tenant | None, store: Store) -> list[Machine]:
    """With those that are disabled."""
    if not step.has_targets:
        return []
    return [machine for machine in store.all("Machines") if _applies(step, machine, environment, tenant)]


def _applies(step: Step, machine: Machine, environment: Environment, tenant: Tenant | None) -> bool:
    places = filter(None, (environment.id, environment.parent_id))
    if machine.space_id != environment.space_id or not any(map(machine.is_in, places)) or not machine.serves(tenant):
        return False
    if not step.machines and not step.roles:
        return True
    names = {machine.id.lower(), machine.name.lower()}
    return any(name.lower() in names for name in step.machines) or bool(set(step.roles) & set(machine.roles))


def chosen(machines: Iterable[Machine], task: Task) -> list[Machine]:
    """Those that the task's trigger named or, without one, that its deployment did not leave out."""
    assert task.deployment
    takes = task.deployment.takes
    return [machine for machine in machines if (machine.id in task.only if task.only else takes(machine))]


def planned(task: Task, store: Store) -> tuple[str, ...]:
    """The ids of all machines that the steps of *task* will run on, each once."""
    deployment = task.deployment
    assert deployment
    steps = [step for step in deployment.steps if not step.is_disabled and step.name not in deployment.skipped]
    found = {machine.id: machine for step in steps
             for machine in targets_of(step, deployment.environment, deployment.tenant, store)}  # fmt: skip
    return tuple(machine.id for machine in chosen(found.values(), task))
