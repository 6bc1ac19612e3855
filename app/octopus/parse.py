"""Octopus resources as values, and values as resources; the only place with their field names.

Fields come and go with the version of Octopus, so only what nothing can be done without is demanded.
Source: the REST API reference of 2026.3, canned responses and models of OctopusClients.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from app.domain.events import milliseconds
from app.octopus.errors import OctopusUnreadable
from app.octopus.values import Action as Action
from app.octopus.values import Deployment as Deployment
from app.octopus.values import EventCategory as EventCategory
from app.octopus.values import Grant as Grant
from app.octopus.values import Interruption as Interruption
from app.octopus.values import Machine as Machine
from app.octopus.values import Page as Page
from app.octopus.values import Permissions as Permissions
from app.octopus.values import Project as Project
from app.octopus.values import Resource as Resource
from app.octopus.values import RunbookRun as RunbookRun
from app.octopus.values import Server as Server
from app.octopus.values import ServerNode as ServerNode
from app.octopus.values import Space as Space
from app.octopus.values import Step as Step
from app.octopus.values import Subscription as Subscription
from app.octopus.values import SubscriptionSpec as SubscriptionSpec
from app.octopus.values import Task as Task
from app.octopus.values import Template as Template
from app.octopus.values import User as User

#: States of a task that still runs or will. All others are ends, whatever a later version calls them.
_UNFINISHED = frozenset({"new", "queued", "executing", "cancelling"})

#: Titles of guided failures end with this, in versions that give interruptions no type.
_GUIDED_FAILURE_TITLE = " requires failure guidance"


def parse_task(resource: Resource, *, base: str | None = None) -> Task:
    """The task; its link is absolute with *base*, the address of Octopus without a path.

    Raises:
        OctopusUnreadable: no ``Id``, or neither ``IsCompleted`` nor ``State``.
    """
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
        name=_text(resource, "Name"),
        project_id=_text(resource, "ProjectId"),
        queue_ms=milliseconds(resource.get("QueueTime")),
        start_ms=milliseconds(resource.get("StartTime")),
        completed_ms=milliseconds(resource.get("CompletedTime")),
        has_pending_interruptions=resource.get("HasPendingInterruptions") is True,
        finished_successfully=state.lower() == "success" or resource.get("FinishedSuccessfully") is True,
        url=_web_link(resource, base),
    )


def _web_link(resource: Resource, base: str | None) -> str | None:
    link = _text(_mapping(resource, "Links"), "Web")
    # Only a path: what a resource says about hosts is not to be believed.
    return f"{base}{link}" if base and link and re.match(r"/(?!/)", link) else None


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
        runbook_id=_text(resource, "RunbookId"),
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


def parse_interruption(resource: Resource) -> Interruption:
    """Raises: OctopusUnreadable: no ``Id``."""
    title = _text(resource, "Title") or ""
    form = _mapping(resource, "Form")
    is_guided = title.endswith(_GUIDED_FAILURE_TITLE)
    values = _mapping(form, "Values")
    return Interruption(
        id=_required(resource, "Id", "interruption"),
        title=title,
        type=_text(resource, "Type") or ("GuidedFailure" if is_guided else "ManualIntervention"),
        is_pending=resource.get("IsPending") is True,
        created_ms=milliseconds(resource.get("Created")),
        task_id=_text(resource, "TaskId"),
        space_id=_text(resource, "SpaceId"),
        responsible_user_id=_text(resource, "ResponsibleUserId"),
        can_take_responsibility=resource.get("CanTakeResponsibility") is True,
        has_responsibility=resource.get("HasResponsibility") is True,
        is_linked=resource.get("IsLinkedToOtherInterruption") is True,
        text="\n".join(filter(None, [title, *_texts(form)])),
        result=_text(values, "Result") or _text(values, "Guidance"),
    )


def submission(interruption: Interruption, result: str, notes: str) -> Resource:
    """What answers a manual intervention: newer servers read these fields, older ones the values of its form."""
    space = {"SpaceId": interruption.space_id} if interruption.space_id else {}
    return {"Id": interruption.id, **space, "Instructions": None, "Result": result, "Notes": notes}


def parse_event_category(resource: Resource) -> EventCategory:
    """Raises: OctopusUnreadable: no ``Id``."""
    category_id = _required(resource, "Id", "event category")
    return EventCategory(category_id, _text(resource, "Name") or category_id)


def parse_space(resource: Resource) -> Space:
    """Raises: OctopusUnreadable: no ``Id``."""
    space_id = _required(resource, "Id", "space")
    return Space(
        id=space_id,
        name=_text(resource, "Name") or space_id,
        is_default=resource.get("IsDefault") is True,
        is_queue_stopped=resource.get("TaskQueueStopped") is True,
    )


def parse_server(resource: Resource, date: str | None) -> Server:
    """The server, from the root of its API and the ``Date`` header of the answer."""
    try:
        clock_ms = round(parsedate_to_datetime(date).timestamp() * 1000) if date else None
    except ValueError:
        clock_ms = None
    return Server(_text(resource, "Application"), _text(resource, "Version"), clock_ms)


def parse_server_node(resource: Resource) -> ServerNode:
    """The node; one that lacks everything is still one."""
    cap = resource.get("MaxConcurrentTasks")
    return ServerNode(
        name=_text(resource, "Name") or _text(resource, "Id") or "(no name)",
        task_cap=cap if isinstance(cap, int) and cap > 0 else None,
        is_offline=resource.get("IsOffline") is True,
    )


def parse_user(resource: Resource) -> User:
    """Raises: OctopusUnreadable: no ``Id``."""
    user_id = _required(resource, "Id", "user")
    return User(user_id, _text(resource, "Username") or _text(resource, "DisplayName") or user_id)


def parse_permissions(resource: Resource) -> Permissions:
    """What the user may do, in spaces and in the system; before there were spaces, ``Permissions`` held both."""
    grants: dict[str, tuple[Grant, ...]] = {}
    for name in ("Permissions", "SpacePermissions", "SystemPermissions"):
        # The last of them was a list of names in some versions and had restrictions, which were empty, in others.
        value = resource.get(name)
        entries = value.items() if isinstance(value, dict) else ((entry, [{}]) for entry in _list(resource, name))
        for permission, restrictions in entries:
            found = tuple(_grant(each) for each in restrictions or [{}] if isinstance(each, dict))
            grants[str(permission)] = grants.get(str(permission), ()) + found
    return Permissions(grants, is_complete=resource.get("IsPermissionsComplete") is not False)


def _grant(restriction: Resource) -> Grant:
    limits = ("Projects", "Environments", "Tenants", "ProjectGroups")
    names = [f"RestrictedTo{limit[:-1]}Ids" for limit in limits]
    return Grant(_text(restriction, "SpaceId"), any(restriction.get(name) for name in names))


def parse_subscription(resource: Resource) -> Subscription:
    """Raises: OctopusUnreadable: no ``Id``."""
    webhook = _mapping(resource, "EventNotificationSubscription")
    filters = _mapping(webhook, "Filter")
    value = webhook.get("WebhookHeaderValue")
    return Subscription(
        id=_required(resource, "Id", "subscription"),
        name=_text(resource, "Name") or "",
        space_id=_text(resource, "SpaceId"),
        is_disabled=resource.get("IsDisabled") is True,
        url=_text(webhook, "WebhookURI"),
        header=_text(webhook, "WebhookHeaderKey"),
        secret=value if isinstance(value, str) else None,
        has_secret=bool(value) if not isinstance(value, dict) else _has_sensitive_value(value),
        categories=_ids(filters, "EventCategories"),
        filters={name: _ids(filters, name) for name in filters if name != "EventCategories" and filters[name]},
        teams=_ids(webhook, "WebhookTeams"),
        timeout=_text(webhook, "WebhookTimeout"),
        last_processed_ms=milliseconds(webhook.get("WebhookLastProcessed")),
        resource=resource,
    )


def _has_sensitive_value(value: Resource) -> bool:
    inner = value.get("SensitiveValue")
    return (inner if isinstance(inner, dict) else value).get("HasValue") is True


def subscription_body(
    spec: SubscriptionSpec, space_id: str, existing: Subscription | None = None, *, with_secret: bool = True
) -> Resource:
    """What makes *existing*, or a new subscription, what *spec* says; other fields stay as they are."""
    before = existing.resource if existing else {}
    webhook = dict(_mapping(before, "EventNotificationSubscription"))
    filters: dict[str, list[str]] = {
        name: [] for name in ("EventGroups", "DocumentTypes", *_mapping(webhook, "Filter"))
    }
    webhook |= {
        "Filter": {**filters, "EventCategories": list(spec.categories)},
        "WebhookURI": spec.url,
        "WebhookTeams": [],
        "WebhookTimeout": spec.timeout,
        "WebhookHeaderKey": spec.header,
    }
    if with_secret:
        webhook["WebhookHeaderValue"] = _sensitive(spec.secret, webhook.get("WebhookHeaderValue"))
    return {
        **({} if existing else {"Type": "Event"}),
        **before,
        "Name": spec.name,
        "SpaceId": space_id,
        "IsDisabled": False,
        "EventNotificationSubscription": webhook,
    }


def _sensitive(secret: str, before: object) -> object:
    """*secret* in the shape that the server showed: text, or an object that says whether there is a value."""
    if not isinstance(before, dict):
        return secret
    value = {"HasValue": True, "NewValue": secret, "Hint": None}
    return {**before, "SensitiveValue": value} if "SensitiveValue" in before else {**before, **value}


def parse_project(resource: Resource) -> Project:
    """Raises: OctopusUnreadable: no ``Id``."""
    project_id = _required(resource, "Id", "project")
    persistence = _mapping(resource, "PersistenceSettings")
    in_git = persistence.get("Type") == "VersionControlled" or resource.get("IsVersionControlled") is True
    return Project(
        id=project_id,
        name=_text(resource, "Name") or project_id,
        is_disabled=resource.get("IsDisabled") is True,
        process_id=_text(resource, "DeploymentProcessId"),
        branch=(_text(persistence, "DefaultBranch") or "main") if in_git else None,
    )


def parse_process(resource: Resource) -> tuple[Step, ...]:
    """The steps of a deployment process, in order.

    Raises:
        OctopusUnreadable: no list ``Steps``.
    """
    steps = resource.get("Steps")
    if not isinstance(steps, list):
        raise OctopusUnreadable("deployment process: Steps is missing: expected a list")
    return tuple(_step(step) for step in steps if isinstance(step, dict))


def _step(resource: Resource) -> Step:
    roles = _property(resource, "Octopus.Action.TargetRoles").split(",")
    packages = {"afterpackageacquisition": True, "beforepackageacquisition": False}
    return Step(
        name=_text(resource, "Name") or "",
        roles=tuple(filter(None, (role.strip() for role in roles))),
        runs_always=(_text(resource, "Condition") or "").lower() == "always",
        packages_first=packages.get((_text(resource, "PackageRequirement") or "").lower()),
        actions=tuple(_action(action) for action in _list(resource, "Actions") if isinstance(action, dict)),
    )


def _action(resource: Resource) -> Action:
    return Action(
        name=_text(resource, "Name") or "",
        type=_text(resource, "ActionType") or "",
        is_disabled=resource.get("IsDisabled") is True,
        script=_property(resource, "Octopus.Action.Script.ScriptBody"),
        template_id=_property(resource, "Octopus.Action.Template.Id") or None,
        runs_on_server=_property(resource, "Octopus.Action.RunOnServer").lower() == "true",
        packages=bool(_list(resource, "Packages")) or bool(_property(resource, "Octopus.Action.Package.PackageId")),
        instructions=_property(resource, "Octopus.Action.Manual.Instructions"),
    )


def parse_template(resource: Resource) -> Template:
    """Raises: OctopusUnreadable: no ``Id``."""
    version = resource.get("Version")
    return Template(
        id=_required(resource, "Id", "step template"),
        name=_text(resource, "Name") or "",
        version=version if isinstance(version, int) else None,
        resource=resource,
    )


def template_body(template: Resource, existing: Template | None = None) -> Resource:
    """*template*, an exported one, as a new template or in place of *existing*, whose other fields stay."""
    own = ("Name", "Description", "ActionType", "Properties", "Parameters", "Packages", "GitDependencies")
    kept = existing.resource if existing else {}
    return {**kept, **{name: template[name] for name in own if name in template}}


def parse_page(resource: Resource) -> Page:
    """Raises: OctopusUnreadable: no list ``Items``."""
    items = resource.get("Items")
    if not isinstance(items, list):
        raise OctopusUnreadable("collection: Items is missing: expected a list")
    return Page(tuple(item for item in items if isinstance(item, dict)), "Page.Next" in _mapping(resource, "Links"))


def parse_id(resource: Resource) -> str | None:
    """The id of any resource."""
    return _text(resource, "Id")


def parse_complaint(resource: object) -> str:
    """What an error answer says was wrong, or nothing."""
    if not isinstance(resource, dict):
        return ""
    errors = [entry for entry in _list(resource, "Errors") if isinstance(entry, str)]
    return " ".join(filter(None, [_text(resource, "ErrorMessage"), *errors]))[:300]


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


def _list(resource: Resource, name: str) -> list[Any]:
    value = resource.get(name)
    return value if isinstance(value, list) else []


def _property(resource: Resource, name: str) -> str:
    """A property of a step or an action: text, or an object where it is sensitive."""
    return _text(_mapping(resource, "Properties"), name) or ""


def _texts(value: object) -> Iterator[str]:
    """Every text in *value*, which came from JSON and so is no deeper than Python's stack."""
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _ids(resource: Resource, name: str) -> tuple[str, ...]:
    """A list of ids; a missing one is empty, a mangled one is not: fewer machines would be made busy than are."""
    value = resource.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise OctopusUnreadable(f"{name}: expected a list of ids")
    return tuple(value)
