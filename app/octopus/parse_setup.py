"""How Octopus is set up as values, and values as resources; with parse_runs.py the only place with its field names.

Fields come and go with the version of Octopus, so only what nothing can be done without is demanded.
Source: the REST API reference of 2026.3, canned responses and models of OctopusClients.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from app.domain.events import milliseconds
from app.octopus.errors import OctopusUnreadable
from app.octopus.fields import array, ids, mapping, property_text, required, text
from app.octopus.header_value import HeaderValue, object_of, parse_header_value
from app.octopus.values import (
    Action,
    Grant,
    Permissions,
    Project,
    Resource,
    Server,
    ServerNode,
    Space,
    Step,
    Subscription,
    SubscriptionSpec,
    Template,
    User,
)


def parse_space(resource: Resource) -> Space:
    """Raises: OctopusUnreadable: no ``Id``."""
    space_id = required(resource, "Id", "space")
    return Space(
        id=space_id,
        name=text(resource, "Name") or space_id,
        is_default=resource.get("IsDefault") is True,
        is_queue_stopped=resource.get("TaskQueueStopped") is True,
    )


def parse_server(resource: Resource, date: str | None) -> Server:
    """The server, from the root of its API and the ``Date`` header of the answer."""
    try:
        clock_ms = round(parsedate_to_datetime(date).timestamp() * 1000) if date else None
    except ValueError:
        clock_ms = None
    return Server(text(resource, "Application"), text(resource, "Version"), clock_ms)


def parse_server_node(resource: Resource) -> ServerNode:
    """The node; one that lacks everything is still one."""
    cap = resource.get("MaxConcurrentTasks")
    return ServerNode(
        name=text(resource, "Name") or text(resource, "Id") or "(no name)",
        task_cap=cap if isinstance(cap, int) and cap > 0 else None,
        is_offline=resource.get("IsOffline") is True,
    )


def parse_user(resource: Resource) -> User:
    """Raises: OctopusUnreadable: no ``Id``."""
    user_id = required(resource, "Id", "user")
    return User(user_id, text(resource, "Username") or text(resource, "DisplayName") or user_id)


def parse_permissions(resource: Resource) -> Permissions:
    """What the user may do, in spaces and in the system; before there were spaces, ``Permissions`` held both."""
    grants: dict[str, tuple[Grant, ...]] = {}
    for name in ("Permissions", "SpacePermissions", "SystemPermissions"):
        # The last of them was a list of names in some versions and had restrictions, which were empty, in others.
        value = resource.get(name)
        entries = value.items() if isinstance(value, dict) else ((entry, [{}]) for entry in array(resource, name))
        for permission, restrictions in entries:
            found = tuple(_grant(each) for each in restrictions or [{}] if isinstance(each, dict))
            grants[str(permission)] = grants.get(str(permission), ()) + found
    return Permissions(grants, is_complete=resource.get("IsPermissionsComplete") is not False)


def _grant(restriction: Resource) -> Grant:
    limits = ("Projects", "Environments", "Tenants", "ProjectGroups")
    names = [f"RestrictedTo{limit[:-1]}Ids" for limit in limits]
    return Grant(text(restriction, "SpaceId"), any(restriction.get(name) for name in names))


def parse_subscription(resource: Resource) -> Subscription:
    """Raises: OctopusUnreadable: no ``Id``."""
    webhook = mapping(resource, "EventNotificationSubscription")
    filters = mapping(webhook, "Filter")
    is_told = "WebhookHeaderValue" in webhook
    value = parse_header_value(webhook["WebhookHeaderValue"]) if is_told else HeaderValue(is_told=False)
    return Subscription(
        id=required(resource, "Id", "subscription"),
        name=text(resource, "Name") or "",
        space_id=text(resource, "SpaceId"),
        is_disabled=resource.get("IsDisabled") is True,
        url=text(webhook, "WebhookURI"),
        header=text(webhook, "WebhookHeaderKey"),
        secret=value.value,
        has_secret=value.is_set,
        header_value=value,
        categories=ids(filters, "EventCategories"),
        filters={name: ids(filters, name) for name in filters if name != "EventCategories" and filters[name]},
        teams=ids(webhook, "WebhookTeams"),
        timeout=text(webhook, "WebhookTimeout"),
        last_processed_ms=milliseconds(webhook.get("WebhookLastProcessed")),
        resource=resource,
    )


def subscription_body(
    spec: SubscriptionSpec, space_id: str, existing: Subscription | None = None, *, as_object: bool
) -> Resource:
    """What makes *existing*, or a new subscription, what *spec* says; other fields stay as they are.

    Args:
        as_object: Write the secret as a sensitive value, rather than as a text.
    """
    before = existing.resource if existing else {}
    webhook = dict(mapping(before, "EventNotificationSubscription"))
    filters: dict[str, list[str]] = {name: [] for name in ("EventGroups", "DocumentTypes", *mapping(webhook, "Filter"))}
    webhook |= {
        "Filter": {**filters, "EventCategories": list(spec.categories)},
        "WebhookURI": spec.url,
        "WebhookTeams": [],
        "WebhookTimeout": spec.timeout,
        "WebhookHeaderKey": spec.header,
    }
    before_value = webhook.get("WebhookHeaderValue")
    webhook["WebhookHeaderValue"] = object_of(spec.secret, before_value) if as_object else spec.secret
    return {
        **({} if existing else {"Type": "Event"}),
        **before,
        "Name": spec.name,
        "SpaceId": space_id,
        "IsDisabled": False,
        "EventNotificationSubscription": webhook,
    }


def parse_project(resource: Resource) -> Project:
    """Raises: OctopusUnreadable: no ``Id``."""
    project_id = required(resource, "Id", "project")
    persistence = mapping(resource, "PersistenceSettings")
    in_git = persistence.get("Type") == "VersionControlled" or resource.get("IsVersionControlled") is True
    return Project(
        id=project_id,
        name=text(resource, "Name") or project_id,
        is_disabled=resource.get("IsDisabled") is True,
        process_id=text(resource, "DeploymentProcessId"),
        branch=(text(persistence, "DefaultBranch") or "main") if in_git else None,
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
    roles = property_text(resource, "Octopus.Action.TargetRoles").split(",")
    packages = {"afterpackageacquisition": True, "beforepackageacquisition": False}
    return Step(
        name=text(resource, "Name") or "",
        roles=tuple(filter(None, (role.strip() for role in roles))),
        runs_always=(text(resource, "Condition") or "").lower() == "always",
        packages_first=packages.get((text(resource, "PackageRequirement") or "").lower()),
        actions=tuple(_action(action) for action in array(resource, "Actions") if isinstance(action, dict)),
        starts_beside=(text(resource, "StartTrigger") or "").lower() == "startwithprevious",
        is_conditional=(text(resource, "Condition") or "success").lower() not in ("success", "always"),
    )


#: What keeps an action from running everywhere.
_SCOPES = (
    "Environments", "ExcludedEnvironments", "Channels", "TenantTags",
    "EnvironmentsVariable", "ExcludedEnvironmentsVariable", "ChannelsVariable", "TenantTagsVariable",
)  # fmt: skip


def _action(resource: Resource) -> Action:
    return Action(
        name=text(resource, "Name") or "",
        type=text(resource, "ActionType") or "",
        is_disabled=resource.get("IsDisabled") is True,
        script=property_text(resource, "Octopus.Action.Script.ScriptBody"),
        template_id=property_text(resource, "Octopus.Action.Template.Id") or None,
        runs_on_server=property_text(resource, "Octopus.Action.RunOnServer").lower() == "true",
        packages=bool(array(resource, "Packages")) or bool(property_text(resource, "Octopus.Action.Package.PackageId")),
        instructions=property_text(resource, "Octopus.Action.Manual.Instructions"),
        id=text(resource, "Id"),
        parameters=frozenset(mapping(resource, "Properties")),
        is_scoped=any(resource.get(name) for name in _SCOPES)
        or (text(resource, "Condition") or "success").lower() not in ("success", "always"),
    )


def parse_template(resource: Resource) -> Template:
    """Raises: OctopusUnreadable: no ``Id``."""
    version = resource.get("Version")
    return Template(
        id=required(resource, "Id", "step template"),
        name=text(resource, "Name") or "",
        version=version if isinstance(version, int) else None,
        resource=resource,
    )


def template_body(template: Resource, existing: Template | None = None) -> Resource:
    """*template*, an exported one, as a new template or in place of *existing*, whose other fields stay."""
    own = ("Name", "Description", "ActionType", "Properties", "Parameters", "Packages", "GitDependencies")
    kept = existing.resource if existing else {}
    return {**kept, **{name: template[name] for name in own if name in template}}
