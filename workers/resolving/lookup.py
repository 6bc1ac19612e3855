"""Lookups of one pass in Octopus, each made once: in lists, and singly for documents that the lists lack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import structlog

from app.domain.errors import InvalidId
from app.domain.ids import checked_id, distinct_ids
from app.domain.plan import PlannedAction, Target
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.documents import DeploymentTarget
from app.octopus.errors import OctopusError
from app.octopus.previews import PlanSource
from app.octopus.runs import Deployment, RunbookRun
from app.octopus.tasks import Task

log = structlog.get_logger()

#: Machines of one run whose target tags are asked for; of more, those of none are known.
MOST_TAGGED = 200

#: The id of a document, and its space where that is known.
Reference = tuple[str | None, str]

Plan = tuple[PlannedAction, ...]


class Lookup:
    """The lookups of one pass. All methods raise `OctopusError` where Octopus does not say, unless they say otherwise.

    Args:
        on_failure: Told of each list that failed; what it should have had is asked for singly.
    """

    def __init__(self, octopus: OctopusClient, on_failure: Callable[[OctopusError], object]) -> None:
        self._octopus = octopus
        self._on_failure = on_failure
        self._answers: dict[tuple[str, str | None, str], Any] = {}
        self._plans: dict[tuple[str | None, PlanSource], Plan | OctopusError] = {}
        self._machines: dict[str | None, _MachineList] = {}

    def fetch_tasks(self, references: Iterable[Reference]) -> None:
        """Ask for tasks in lists; raises nothing."""
        self._fetch("task", self._octopus.tasks_at_once, references)

    def fetch_deployments(self, references: Iterable[Reference]) -> None:
        """Ask for deployments in lists; raises nothing."""
        self._fetch("deployment", self._octopus.deployments_at_once, references)

    def fetch_runbook_runs(self, references: Iterable[Reference]) -> None:
        """Ask for runbook runs in lists; raises nothing."""
        self._fetch("runbook run", self._octopus.runbook_runs_at_once, references)

    def task(self, task_id: str, space: str | None) -> Task:
        task: Task | None = self._answers.get(("task", space, task_id.lower()))
        return task or self._octopus.task(task_id, space=space)

    def deployment(self, deployment_id: str, space: str | None) -> Deployment:
        deployment: Deployment | None = self._answers.get(("deployment", space, deployment_id.lower()))
        return deployment or self._octopus.deployment(deployment_id, space=space)

    def runbook_run(self, runbook_run_id: str, space: str | None) -> RunbookRun:
        run: RunbookRun | None = self._answers.get(("runbook run", space, runbook_run_id.lower()))
        return run or self._octopus.runbook_run(runbook_run_id, space=space)

    def plan(self, source: PlanSource, space: str | None) -> Plan:
        """The preview; runs of the same release or runbook, environment and tenant share one, and its failure."""
        key = (space, source)
        if key not in self._plans:
            try:
                self._plans[key] = self._octopus.plan(source, space=space)
            except OctopusError as error:
                self._plans[key] = error
        plan = self._plans[key]
        if isinstance(plan, OctopusError):
            raise plan
        return plan

    def machines_named(self, names: Collection[str], space: str | None) -> Mapping[str, Target]:
        """The machines of these names, by name in lower case, as far as there are such."""
        return self._list_of(space).named(names)

    def target_tags(self, machine_ids: Collection[str], space: str | None) -> Mapping[str, frozenset[str]]:
        """The target tags of those of the machines of which Octopus says them, by id in lower case; raises nothing."""
        if len(machine_ids) > MOST_TAGGED:
            return {}
        missing = [each for each in machine_ids if ("machine", space, each.lower()) not in self._answers]
        try:
            for machine in self._octopus.machines(missing, space=space):
                self._answers["machine", space, machine.id.lower()] = machine
        except OctopusError as error:
            log.warning("resolve: no target tags", machines=machine_ids, error=str(error))
        known = {each.lower(): self._answers.get(("machine", space, each.lower())) for each in machine_ids}
        return {key: machine.tags for key, machine in known.items() if machine and machine.tags is not None}

    def _list_of(self, space: str | None) -> _MachineList:
        return self._machines.setdefault(space, _MachineList(self._octopus, space))

    def _fetch(self, what: str, ask: Callable[..., Mapping[str, Any]], references: Iterable[Reference]) -> None:
        by_space: dict[str | None, list[str]] = {}
        for space, document_id in references:
            if is_id(document_id) and (space is None or is_id(space)):
                by_space.setdefault(space, []).append(document_id)
        for space, document_ids in by_space.items():
            ids = distinct_ids(document_ids)
            for start in range(0, len(ids), IDS_A_PAGE):
                chunk = ids[start : start + IDS_A_PAGE]
                # One by itself is asked for by itself.
                if len(chunk) > 1:
                    self._keep(what, space, ask, chunk)

    def _keep(self, what: str, space: str | None, ask: Callable[..., Mapping[str, Any]], ids: list[str]) -> None:
        try:
            answers = ask(ids, space=space)
        except OctopusError as error:
            log.warning("resolve: no list, asking one by one", of=what, space=space, error=str(error))
            self._on_failure(error)
            return
        self._answers |= {(what, space, key): answer for key, answer in answers.items()}


class _MachineList:
    """The machines of a space by name, read only as far as they are wanted."""

    def __init__(self, octopus: OctopusClient, space: str | None) -> None:
        self._octopus = octopus
        self._space = space
        self._rest: Iterator[DeploymentTarget] | None = None
        self._by_name: dict[str, Target] = {}

    def named(self, names: Collection[str]) -> Mapping[str, Target]:
        keys = {name.lower() for name in names}
        if self._rest is None:
            self._rest = self._octopus.all_machines(space=self._space)
        try:
            while keys - self._by_name.keys() and (machine := next(self._rest, None)):
                self._by_name[machine.name.lower()] = Target(machine.id, machine.name, machine.tags)
        except OctopusError:
            # An iterator that raised is at its end: the next run reads anew.
            self._rest = None
            raise
        return {key: self._by_name[key] for key in keys & self._by_name.keys()}


def is_id(value: str) -> bool:
    """Whether it can be asked about: among others, an id that is none would spoil the list."""
    try:
        checked_id(value, "document")
    except InvalidId:
        return False
    return True
