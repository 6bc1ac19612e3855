"""What octowait knows of Octopus, as values; `app.octopus.parse` makes them from resources.

Times are milliseconds since the epoch by Octopus's clock, None where Octopus did not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Resource = Mapping[str, Any]

#: States in which a task takes one of the slots of the task cap.
_BUSY = frozenset({"executing", "cancelling"})

#: How different versions spell the end of a cancelled task.
_CANCELED = frozenset({"canceled", "cancelled"})


@dataclass(frozen=True)
class Machine:
    """A deployment target; its name is its id where Octopus did not say."""

    id: str
    name: str


@dataclass(frozen=True)
class Task:
    """A server task. One of *deployment_id* and *runbook_run_id*, or neither for tasks of other kinds.

    *name* is its kind, e.g. ``Deploy`` or ``RunbookRun``; *url* is where people look at it.
    """

    id: str
    state: str
    is_completed: bool
    space_id: str | None
    deployment_id: str | None
    runbook_run_id: str | None
    name: str | None = None
    project_id: str | None = None
    queue_ms: int | None = None
    start_ms: int | None = None
    completed_ms: int | None = None
    has_pending_interruptions: bool = False
    finished_successfully: bool = False
    url: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it takes a slot of the task cap: it executes, or is being cancelled."""
        return self.state.lower() in _BUSY

    @property
    def is_paused(self) -> bool:
        """Whether it waits for a person: Queued for a stand-alone step, else Executing."""
        return self.has_pending_interruptions and not self.is_completed

    @property
    def is_canceled(self) -> bool:
        """Whether it has ended by being cancelled or abandoned, which look alike."""
        return self.state.lower() in _CANCELED

    @property
    def uses_machines(self) -> bool:
        """Whether it is a deployment or a runbook run, rather than a task of Octopus's own."""
        return bool(self.deployment_id or self.runbook_run_id)


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
    runbook_id: str | None = None


@dataclass(frozen=True)
class Interruption:
    """A question of a task to a person.

    *text* is its title and every text in its form, a line each; *result* is what was answered, where Octopus says so.
    A linked one is answered by answering the one of a child deployment.
    """

    id: str
    title: str
    type: str
    is_pending: bool
    created_ms: int | None
    task_id: str | None
    space_id: str | None
    responsible_user_id: str | None
    can_take_responsibility: bool
    has_responsibility: bool
    is_linked: bool
    text: str
    result: str | None


@dataclass(frozen=True)
class EventCategory:
    """A kind of event; *name* is what people read, *id* what filters and events carry."""

    id: str
    name: str


@dataclass(frozen=True)
class Space:
    """A space; no task of it starts while its queue is stopped."""

    id: str
    name: str
    is_default: bool
    is_queue_stopped: bool


@dataclass(frozen=True)
class Server:
    """The server that answered; *clock_ms* is what it gave as the time, in whole seconds."""

    application: str | None
    version: str | None
    clock_ms: int | None


@dataclass(frozen=True)
class ServerNode:
    """One node; *task_cap* is how many tasks it runs at once."""

    name: str
    task_cap: int | None
    is_offline: bool


@dataclass(frozen=True)
class User:
    """Who the API key belongs to."""

    id: str
    name: str


@dataclass(frozen=True)
class Grant:
    """One grant of a permission: in a space, or without one everywhere; restricted, it is about some documents only."""

    space_id: str | None
    is_restricted: bool


@dataclass(frozen=True)
class Permissions:
    """What a user may do: grants by name of the permission. Not complete: the user may not see all of them."""

    grants: Mapping[str, tuple[Grant, ...]]
    is_complete: bool


@dataclass(frozen=True)
class SubscriptionSpec:
    """What a subscription should be. *timeout* is as Octopus writes it, ``hh:mm:ss``."""

    name: str
    url: str
    header: str
    secret: str = field(repr=False)
    categories: tuple[str, ...] = ()
    timeout: str = "00:00:30"


@dataclass(frozen=True)
class Subscription:
    """A subscription that calls a URL.

    *filters* are those beside the categories that are not empty, by their names in Octopus; each of them can keep
    events back. *secret* is None where the server keeps it to itself; *has_secret* then says whether there is one.
    *resource* is all of it, as Octopus wrote it.
    """

    id: str
    name: str
    space_id: str | None
    is_disabled: bool
    url: str | None
    header: str | None
    secret: str | None = field(repr=False)
    has_secret: bool
    categories: tuple[str, ...]
    filters: Mapping[str, tuple[str, ...]]
    teams: tuple[str, ...]
    timeout: str | None
    last_processed_ms: int | None
    resource: Resource = field(repr=False)


@dataclass(frozen=True)
class Project:
    """A project; the deployment process of one with a *branch* is kept in Git."""

    id: str
    name: str
    is_disabled: bool
    process_id: str | None
    branch: str | None


@dataclass(frozen=True)
class Action:
    """What a step does. *runs_on_server*: on the server or a worker; *packages*: it fetches some.

    *instructions* are what a manual intervention shows.
    """

    name: str
    type: str
    is_disabled: bool
    script: str
    template_id: str | None
    runs_on_server: bool
    packages: bool
    instructions: str


@dataclass(frozen=True)
class Step:
    """A step of a process. *roles* empty: on no targets of its own; *packages_first*: behind package acquisition.

    *packages_first* is None where Octopus decides.
    """

    name: str
    roles: tuple[str, ...]
    runs_always: bool
    packages_first: bool | None
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Template:
    """A step template. *resource* is all of it, as Octopus wrote it."""

    id: str
    name: str
    version: int | None
    resource: Resource = field(repr=False)


@dataclass(frozen=True)
class Page:
    """Some of a collection, and whether there are more."""

    items: tuple[Resource, ...]
    has_next: bool
