"""Octopus resources as values; the only place with their field names.

Fields come and go with the version of Octopus, so only what nothing can be done without is demanded.
Source: the REST API reference of 2026.3 and canned responses of OctopusClients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.octopus.errors import OctopusUnreadable

Resource = Mapping[str, Any]

#: States of a task that still runs or will. All others are ends, whatever a later version calls them.
_UNFINISHED = frozenset({"new", "queued", "executing", "cancelling"})


@dataclass(frozen=True)
class Machine:
    """A deployment target; its name is its id where Octopus did not say."""

    id: str
    name: str


@dataclass(frozen=True)
class Task:
    """A server task. One of *deployment_id* and *runbook_run_id*, or neither for tasks of other kinds."""

    id: str
    state: str
    is_completed: bool
    space_id: str | None
    deployment_id: str | None
    runbook_run_id: str | None


@dataclass(frozen=True)
class Deployment:
    """What was deployed where. *specific* empty means all machines that its steps apply to."""

    id: str
    task_id: str | None
    space_id: str | None
    project_id: str | None
    release_id: str | None
    environment_id: str | None
    tenant_id: str | None
    specific: tuple[str, ...]
    excluded: tuple[str, ...]
    deployed_to: tuple[str, ...]


@dataclass(frozen=True)
class RunbookRun:
    """What ran where; *specific* and *deployed_to* are empty where Octopus does not say."""

    id: str
    task_id: str | None
    space_id: str | None
    project_id: str | None
    environment_id: str | None
    tenant_id: str | None
    specific: tuple[str, ...]
    excluded: tuple[str, ...]
    deployed_to: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Some of a collection, and whether there are more."""

    items: tuple[Resource, ...]
    has_next: bool


def parse_task(resource: Resource) -> Task:
    """Raises: OctopusUnreadable: no ``Id``, or neither ``IsCompleted`` nor ``State``."""
    arguments = _mapping(resource, "Arguments")
    state = _text(resource, "State") or ""
    completed = resource.get("IsCompleted")
    if not isinstance(completed, bool):
        if not state:
            raise OctopusUnreadable("task: neither IsCompleted nor State is there")
        completed = state.lower() not in _UNFINISHED
    return Task(
        id=_required(resource, "Id", "task"),
        state=state,
        is_completed=completed,
        space_id=_text(resource, "SpaceId"),
        deployment_id=_text(arguments, "DeploymentId"),
        runbook_run_id=_text(arguments, "RunbookRunId"),
    )


def parse_deployment(resource: Resource) -> Deployment:
    """Raises: OctopusUnreadable: no ``Id``, or machine ids that are no list of texts."""
    return Deployment(
        id=_required(resource, "Id", "deployment"),
        task_id=_text(resource, "TaskId"),
        space_id=_text(resource, "SpaceId"),
        project_id=_text(resource, "ProjectId"),
        release_id=_text(resource, "ReleaseId"),
        environment_id=_text(resource, "EnvironmentId"),
        tenant_id=_text(resource, "TenantId"),
        specific=_ids(resource, "SpecificMachineIds"),
        excluded=_ids(resource, "ExcludedMachineIds"),
        deployed_to=_ids(resource, "DeployedToMachineIds"),
    )


def parse_runbook_run(resource: Resource) -> RunbookRun:
    """Raises: OctopusUnreadable: no ``Id``, or machine ids that are no list of texts."""
    return RunbookRun(
        id=_required(resource, "Id", "runbook run"),
        task_id=_text(resource, "TaskId"),
        space_id=_text(resource, "SpaceId"),
        project_id=_text(resource, "ProjectId"),
        environment_id=_text(resource, "EnvironmentId"),
        tenant_id=_text(resource, "TenantId"),
        specific=_ids(resource, "SpecificMachineIds"),
        excluded=_ids(resource, "ExcludedMachineIds"),
        deployed_to=_ids(resource, "DeployedToMachineIds"),
    )


def parse_preview(resource: Resource) -> tuple[Machine, ...]:
    """The machines that the steps of a deployment will run on, each once.

    Raises:
        OctopusUnreadable: no list ``StepsToExecute``: an empty answer would say that no machine is touched.
    """
    steps = resource.get("StepsToExecute")
    if not isinstance(steps, list):
        raise OctopusUnreadable("deployment preview: StepsToExecute is missing: expected a list")
    found: dict[str, Machine] = {}
    for step in steps:
        for target in step.get("Machines") or () if isinstance(step, dict) else ():
            machine = parse_machine(target)
            found.setdefault(machine.id.lower(), machine)
    return tuple(found.values())


def parse_machine(resource: Resource) -> Machine:
    """Raises: OctopusUnreadable: no ``Id``."""
    machine_id = _required(resource, "Id", "machine")
    return Machine(machine_id, _text(resource, "Name") or machine_id)


def parse_name(resource: Resource) -> str | None:
    """The name of a project, environment or tenant."""
    return _text(resource, "Name")


def parse_version(resource: Resource) -> str | None:
    """The version of a release."""
    return _text(resource, "Version")


def parse_page(resource: Resource) -> Page:
    """Raises: OctopusUnreadable: no list ``Items``."""
    items = resource.get("Items")
    if not isinstance(items, list):
        raise OctopusUnreadable("collection: Items is missing: expected a list")
    return Page(tuple(item for item in items if isinstance(item, dict)), "Page.Next" in _mapping(resource, "Links"))


def _required(resource: object, name: str, what: str) -> str:
    text = _text(resource, name) if isinstance(resource, Mapping) else None
    if text is None:
        raise OctopusUnreadable(f"{what}: {name} is missing: expected a text")
    return text


def _text(resource: Resource, name: str) -> str | None:
    value = resource.get(name)
    return value.strip() or None if isinstance(value, str) else None


def _mapping(resource: Resource, name: str) -> Resource:
    value = resource.get(name)
    return value if isinstance(value, dict) else {}


def _ids(resource: Resource, name: str) -> tuple[str, ...]:
    """A list of ids; a missing one is empty, a mangled one is not: fewer machines would be made busy than are."""
    value = resource.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise OctopusUnreadable(f"{name}: expected a list of ids")
    return tuple(value)
