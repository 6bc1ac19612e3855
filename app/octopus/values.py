"""What octowait knows of Octopus, as values; `app.octopus.parse` makes them from resources.

Times are milliseconds since the epoch by Octopus's clock, None where Octopus did not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.plan import Selection
from app.octopus.header_value import HeaderValue

Resource = Mapping[str, Any]

#: States in which a task takes one of the slots of the task cap.
_BUSY = frozenset({"executing", "cancelling"})

#: How different versions spell the end of a cancelled task.
_CANCELED = frozenset({"canceled", "cancelled"})


@dataclass(frozen=True)
class Machine:
    """A deployment target; its name is its id where Octopus did not say, and *tags* are its target tags or None."""

    id: str
    name: str
    tags: frozenset[str] | None = None


@dataclass(frozen=True)
class Task:
    """A server task. One of *deployment_id* and *runbook_run_id*, or neither for tasks of other kinds.

    *name* is its kind, e.g. ``Deploy`` or ``RunbookRun``; *url* is where people look at it.
    *has_pending_interruptions* is what the task says of itself, which can be out of date: only its interruptions tell.
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
    has_pending_preconditions: bool = False
    #: The node of the server that runs it; another one later is the same run, after a restart.
    server_node: str | None = None
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
    def awaits_approval(self) -> bool:
        """Whether it waits for an approval before its start: it has not begun, and holds nothing."""
        is_queued = self.state.lower() == "queued"
        return is_queued and self.has_pending_preconditions and not self.has_pending_interruptions

    @property
    def has_begun(self) -> bool:
        """Whether it may be at work on machines: it runs, is paused, or waits for a slot to go on.

        One that waits in the queue for its first slot, or for an approval, has touched none.
        """
        if self.is_completed or self.awaits_approval:
            return False
        return self.is_running or self.is_paused or self.start_ms is not None

    @property
    def is_canceled(self) -> bool:
        """Whether it has ended by being cancelled or abandoned, which look alike."""
        return self.state.lower() in _CANCELED

    @property
    def uses_machines(self) -> bool:
        """Whether it is a deployment or a runbook run, rather than a task of Octopus's own."""
        return bool(self.deployment_id or self.runbook_run_id)


@dataclass(frozen=True)
class GitReference:
    """Where in Git a process was read from. *ref* is a branch or tag, e.g. ``refs/heads/main``."""

    ref: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class Deployment:
    """What was deployed where. *specific* empty means all machines that its steps apply to.

    *included_tags* and *excluded_tags* are ids of target tags, *skipped_actions* of actions; *deployed_to* is perhaps
    not complete while it runs. *process_id* is that of its release's snapshot.
    """

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
    included_tags: tuple[str, ...] = ()
    excluded_tags: tuple[str, ...] = ()
    skipped_actions: tuple[str, ...] = ()
    process_id: str | None = None

    @property
    def selection(self) -> Selection:
        """What it says of its machines."""
        return _selection(self)

    @property
    def plan_source(self) -> PlanSource | None:
        """What its preview is asked for by; None where it does not say."""
        if not self.release_id or not self.environment_id:
            return None
        return PlanSource(self.environment_id, self.tenant_id, release_id=self.release_id)


@dataclass(frozen=True)
class RunbookRun:
    """What ran where, as `Deployment`; *process_id* is that of its snapshot, *git* where its runbook is kept in Git."""

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
    included_tags: tuple[str, ...] = ()
    excluded_tags: tuple[str, ...] = ()
    skipped_actions: tuple[str, ...] = ()
    process_id: str | None = None
    snapshot_id: str | None = None
    git: GitReference | None = None

    @property
    def selection(self) -> Selection:
        """What it says of its machines."""
        return _selection(self)

    @property
    def plan_source(self) -> PlanSource | None:
        """What its preview is asked for by; None where it does not say."""
        if not self.environment_id or not (self.runbook_id or self.snapshot_id):
            return None
        return PlanSource(
            self.environment_id, self.tenant_id, runbook_id=self.runbook_id, snapshot_id=self.snapshot_id,
            project_id=self.project_id, git=self.git,
        )  # fmt: skip


def _selection(run: Deployment | RunbookRun) -> Selection:
    return Selection(
        specific=run.specific,
        excluded=run.excluded,
        included_tags=run.included_tags,
        excluded_tags=run.excluded_tags,
        skipped_actions=run.skipped_actions,
        deployed_to=run.deployed_to,
    )


@dataclass(frozen=True)
class PlanSource:
    """What a preview is asked for by: a release, or a runbook or its snapshot. Runs with the same one share it."""

    environment_id: str
    tenant_id: str | None = None
    release_id: str | None = None
    runbook_id: str | None = None
    snapshot_id: str | None = None
    project_id: str | None = None
    git: GitReference | None = None


@dataclass(frozen=True)
class Interruption:
    """A question of a task to a person.

    *text* is its title and every text in its form, a line each; *instructions* are those of its step, filled in;
    *result* is what was answered, where Octopus says so. A linked one is answered by answering the one of a child
    deployment.
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
    instructions: str = ""


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
    header_value: HeaderValue = field(default=HeaderValue(), repr=False)


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

    *instructions* are what a manual intervention shows; *parameters* the names of its properties. *is_scoped*: it runs
    in some environments, channels or tenants only, or on a condition.
    """

    name: str
    type: str
    is_disabled: bool
    script: str
    template_id: str | None
    runs_on_server: bool
    packages: bool
    instructions: str
    id: str | None = None
    parameters: frozenset[str] = frozenset()
    is_scoped: bool = False


@dataclass(frozen=True)
class Step:
    """A step of a process. *roles* empty: on no targets of its own; *packages_first*: behind package acquisition.

    *packages_first* is None where Octopus decides. *starts_beside*: together with the step before it; *is_conditional*:
    it runs on an expression, or only after a failure.
    """

    name: str
    roles: tuple[str, ...]
    runs_always: bool
    packages_first: bool | None
    actions: tuple[Action, ...]
    starts_beside: bool = False
    is_conditional: bool = False


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
