"""What Octopus says about runs as values; with parse_setup.py the only place with its field names.

Fields come and go with the version of Octopus, so only what nothing can be done without is demanded.
Source: the REST API reference of 2026.3, canned responses and models of OctopusClients.
"""

from __future__ import annotations

import re

from app.domain.events import milliseconds
from app.domain.plan import PlannedAction, Target
from app.octopus.errors import OctopusUnreadable
from app.octopus.fields import array, ids, mapping, required, text, texts
from app.octopus.values import (
    Deployment,
    EventCategory,
    GitReference,
    Interruption,
    Machine,
    Resource,
    RunbookRun,
    Task,
)

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
        has_pending_interruptions=_is_pending(resource, "Interruption"),
        has_pending_preconditions=_is_pending(resource, "Precondition"),
        server_node=text(resource, "ServerNode"),
        finished_successfully=state.lower() == "success" or resource.get("FinishedSuccessfully") is True,
        url=_web_link(resource, base),
    )


def _is_pending(resource: Resource, what: str) -> bool:
    # Servers write the flag and the types apart, and either can be out of date; older ones have no types.
    return resource.get(f"HasPending{what}s") is True or bool(array(resource, f"Pending{what}Types"))


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
        included_tags=ids(resource, "SpecificTargetTagIds"),
        excluded_tags=ids(resource, "ExcludedTargetTagIds"),
        skipped_actions=ids(resource, "SkipActions"),
        process_id=text(resource, "DeploymentProcessId"),
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
        included_tags=ids(resource, "SpecificTargetTagIds"),
        excluded_tags=ids(resource, "ExcludedTargetTagIds"),
        skipped_actions=ids(resource, "SkipActions"),
        process_id=text(resource, "FrozenRunbookProcessId"),
        snapshot_id=text(resource, "RunbookSnapshotId"),
        git=_git_reference(mapping(resource, "GitReference")),
    )


def _git_reference(resource: Resource) -> GitReference | None:
    found = GitReference(text(resource, "GitRef"), text(resource, "GitCommit"))
    return found if found.ref or found.commit else None


def parse_preview(resource: object) -> tuple[PlannedAction, ...]:
    """The actions of a deployment or runbook run, each with the machines that it will run on.

    Machines that are not available now count, too: they may be back when their step begins.

    Raises:
        OctopusUnreadable: no list ``StepsToExecute``, or a step whose machines cannot be read: an answer without them
            would say that no machine is touched.
    """
    steps = resource.get("StepsToExecute") if isinstance(resource, dict) else None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise OctopusUnreadable("deployment preview: StepsToExecute is missing: expected a list of steps")
    return tuple(_planned_action(step) for step in steps)


def parse_previews(answer: object) -> tuple[PlannedAction, ...]:
    """The same from a list of previews, which was asked for one.

    Raises:
        OctopusUnreadable: it is no list of one, or as `parse_preview`.
    """
    if not isinstance(answer, list) or len(answer) != 1:
        raise OctopusUnreadable("deployment previews: expected a list of one, as was asked for")
    return parse_preview(answer[0])


def _planned_action(step: Resource) -> PlannedAction:
    listed = [*_machines(step, "Machines"), *_machines(step, "UnavailableMachines")]
    machines = [machine for machine in listed if machine.get("Id") is not None]
    targets = tuple(_target(parse_machine(machine)) for machine in machines)
    names = [required(machine, "Name", "machine") for machine in listed if machine.get("Id") is None]
    # The names of the machines are given as well, or instead.
    told = _machine_names(step)
    if len(told) > len(listed):
        covered = {(target.name or "").lower() for target in targets}
        names += [name for name in told if name.lower() not in covered]
    return PlannedAction(
        text(step, "ActionId"), targets, tuple(dict.fromkeys(names)), is_disabled=step.get("IsDisabled") is True
    )


def _machines(step: Resource, field: str) -> list[Resource]:
    value = step.get(field)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise OctopusUnreadable(f"deployment preview: {field}: expected a list of machines")
    return value


def _machine_names(step: Resource) -> list[str]:
    """The names of a step's machines.

    Raises:
        OctopusUnreadable: they are no list of texts.
    """
    return [name.strip() for name in ids(step, "MachineNames") if name.strip()]


def _target(machine: Machine) -> Target:
    return Target(machine.id, machine.name if machine.name != machine.id else None, machine.tags)


#: The ids of target tags, as nothing else of a machine looks.
_TAG_ID = re.compile(r"TagSets-[^/]+/Tags-[^/]+\Z", re.IGNORECASE)


def parse_machine(resource: Resource) -> Machine:
    """Raises: OctopusUnreadable: no ``Id``."""
    machine_id = required(resource, "Id", "machine")
    return Machine(machine_id, text(resource, "Name") or machine_id, _target_tags(resource))


def _target_tags(resource: Resource) -> frozenset[str] | None:
    """The ids of its target tags; None where the answer has none, which need not mean that the machine has none.

    Source: no reference names the field (2026.3), so every one that has such ids is read.
    """
    fields = (value for name, value in resource.items() if "tag" in name.lower() and "tenant" not in name.lower())
    found = {tag for value in fields if isinstance(value, list) for tag in value if _is_tag_id(tag)}
    return frozenset(found) or None


def _is_tag_id(value: object) -> bool:
    return isinstance(value, str) and _TAG_ID.match(value) is not None


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
    values = mapping(form, "Values")
    elements = {str(each.get("Name")).lower(): each for each in array(form, "Elements") if isinstance(each, dict)}
    is_guided = title.endswith(_GUIDED_FAILURE_TITLE) or "guidance" in elements
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
        instructions=text(mapping(elements.get("instructions", {}), "Control"), "Text") or "",
    )


def submission(interruption: Interruption, result: str, notes: str) -> Resource:
    """What answers a manual intervention: newer servers read these fields, older ones the values of its form."""
    space = {"SpaceId": interruption.space_id} if interruption.space_id else {}
    return {"Id": interruption.id, **space, "Instructions": None, "Result": result, "Notes": notes}


def parse_event_category(resource: Resource) -> EventCategory:
    """Raises: OctopusUnreadable: no ``Id``."""
    category_id = required(resource, "Id", "event category")
    return EventCategory(category_id, text(resource, "Name") or category_id)
