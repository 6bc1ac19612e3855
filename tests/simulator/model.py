"""The documents of a server and where they are kept.

Everything here is read and written under `Store.lock`, which is also what makes the task queue atomic.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tests.simulator.mutex import Mutex
from tests.simulator.steps import Step

if TYPE_CHECKING:
    from tests.simulator.activity import Activity
    from tests.simulator.activitylog import Node
    from tests.simulator.record import RunRecord

#: Task states that are ends.
COMPLETED = frozenset({"Success", "Failed", "Canceled", "TimedOut"})

#: Task states that use a slot of the task cap.
ACTIVE = frozenset({"Executing", "Cancelling"})


class Missing(LookupError):
    """No document has this id, or this name."""


class Invalid(ValueError):
    """What was asked for makes no sense here; the message is for the person who asked."""


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

    def may(self, permission: str) -> bool:
        return "*" in self.permissions or permission in self.permissions


@dataclass(kw_only=True)
class Team:
    id: str
    name: str


@dataclass(kw_only=True)
class Environment:
    id: str
    space_id: str
    name: str


@dataclass(kw_only=True)
class Tenant:
    id: str
    space_id: str
    name: str


@dataclass(kw_only=True)
class Machine:
    """A deployment target; *environment_ids* None means every environment of the space."""

    id: str
    space_id: str
    name: str
    roles: tuple[str, ...] = ()
    environment_ids: tuple[str, ...] | None = None
    is_disabled: bool = False
    mutex: Mutex = field(default_factory=Mutex)

    def is_in(self, environment_id: str) -> bool:
        return self.environment_ids is None or environment_id in self.environment_ids


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
    id: str
    space_id: str
    name: str
    project: Project
    steps: tuple[Step, ...]
    snapshot_id: str = ""


@dataclass(kw_only=True)
class Release:
    id: str
    space_id: str
    project: Project
    version: str
    assembled_ms: int
    notes: str = ""


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
    skipped: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    comments: str = ""
    use_guided_failure: bool = False
    deployed_to: list[str] = field(default_factory=list)
    failure_encountered: bool = False
    planned: tuple[str, ...] = ()
    parent_task_id: str | None = None

    @property
    def name(self) -> str:
        return f"Deploy to {self.environment.name}" if self.runbook is None else f"Run {self.runbook.name}"

    @property
    def word(self) -> str:
        """What event categories start with."""
        return "Deployment" if self.runbook is None else "RunbookRun"


@dataclass(kw_only=True)
class Task:
    """A server task; the fields of a re-run start anew, *runs* keeps what was."""

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
    is_picked_up: bool = False
    has_warnings: bool = False
    counts: bool = True
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
