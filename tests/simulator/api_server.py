"""The server itself, its spaces, and who may use it."""

from __future__ import annotations

from tests.simulator import resources
from tests.simulator.clock import Clock, iso
from tests.simulator.envelope import collection
from tests.simulator.model import Missing, Space, User
from tests.simulator.routing import OPEN, Answer, Call, Routes

routes = Routes()

#: What this server says it is; clients look at it before they use newer calls.
VERSION = "2026.3.4711"

#: Permissions that belong to no space.
SYSTEM_PERMISSIONS = ("AdministerSystem", "SpaceView", "UserView", "TeamView", "EventView", "TaskView")

#: All permissions that are checked anywhere here, for users who have them all.
SPACE_PERMISSIONS = (
    "EventView", "TaskView", "TaskCancel", "TaskEdit", "TaskCreate", "DeploymentView", "DeploymentCreate",
    "ReleaseView", "ReleaseCreate", "RunbookView", "RunbookRunView", "RunbookRunCreate", "MachineView", "MachineEdit",
    "EnvironmentView", "ProjectView", "ProcessView", "TenantView", "SubscriptionView", "SubscriptionCreate",
    "SubscriptionEdit", "SubscriptionDelete", "InterruptionView", "InterruptionViewSubmitResponsible",
    "ActionTemplateView", "ActionTemplateCreate", "ActionTemplateEdit", "ActionTemplateDelete",
)  # fmt: skip

_LINKED = ("spaces", "projects", "environments", "machines", "tasks", "deployments", "releases", "events",
           "interruptions", "subscriptions", "runbooks", "runbookRuns", "tenants", "users", "teams")  # fmt: skip


@routes("GET", "", OPEN)
def root(call: Call) -> Answer:
    base = f"/api/{call.space.id}" if call.space else "/api"
    links = {kind.capitalize(): f"{base}/{kind}{{/id}}{{?skip,take,ids,partialName}}" for kind in _LINKED}
    return {
        "Application": "Octopus Deploy", "Version": VERSION, "ApiVersion": "3.0.0", "IsEarlyAccessProgram": False,
        "InstallationId": "5f6d2c1e-0000-4000-8000-000000000001", "HasLongTermSupport": True,
        "Links": {"Self": base, "CurrentUser": "/api/users/me", "ServerStatus": "/api/serverstatus", **links},
    }  # fmt: skip


@routes("GET", "serverstatus")
def server_status(call: Call) -> Answer:
    return {"IsDatabaseEncrypted": False, "IsMajorMinorUpgrade": False, "IsInMaintenanceMode": False,
            "MaintenanceExpires": None, "IsUpgradeAvailable": False, "MaximumAvailableVersion": VERSION,
            "Links": {"Self": "/api/serverstatus", "SystemInfo": "/api/serverstatus/system-info"}}  # fmt: skip


@routes("GET", "serverstatus/system-info")
def system_info(call: Call) -> Answer:
    return {"Version": VERSION, "OSVersion": "Linux", "ClrVersion": ".NET 8", "UserName": "octopus", "Uptime": ""}


@routes("GET", "octopusservernodes")
def nodes(call: Call) -> Answer:
    return collection(call, [call.octopus], "OctopusServerNode", lambda octopus: _node(call))


@routes("GET", "octopusservernodes/all")
def all_nodes(call: Call) -> Answer:
    return [_node(call)]


@routes("GET", "octopusservernodes/summary")
def nodes_summary(call: Call) -> Answer:
    return {"Nodes": [{**_node(call), "IsOffline": False, "RunningTaskCount": len(call.octopus.engine.active)}]}


def _node(call: Call) -> resources.Resource:
    name = f"node-{call.octopus.engine.node}"
    return {"Id": f"OctopusServerNodes-{name}", "Name": name, "Rank": "Leader", "LastSeen": iso(Clock.now_ms()),
            "MaxConcurrentTasks": call.octopus.engine.cap, "IsInMaintenanceMode": False,
            "Links": {"Self": f"/api/octopusservernodes/OctopusServerNodes-{name}"}}  # fmt: skip


@routes("GET", "spaces")
def spaces(call: Call) -> Answer:
    wanted, ids = call.text("partialName").lower(), {i.lower() for i in call.texts("ids")}
    found = [s for s in _visible(call) if wanted in s.name.lower() and (not ids or s.id.lower() in ids)]
    return collection(call, found, "Space", resources.space)


@routes("GET", "spaces/all")
def all_spaces(call: Call) -> Answer:
    return [resources.space(space) for space in _visible(call)]


def _visible(call: Call) -> list[Space]:
    return [space for space in call.octopus.store.all("Spaces") if space.id not in call.user.hidden]


@routes("GET", "spaces/{space}")
def one_space(call: Call) -> Answer:
    wanted = call.ids["space"].lower()
    for space in _visible(call):
        if wanted in (space.id.lower(), space.slug.lower(), space.name.lower()):
            return resources.space(space)
    raise Missing(f"The resource '{call.ids['space']}' was not found.")


@routes("GET", "users/me")
def me(call: Call) -> Answer:
    return resources.user(call.user)


@routes("GET", "users/{user}")
def one_user(call: Call) -> Answer:
    return resources.user(call.octopus.store.get("Users", call.ids["user"]))


@routes("GET", "users/{user}/permissions")
def permissions(call: Call) -> Answer:
    """A person may see its own; those of others only who may do everything."""
    user: User = call.octopus.store.get("Users", call.ids["user"])
    if user is not call.user and not call.user.may("*"):
        raise Missing(f"The resource '{call.ids['user']}' was not found.")
    granted = [name for name in SPACE_PERMISSIONS if user.may(name)]
    granted += sorted(user.permissions - {"*"} - set(granted))
    spaces: list[Space] = [space for space in call.octopus.store.all("Spaces") if space.id not in user.hidden]
    return {
        "Id": user.id,
        "SpacePermissions": {name: [_everywhere(space) for space in spaces] for name in granted},
        "SystemPermissions": [name for name in SYSTEM_PERMISSIONS if user.may("*")],
        "Teams": [{"Id": team.id, "Name": team.name} for team in call.octopus.store.all("Teams")
                  if team.id in user.teams or "*" in user.teams],
        "IsPermissionsComplete": True, "IsTeamsComplete": True,
        "Links": {"Self": f"/api/users/{user.id}/permissions"},
    }  # fmt: skip


def _everywhere(space: Space) -> resources.Resource:
    names = ("Projects", "Environments", "Tenants", "ProjectGroups")
    return {**{f"RestrictedTo{name.removesuffix('s')}Ids": [] for name in names}, "SpaceId": space.id}


@routes("GET", "teams")
def teams(call: Call) -> Answer:
    return collection(call, call.octopus.store.all("Teams"), "Team", resources.team)


@routes("GET", "teams/all")
def all_teams(call: Call) -> Answer:
    return [resources.team(team) for team in call.octopus.store.all("Teams")]
