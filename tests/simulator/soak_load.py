"""What is deployed in a soak: projects and runbooks of all kinds, and how often each kind comes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import Step, claim_step, deploy_release, parked_wait, release_step, wait_step, work

#: Machines of every deployment.
SHARED = (*(f"web-{number:02}" for number in range(1, 11)), *(f"db-{number:02}" for number in range(1, 5)))

#: Those that only deployments of a tenant use.
OF_TENANTS = {"Acme": ("acme-01", "acme-02"), "Beta": ("beta-01", "beta-02"), "Gamma": ("gamma-01", "gamma-02")}

#: Of four machines three have no mutex of a Tentacle, which would keep two runs from meeting that octowait let meet.
STYLES = ("KubernetesCluster", "KubernetesCluster", "KubernetesCluster", "TentaclePassive")

#: How many of them the processes use, one after another.
WIDTHS = (1, 2, 1, 1, 3)

#: Simulated seconds that a run works at least.
LEAST_WORK = 20.0

#: The branch of runbooks in Git.
MAIN = "refs/heads/main"

#: Of ten deployments so many without a step, tenanted, and runs of a runbook; of these every second one is in Git.
STEPLESS, TENANTED, RUNBOOKS = 10 / 3, 2.0, 2.0

#: The share of deployments that leave a machine out.
EXCLUDING = 0.05


@dataclass(frozen=True)
class Kind:
    """*form* is ``project``, ``runbook`` or ``git``."""

    form: str
    is_tenanted: bool
    has_steps: bool


@dataclass(frozen=True)
class Process:
    """A project, or a runbook of it, that can be started."""

    project: str
    machines: tuple[str, ...]
    runbook: str = ""

    def start(self, octopus: SimulatedOctopus, tenant: str, *, excluded: Sequence[str] = ()) -> Deployment:
        options = {**({"tenant": tenant} if tenant else {}), **({"excluded": list(excluded)} if excluded else {})}
        if self.runbook:
            return octopus.run_runbook(self.project, self.runbook, **options)
        return octopus.deploy(self.project, **options)


@dataclass
class Load:
    """The processes of each kind, and the dice that choose.

    Args:
        longest_work: Simulated seconds that a run works at most.
    """

    octopus: SimulatedOctopus
    dice: random.Random
    longest_work: float
    processes: dict[Kind, list[Process]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make machines, projects and runbooks."""
        for name, style in zip(SHARED, cycle(STYLES), strict=False):
            self.octopus.machine(name, style=style)
        for tenant, names in OF_TENANTS.items():
            for name, style in zip(names, cycle(STYLES), strict=False):
                self.octopus.machine(name, style=style, tenants=[tenant])
        number = 0
        for form, has_steps, is_tenanted, many in _PLAN:
            for _ in range(many):
                kind = Kind(form, is_tenanted, has_steps)
                self.processes.setdefault(kind, []).append(self._process(number, kind))
                number += 1

    def deployments(self, number: int) -> Iterator[Deployment]:
        """Start *number* of them one by one, in the shares of all."""
        for kind in self.kinds(number):
            process = self.dice.choice(self.processes[kind])
            tenant = self.dice.choice(list(OF_TENANTS)) if kind.is_tenanted else ""
            is_excluding = len(process.machines) > 1 and self.dice.random() < EXCLUDING
            yield process.start(self.octopus, tenant, excluded=process.machines[:1] if is_excluding else ())

    def kinds(self, number: int) -> list[Kind]:
        """The kinds of *number* deployments in the order in which they come."""
        forms = self._shuffled([*islice(cycle(("runbook", "git")), round(number * RUNBOOKS / 10))], number, "project")
        tenanted = self._shuffled([True] * round(number * TENANTED / 10), number, False)
        stepless = self._shuffled([True] * round(number * STEPLESS / 10), number, False)
        return [Kind(form, tenant, not bare) for form, tenant, bare in zip(forms, tenanted, stepless, strict=True)]

    def _shuffled(self, some: list[Any], number: int, rest: Any) -> list[Any]:
        return self.dice.sample([*some, *[rest] * (number - len(some))], number)

    def _process(self, number: int, kind: Kind) -> Process:
        machines = _machines(number, kind)
        steps = self._steps(number, kind, machines)
        # On the new pipeline no event tells of a start.
        tells = number % 4 != 2
        project = f"{'Web' if kind.form == 'project' else 'Ops'} {number}"
        if kind.form == "project":
            self.octopus.project(project, steps=steps, tells_starts=tells)
            return Process(project, machines)
        self.octopus.project(project, steps=[], tells_starts=tells)
        self.octopus.runbook(project, "Restart", steps=steps, git_ref=MAIN if kind.form == "git" else "")
        return Process(project, machines, "Restart")

    def _steps(self, number: int, kind: Kind, machines: tuple[str, ...]) -> list[Step]:
        seconds = LEAST_WORK + number * 37 % (self.longest_work - LEAST_WORK)
        deploys = [work("deploy", machines=machines, seconds=seconds)]
        if number % 3 == 0:
            # The first machines are reached long before the last one.
            deploys = [work(f"deploy to {name}", machines=[name], seconds=seconds / len(machines)) for name in machines]
        if not kind.has_steps:
            prepare = work("prepare", on_server=True, seconds=5.0)
            return [prepare, *deploys, work("verify", on_server=True, seconds=5.0)]
        language = "python" if number % 4 == 1 else "bash"
        release = release_step(language=language)
        if kind.form == "project" and not kind.is_tenanted and number in _SPECIAL:
            return self._special(_SPECIAL[number], number, deploys, release)
        # Some have no release step: their ends come by webhook or are found.
        return [wait_step(language=language), *deploys, *([] if number % 4 == 3 else [release])]

    def _special(self, what: str, number: int, deploys: list[Step], release: Step) -> list[Step]:
        if what == "parked":
            return [claim_step(language=release.language), parked_wait(), *deploys, release]
        if what == "fails":
            return [wait_step(), work("deploy", machines=deploys[0].machines, seconds=LEAST_WORK, fails=-1), release]
        child = f"Child {number}"
        below = work("deploy", machines=deploys[0].machines, seconds=LEAST_WORK)
        self.octopus.project(child, steps=[wait_step(), below, release_step()])
        passed = {"Octowait.OnBehalfOf": "#{Octopus.Task.Id}"}
        return [wait_step(), *deploys, deploy_release("child", child, variables=passed), release]


#: Form, whether it has steps of octowait, whether it is tenanted, and how many processes there are of it.
_PLAN = (
    ("project", True, False, 13), ("project", False, False, 8), ("project", True, True, 4), ("project", False, True, 4),
    ("runbook", True, False, 2), ("runbook", False, False, 2), ("runbook", True, True, 1), ("runbook", False, True, 1),
    ("git", True, False, 2), ("git", False, False, 2), ("git", True, True, 1), ("git", False, True, 1),
)  # fmt: skip

#: Projects, by their number, that are more than wait, deploy, release.
_SPECIAL = {4: "parked", 6: "parked", 8: "parked", 9: "parent", 10: "parent", 12: "fails"}


def _machines(number: int, kind: Kind) -> tuple[str, ...]:
    """One to three shared ones; where there are tenants a shared one and all of theirs: each run has its tenant's."""
    first = number * 5 % len(SHARED)
    if kind.is_tenanted:
        return (*(name for names in OF_TENANTS.values() for name in names), SHARED[first])
    return tuple(SHARED[(first + more) % len(SHARED)] for more in range(WIDTHS[number % len(WIDTHS)]))
