"""The server itself: its spaces, its nodes, and what the user of the API key may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import PlainValidator

from app.octopus import answers
from app.octopus.fields import WHOLE, Demanded, Flag, Name, Number, Text, Value, at, first_text
from app.octopus.resources import ALL_SPACES, Resources
from app.octopus.shapes import Resource, list_of, text
from app.octopus.transport import Call


@dataclass(frozen=True)
class Space(Value):
    """A space; no task of it starts while its queue is stopped."""

    id: Demanded
    name: Name
    is_queue_stopped: Annotated[Flag, at("TaskQueueStopped")] = False


@dataclass(frozen=True)
class Server:
    """The server that answered; *clock_ms* is what it gave as the time, in whole seconds."""

    application: str | None
    version: str | None
    clock_ms: int | None


def parse_server(resource: Resource, date_ms: int | None) -> Server:
    """The server, from the root of its API and the time that the answer says."""
    return Server(text(resource, "Application"), text(resource, "Version"), date_ms)


@dataclass(frozen=True)
class ServerNode(Value):
    """One node; *task_cap* is how many tasks it runs at once. One that lacks everything is still one."""

    name: Annotated[str, first_text("Name", "Id", default="(no name)"), WHOLE]
    task_cap: Annotated[Number, at("MaxConcurrentTasks")] = None
    is_offline: Flag = False


@dataclass(frozen=True)
class User(Value):
    """Who the API key belongs to."""

    id: Demanded
    name: Annotated[str, first_text("Username", "DisplayName", "Id"), WHOLE]


#: What restricts a grant to some documents.
_LIMITS = ("RestrictedToProjectIds", "RestrictedToEnvironmentIds", "RestrictedToTenantIds",
           "RestrictedToProjectGroupIds")  # fmt: skip


@dataclass(frozen=True)
class Grant(Value):
    """One grant of a permission: in a space, or without one everywhere; restricted, it is about some documents only."""

    space_id: Text = None
    is_restricted: Annotated[bool, PlainValidator(lambda grant: any(map(grant.get, _LIMITS))), WHOLE] = False


@dataclass(frozen=True)
class Permissions:
    """What a user may do: grants by name of the permission. Not complete: the user may not see all of them."""

    grants: Mapping[str, tuple[Grant, ...]]
    is_complete: bool


def parse_permissions(resource: Resource) -> Permissions:
    """What the user may do, in spaces and in the system; before there were spaces, ``Permissions`` held both."""
    grants: dict[str, tuple[Grant, ...]] = {}
    for name in ("Permissions", "SpacePermissions", "SystemPermissions"):
        # The last of them was a list of names in some versions and had restrictions, which were empty, in others.
        value = resource.get(name)
        entries = value.items() if isinstance(value, dict) else ((entry, [{}]) for entry in list_of(value))
        for permission, restrictions in entries:
            granted = tuple(Grant.read(each) for each in list_of(restrictions) or [{}] if isinstance(each, dict))
            grants[str(permission)] = grants.get(str(permission), ()) + granted
    return Permissions(grants, is_complete=resource.get("IsPermissionsComplete") is not False)


class ServerCalls(Resources):
    """Calls about the server."""

    def server(self) -> Server:
        """What answers there, and the time it gave; needs no valid key."""
        call = Call("GET", "/api", "server")
        answer = self._transport.send(call, self._policy)
        return parse_server(answers.resource(answer, str(call)), answers.date_of(answer))

    def server_nodes(self) -> tuple[ServerNode, ...]:
        """The nodes with their task caps; Octopus Cloud and most keys do not show them."""
        return ServerNode.read_all(self._items(None, "octopusservernodes"))

    def spaces(self) -> tuple[Space, ...]:
        """The spaces that the key may see."""
        return Space.read_all(self._items(None, "spaces"))

    def me(self) -> User:
        """Who the API key belongs to."""
        return User.read(self._get(None, "users", "me"))

    def permissions(self, user_id: str) -> Permissions:
        """What the user may do, in all spaces and in the system."""
        query = {"includeSystem": "true", "spaces": ALL_SPACES}
        return parse_permissions(self._get(None, "users", user_id, "permissions", query=query))
