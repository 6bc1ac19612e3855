"""What Octopus says about runs as values; with parse_setup.py the only place with its field names.

Fields come and go with the version of Octopus, so only what nothing can be done without is demanded.
Source: the REST API reference of 2026.3, canned responses and models of OctopusClients.
"""

from __future__ import annotations

import re

from app.domain.events import milliseconds
from app.octopus.errors import OctopusUnreadable
from app.octopus.fields import ids, mapping, required, text, texts
from app.octopus.values import Deployment, EventCategory, Interruption, Machine, Resource, RunbookRun, Task

#: States of a task that still runs or will. All others are ends, whatever a later version calls them.
_UNFINISHED = frozenset({"new", "queued", "executing", "cancelling"})


#: Titles of guided failures end with this, in versions that give interruptions no type.
_GUIDED_FAILURE_TITLE = " requires failure guidance"


def parse_task(resource: Resource, *, base: str | None = None) -> Task:
    """The task; its link is absolute with *base*, the address of Octopus without a path.

    Raises:
        OctopusUnreadable: no ``Id``, or neither ``IsCompleted`` nor ``State``.
    """
    arguments = mapping(resource, "Arguments")
    state = text(resource, "State") or ""
    completed = resource.get("IsCompleted")
    if not isinstance(completed, bool):
        if not state:
            raise OctopusUnreadable("task: neither IsCompleted nor State is there")
        completed = state.lower() not in _UNFINISHED
    return Task(
        id=required(resource, "Id", "task"),
        state=state,
        is_completed=completed,
        space_id=text(resource, "SpaceId"),
        deployment_id=text(arguments, "DeploymentId"),
        runbook_run_id=text(arguments, "RunbookRunId"),
        name=text(resource, "Name"),
        project_id=text(resource, "ProjectId"),
        queue_ms=milliseconds(resource.get("QueueTime")),
        start_ms=milliseconds(resource.get("StartTime")),
        completed_ms=milliseconds(resource.get("CompletedTime")),
        has_pending_interruptions=resource.get("HasPendingInterruptions") is True,
        finished_successfully=state.lower() == "success" or resource.get("FinishedSuccessfully") is True,
        url=_web_link(resource, base),
    )


def _web_link(resource: Resource, base: str | None) -> str | None:
    link = text(mapping(resource, "Links"), "Web")
    # Only a path: what a resource says about hosts is not to be believed.
    return f"{base}{link}" if base and link and re.match(r"/(?!/)", link) else None


def parse_deployment(resource: Resource) -> Deployment:
    """Raises: OctopusUnreadable: no ``Id``, or machine ids that are no list of texts."""
    return Deployment(
        id=required(resource, "Id", "deployment"),
        task_id=text(resource, "TaskId"),
        space_id=text(resource, "SpaceId"),
        project_id=text(resource, "ProjectId"),
        release_id=text(resource, "ReleaseId"),
        environment_id=text(resource, "EnvironmentId"),
        tenant_id=text(resource, "TenantId"),
        specific=ids(resource, "SpecificMachineIds"),
        excluded=ids(resource, "ExcludedMachineIds"),
        deployed_to=ids(resource, "DeployedToMachineIds"),
    )


def parse_runbook_run(resource: Resource) -> RunbookRun:
    """Raises: OctopusUnreadable: no ``Id``, or machine ids that are no list of texts."""
    return RunbookRun(
        id=required(resource, "Id", "runbook run"),
        task_id=text(resource, "TaskId"),
        space_id=text(resource, "SpaceId"),
        project_id=text(resource, "ProjectId"),
        environment_id=text(resource, "EnvironmentId"),
        tenant_id=text(resource, "TenantId"),
        specific=ids(resource, "SpecificMachineIds"),
        excluded=ids(resource, "ExcludedMachineIds"),
        deployed_to=ids(resource, "DeployedToMachineIds"),
        runbook_id=text(resource, "RunbookId"),
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
    machine_id = required(resource, "Id", "machine")
    return Machine(machine_id, text(resource, "Name") or machine_id)


def parse_name(resource: Resource) -> str | None:
    """The name of a project, environment or tenant."""
    return text(resource, "Name")


def parse_version(resource: Resource) -> str | None:
    """The version of a release."""
    return text(resource, "Version")


def parse_interruption(resource: Resource) -> Interruption:
    """Raises: OctopusUnreadable: no ``Id``."""
    title = text(resource, "Title") or ""
    form = mapping(resource, "Form")
    is_guided = title.endswith(_GUIDED_FAILURE_TITLE)
    values = mapping(form, "Values")
    return Interruption(
        id=required(resource, "Id", "interruption"),
        title=title,
        type=text(resource, "Type") or ("GuidedFailure" if is_guided else "ManualIntervention"),
        is_pending=resource.get("IsPending") is True,
        created_ms=milliseconds(resource.get("Created")),
        task_id=text(resource, "TaskId"),
        space_id=text(resource, "SpaceId"),
        responsible_user_id=text(resource, "ResponsibleUserId"),
        can_take_responsibility=resource.get("CanTakeResponsibility") is True,
        has_responsibility=resource.get("HasResponsibility") is True,
        is_linked=resource.get("IsLinkedToOtherInterruption") is True,
        text="\n".join(filter(None, [title, *texts(form)])),
        result=text(values, "Result") or text(values, "Guidance"),
    )


def submission(interruption: Interruption, result: str, notes: str) -> Resource:
    """What answers a manual intervention: newer servers read these fields, older ones the values of its form."""
    space = {"SpaceId": interruption.space_id} if interruption.space_id else {}
    return {"Id": interruption.id, **space, "Instructions": None, "Result": result, "Notes": notes}


def parse_event_category(resource: Resource) -> EventCategory:
    """Raises: OctopusUnreadable: no ``Id``."""
    category_id = required(resource, "Id", "event category")
    return EventCategory(category_id, text(resource, "Name") or category_id)
