"""The documents of a server and where they are kept.

Everything here is read and written under `Store.lock`, which is also what makes the task queue atomic.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tests.simulator.mutex import Mutex
from tests.simulator.steps import Step

if TYPE_CHECKING:
    from tests.simulator.activity import Activity
    from tests.simulator.activitylog import Node
    from tests.simulator.record import RunRecord

#: All task states.
STATES = ("Queued", "Executing", "Cancelling", "Success", "Failed", "Canceled", "TimedOut")

#: Task states that are ends.
COMPLETED = frozenset({"Success", "Failed", "Canceled", "TimedOut"})

#: Task states that use a slot of the task cap.
ACTIVE = frozenset({"Executing", "Cancelling"})


#: Styles of targets whose scripts take the mutex of a Tentacle.
TENTACLES = frozenset({"TentaclePassive", "TentacleActive", "Ssh"})


class Missing(LookupError):
    """No document has this id, or this name."""


class Invalid(ValueError):
    """What was asked for makes no sense here; the message is for the person who asked."""


class Denied(Exception):
    """Who asked may not do this; the message says why."""


class Document(Protocol):
    id: str


Kept = TypeVar("Kept", bound=Document)


@dataclass(kw_only=True)
class Space:
    id: str
    name: str
    slug: str
    is_default: bool = False


@dataclass(kw_only=True)
class User:
    """Who an API key is. *permissions* may hold ``*`` for all."""

    id: str
    name: str
    api_key: str
    permissions: frozenset[str]
    teams: tuple[str, ...] = ()
    is_service: bool = False
    #: Ids of spaces that this user may not see.
    hidden: set[str] = field(default_factory=set)

    def may(self, permission: str) -> bool:
        return "*" in self.permissions or permission in self.permissions


@dataclass(kw_only=True)
class Team:
    id: str
    name: str


@dataclass(kw_only=True)
class Environment:
    """*parent_id*: an environment whose targets serve this one too, as of ephemeral ones."""

    id: str
    space_id: str
    name: str
    parent_id: str | None = None


@dataclass(kw_only=True)
class Tenant:
    id: str
    space_id: str
    name: str


@dataclass(kw_only=True)
class Machine:
    """A deployment target; *environment_ids* None means every environment of the space.

    Attributes:
        tenant_ids: The tenants whose deployments use it, and no untenanted one; None: all deployments do.
        tags: Ids of target tags (``TagSets-1/Tags-9``); None: this server does not show them.
        style: ``CommunicationStyle`` of its endpoint.
    """

    id: str
    space_id: str
    name: str
    roles: tuple[str, ...] = ()
    environment_ids: tuple[str, ...] | None = None
    tenant_ids: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    style: str = "TentaclePassive"
    is_disabled: bool = False
    mutex: Mutex = field(default_factory=Mutex)

    def is_in(self, environment_id: str) -> bool:
        return self.environment_ids is None or environment_id in self.environment_ids

    def serves(self, tenant: Tenant | None) -> bool:
        return self.tenant_ids is None or (tenant is not None and tenant.id in self.tenant_ids)

    def held(self, activity: Activity) -> AbstractContextManager[None]:
        """Its mutex, if it has a Tentacle: scripts for other targets run on workers and exclude nobody."""
        return self.mutex.held(activity) if self.style in TENTACLES else nullcontext()


@dataclass(kw_only=True)
class Project:
    id: str
    space_id: str
    name: str
    slug: str
    steps: tuple[Step, ...]
    variables: dict[str, str] = field(default_factory=dict)
    channel_id: str = ""
    concurrency_tag: str | None = None
    releases: int = 0
    #: Its runbooks are kept in Git.
    is_in_git: bool = False
    #: False: no Started event is raised, as on the new pipeline of 2025.2.
    tells_starts: bool = True
    #: A full run that is queued cancels older queued ones; one that succeeds cancels older paused ones.
    cancels_queued: bool = False
    cancels_running: bool = False
    #: Its tasks wait for an approval before they start.
    needs_approval: bool = False
    #: A policy fails its tasks at their start.
    is_blocked_by_policy: bool = False
    #: The processes that its runs were made with, by snapshot id.
    snapshots: dict[str, tuple[Step, ...]] = field(default_factory=dict)

    def snapshot(self, process_id: str, steps: tuple[Step, ...]) -> str:
        """The id of the frozen *steps* of a process: a new one where they have changed since the last."""
        known = [each for each in self.snapshots if each.startswith(f"{process_id}-s-")]
        if not known or self.snapshots[known[-1]] != steps:
            known.append(f"{process_id}-s-{len(known) + 1}")
            self.snapshots[known[-1]] = steps
        return known[-1]


@dataclass(kw_only=True)
class Runbook:
    """*processes*: its steps by snapshot id, or by Git reference where it is kept in Git; *current* is the published
    snapshot, or the default branch."""

    id: str
    space_id: str
    name: str
    project: Project
    processes: dict[str, tuple[Step, ...]]
    current: str
    snapshot_id: str
    is_in_git: bool = False

    @property
    def slug(self) -> str:
        return self.name.lower().replace(" ", "-")

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.processes[self.current]

    @property
    def shown_id(self) -> str:
        """What runs call it: one in Git has no id but its slug."""
        return self.slug if self.is_in_git else self.id


@dataclass(kw_only=True)
class Release:
    """*steps*: the process of its project as it was when it was made."""

    id: str
    space_id: str
    project: Project
    version: str
    assembled_ms: int
    steps: tuple[Step, ...]
    notes: str = ""


@dataclass(kw_only=True)
class Freeze:
    """A deployment freeze of the whole server: which environments of which projects, from when to when."""

    id: str
    name: str
    scope: dict[str, tuple[str, ...]]
    start_ms: int
    end_ms: int

    def covers(self, deployment: Deployment, at_ms: int) -> bool:
        """Whether *deployment* may not start then."""
        environments = self.scope.get(deployment.project.id, ())
        return self.start_ms <= at_ms < self.end_ms and deployment.environment.id in environments


@dataclass(kw_only=True)
class Deployment:
    """A deployment, or a runbook run when *runbook* is there."""

    id: str
    space_id: str
    project: Project
    environment: Environment
    created_ms: int
    created_by: User
    steps: tuple[Step, ...]
    tenant: Tenant | None = None
    release: Release | None = None
    runbook: Runbook | None = None
    task_id: str = ""
    #: The snapshot of the process that it was made with.
    process_id: str = ""
    specific: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    specific_tags: tuple[str, ...] = ()
    excluded_tags: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    #: The snapshot or Git reference that a runbook run uses.
    reference: str = ""
    #: Ids of freezes that somebody overrode.
    overridden: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    comments: str = ""
    use_guided_failure: bool = False
    deployed_to: list[str] = field(default_factory=list)
    failure_encountered: bool = False
    parent_task_id: str | None = None

    @property
    def name(self) -> str:
        return f"Deploy to {self.environment.name}" if self.runbook is None else f"Run {self.runbook.name}"

    @property
    def word(self) -> str:
        """What event categories start with."""
        return "Deployment" if self.runbook is None else "RunbookRun"

    @property
    def process(self) -> Project | Runbook:
        """Whose steps it runs."""
        return self.runbook or self.project

    def takes(self, machine: Machine) -> bool:
        """Whether it was not asked to leave *machine* out."""
        tags = set(machine.tags or ())
        is_chosen = machine.id in self.specific or bool(tags & set(self.specific_tags))
        is_out = machine.id in self.excluded or bool(tags & set(self.excluded_tags))
        return not is_out and (is_chosen or not (self.specific or self.specific_tags))

    @property
    def is_full(self) -> bool:
        """Whether it runs all steps on all machines."""
        return not (self.specific or self.excluded or self.specific_tags or self.excluded_tags or self.skipped)


@dataclass(kw_only=True)
class Task:
    """A server task; the fields of a re-run start anew, *runs* keeps what was.

    Attributes:
        planned: The machines that it will run on.
        only: Those that a trigger started it for, whatever its deployment excluded; empty: no trigger did.
        awaits_approval: It is queued and may not start.
        is_resting: The server went away while it was active; it goes on where it was.
        is_system: It belongs to no space.
    """

    id: str
    space_id: str
    name: str
    description: str
    queue_ms: int
    sequence: int = 0
    arguments: dict[str, str] = field(default_factory=dict)
    state: str = "Queued"
    expires_ms: int | None = None
    start_ms: int | None = None
    completed_ms: int | None = None
    updated_ms: int = 0
    error: str = ""
    has_warnings: bool = False
    counts: bool = True
    planned: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    awaits_approval: bool = False
    is_resting: bool = False
    is_system: bool = False
    node: str | None = None
    canceled_by: User | None = None
    tag: str | None = None
    deployment: Deployment | None = None
    activity: Activity | None = None
    log: Node | None = None
    runs: list[RunRecord] = field(default_factory=list)
    interruptions: list[Interruption] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_completed(self) -> bool:
        return self.state in COMPLETED

    @property
    def pending(self) -> list[Interruption]:
        return [interruption for interruption in self.interruptions if interruption.is_pending]

    @property
    def is_paused(self) -> bool:
        """Waits for a person without a slot."""
        return self.state == "Queued" and bool(self.pending)

    @property
    def is_full(self) -> bool:
        """Whether it runs all steps on all machines."""
        return self.deployment is not None and self.deployment.is_full and not self.only


@dataclass(kw_only=True)
class Interruption:
    id: str
    space_id: str
    task: Task
    type: str
    title: str
    created_ms: int
    instructions: str = ""
    teams: tuple[str, ...] = ()
    is_pending: bool = True
    responsible: User | None = None
    answer: dict[str, str] = field(default_factory=dict)
    answered_by: str = ""
    #: Set when it was answered; for a stand-alone one the task is queued again as well.
    answered: threading.Event = field(default_factory=threading.Event)
    frees_slot: bool = False


@dataclass(kw_only=True)
class Event:
    id: str
    auto_id: int
    space_id: str
    category: str
    occurred_ms: int
    related: tuple[str, ...]
    message: str
    references: tuple[tuple[str, int, int], ...]
    user: User | None
    project_id: str | None = None
    environment_id: str | None = None
    tenant_id: str | None = None
    is_system: bool = False


@dataclass(kw_only=True)
class Subscription:
    """*settings* is the EventNotificationSubscription as it was written, without the secret."""

    id: str
    space_id: str
    name: str
    settings: dict[str, Any]
    secret: str | None = None
    is_disabled: bool = False
    last_processed_ms: int | None = None
    last_auto_id: int = 0


@dataclass(kw_only=True)
class Template:
    """A step template; *fields* is all that was sent."""

    id: str
    space_id: str
    name: str
    fields: dict[str, Any]
    version: int = 1


class Store:
    """Documents by kind (``Machines``) and id, ids compared without regard to letter case."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._kinds: dict[str, dict[str, Any]] = defaultdict(dict)
        self._numbers: dict[str, int] = defaultdict(int)

    def new_id(self, kind: str) -> str:
        self._numbers[kind] += 1
        return f"{kind}-{self._numbers[kind]}"

    def put(self, document: Kept) -> Kept:
        self._kinds[_kind(document.id)][document.id.lower()] = document
        return document

    def get(self, kind: str, document_id: str) -> Any:
        """Raises: Missing."""
        found = self._kinds[kind.lower()].get(document_id.lower())
        if found is None:
            raise Missing(f"The resource '{document_id}' was not found.")
        return found

    def all(self, kind: str) -> list[Any]:
        """In the order in which they were made."""
        return list(self._kinds[kind.lower()].values())

    def named(self, kind: str, id_or_name: str, space_id: str | None = None) -> Any:
        """By id, or by name within the space. Raises: Missing."""
        wanted = id_or_name.lower()
        found = self._kinds[kind.lower()].get(wanted)
        if found is not None:
            return found
        for document in self._kinds[kind.lower()].values():
            if document.name.lower() == wanted and space_id in (None, getattr(document, "space_id", None)):
                return document
        raise Missing(f"The resource '{id_or_name}' was not found.")

    def remove(self, document: Document) -> None:
        self._kinds[_kind(document.id)].pop(document.id.lower(), None)


def _kind(document_id: str) -> str:
    return document_id.rpartition("-")[0].lower()


def number_of(document_id: str) -> int:
    """The number in an id: 4711 of ``ServerTasks-4711``."""
    return int(document_id.rpartition("-")[2])
