"""Which machines a step, or a whole deployment, runs on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.simulator.model import Environment, Machine, Store
from tests.simulator.steps import Step


def targets_of(step: Step, environment: Environment, store: Store) -> list[Machine]:
    """The machines that *step* applies to in *environment*, disabled ones left out."""
    if not step.has_targets:
        return []
    return [machine for machine in store.all("Machines") if _applies(step, machine, environment)]


def _applies(step: Step, machine: Machine, environment: Environment) -> bool:
    if machine.space_id != environment.space_id or machine.is_disabled or not machine.is_in(environment.id):
        return False
    if not step.machines and not step.roles:
        return True
    names = {machine.id.lower(), machine.name.lower()}
    return any(name.lower() in names for name in step.machines) or bool(set(step.roles) & set(machine.roles))


def chosen(machines: Iterable[Machine], specific: Sequence[str], excluded: Sequence[str]) -> list[Machine]:
    """Those that a deployment did not exclude; *specific* empty: all others."""
    return [machine for machine in machines if machine.id not in excluded and (not specific or machine.id in specific)]


def planned(
    steps: Iterable[Step], environment: Environment, store: Store, specific: Sequence[str], excluded: Sequence[str]
) -> tuple[str, ...]:
    """The ids of all machines that *steps* will run on, each once."""
    found = {machine.id: machine for step in steps for machine in targets_of(step, environment, store)}
    return tuple(machine.id for machine in chosen(found.values(), specific, excluded))
