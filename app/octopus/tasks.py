"""Server tasks: what they tell, and the calls that read them.

Times are milliseconds since the epoch by Octopus's clock, None where Octopus did not say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated

import structlog
from pydantic import PlainValidator, ValidationInfo

from app.octopus.errors import OctopusDenied, OctopusMissing, OctopusUnreadable
from app.octopus.fields import WHOLE, Id, MaybeId, Milliseconds, Text, TextOrEmpty, Value, at
from app.octopus.resources import OVERLAP, Resources, scope
from app.octopus.shapes import Resource, list_of, text_of, word_of

log = structlog.get_logger()

#: States of a task that has not ended.
ACTIVE = ("Executing", "Cancelling", "Queued")

#: States in which a task takes one of the slots of the task cap.
_BUSY = frozenset({"executing", "cancelling"})

#: States of a task that still runs or will. All others are ends, whatever a later version calls them.
_UNFINISHED = _BUSY | {"new", "queued"}


def _is_completed(task: Resource) -> bool:
    flag, state = task.get("IsCompleted"), word_of(task.get("State"))
    if not isinstance(flag, bool) and not state:
        raise ValueError("neither IsCompleted nor State is there")
    return flag if isinstance(flag, bool) else state not in _UNFINISHED


def _is_pending(what: str, task: Resource) -> bool:
    # Servers write the flag and the types apart, and either can be out of date; older ones have no types.
    return task.get(f"HasPending{what}s") is True or bool(list_of(task.get(f"Pending{what}Types")))


def _web_link(link: object, info: ValidationInfo) -> str | None:
    base, path = (info.context or {}).get("base"), text_of(link)
    # Only a path: what a resource says about hosts is not to be believed.
    return f"{base}{path}" if base and path and re.match(r"/(?!/)", path) else None


@dataclass(frozen=True)
class Task(Value):
    """A server task. One of *deployment_id* and *runbook_run_id*, or neither for tasks of other kinds.

    *name* is its kind, e.g. ``Deploy`` or ``RunbookRun``; *url* is where people look at it.
    *has_pending_interruptions* is what the task says of itself, which can be out of date: only its interruptions tell.
    """

    id: Id
    is_completed: Annotated[bool, PlainValidator(_is_completed), WHOLE]
    state: TextOrEmpty = ""
    space_id: MaybeId = None
    deployment_id: Annotated[MaybeId, at("Arguments", "DeploymentId")] = None
    runbook_run_id: Annotated[MaybeId, at("Arguments", "RunbookRunId")] = None
    name: Text = None
    project_id: MaybeId = None
    queue_ms: Annotated[Milliseconds, at("QueueTime")] = None
    start_ms: Annotated[Milliseconds, at("StartTime")] = None
    completed_ms: Annotated[Milliseconds, at("CompletedTime")] = None
    has_pending_interruptions: Annotated[bool, PlainValidator(partial(_is_pending, "Interruption")), WHOLE] = False
    has_pending_preconditions: Annotated[bool, PlainValidator(partial(_is_pending, "Precondition")), WHOLE] = False
    url: Annotated[str | None, PlainValidator(_web_link), at("Links", "Web")] = None

    @property
    def is_running(self) -> bool:
        """Whether it takes a slot of the task cap: it executes, or is being cancelled."""
        return self.state.lower() in _BUSY

    @property
    def is_paused(self) -> bool:
        """Whether it waits for a person: Queued for a stand-alone step, else Executing."""
        return self.has_pending_interruptions and not self.is_completed

    @property
    def is_queued(self) -> bool:
        """Whether it is in the queue: to begin, or, for a person or a slot, to go on."""
        return self.state.lower() == "queued"

    @property
    def awaits_approval(self) -> bool:
        """Whether it waits for an approval before its start: it has not begun, and holds nothing."""
        return self.is_queued and self.has_pending_preconditions and not self.has_pending_interruptions

    @property
    def has_begun(self) -> bool:
        """Whether it may be at work on machines: it runs, is paused, or waits for a slot to go on.

        One that waits in the queue for its first slot, or for an approval, has touched none.
        """
        if self.is_completed or self.awaits_approval:
            return False
        return self.is_running or self.is_paused or self.start_ms is not None

    @property
    def uses_machines(self) -> bool:
        """Whether it is a deployment or a runbook run, rather than a task of Octopus's own."""
        return bool(self.deployment_id or self.runbook_run_id)


class Tasks(Resources):
    """Calls about tasks."""

    def task(self, task_id: str, *, space: str | None = None) -> Task:
        """The server task as it stands."""
        return self._task(self._get(space, "tasks", task_id))

    def task_anywhere(self, task_id: str, *, space: str | None = None) -> Task:
        """The server task as it stands, also where it is in another space than *space*: that is what somebody said.

        Raises:
            OctopusError: of the request that names *space*, if neither has it.
        """
        try:
            return self.task(task_id, space=space)
        except (OctopusDenied, OctopusMissing) as error:
            if space is None:
                raise
            try:
                return self.task(task_id)
            except (OctopusDenied, OctopusMissing):
                raise error from None

    def tasks(
        self, task_ids: Collection[str], *, space: str | None = None, spaces: Collection[str] = ()
    ) -> tuple[Task, ...]:
        """Those of *task_ids* that Octopus knows, in no order, `IDS_A_PAGE` a request. No ids: no request.

        Args:
            space: Where they all are; else *spaces* names several, or they can be in any.
        """
        inside, query = scope(space, spaces)
        return tuple(self._readable(self._by_ids(task_ids, inside, "tasks", query=query)))

    def active_tasks(self, *, spaces: Collection[str] = ()) -> tuple[Task, ...]:
        """The deployments and runbook runs that are queued, run, are paused or being cancelled, newest first: all.

        Args:
            spaces: Empty for all that the key may see.

        Raises:
            OctopusUnreadable: one of them cannot be read, which may be one that is at work.
        """
        tasks = (self._task(item) for item in self._active(spaces))
        # A filter that this version does not know is ignored by it.
        return tuple(task for task in tasks if task.uses_machines and not task.is_completed)

    def listed_tasks(self, *, spaces: Collection[str] = (), most: int) -> tuple[Task, ...]:
        """The same among the first *most* of the list, those left out that cannot be read; with those that have ended
        where this version ignores the filter.
        """
        tasks = self._readable(islice(self._active(spaces), most))
        return tuple(task for task in tasks if task.uses_machines)

    def _active(self, spaces: Collection[str]) -> Iterator[Resource]:
        inside, query = scope(None, spaces)
        query |= {"states": ",".join(ACTIVE), "includeSystem": "false"}
        return self._items(inside, "tasks", query=query, overlap=OVERLAP)

    def tasks_at_once(self, task_ids: Collection[str], *, space: str | None = None) -> Mapping[str, Task]:
        """Those of *task_ids* that one request tells, by id in lower case. No ids: no request.

        A list can lack what asking for it by itself would find, and what cannot be read: whoever misses one asks so.

        Args:
            task_ids: At most `IDS_A_PAGE`.
        """
        return self._at_once("tasks", task_ids, self._task, space)

    def _readable(self, resources: Iterator[Resource]) -> Iterator[Task]:
        """The tasks among *resources*; one that cannot be read is as if it had not been listed."""
        for resource in resources:
            try:
                yield self._task(resource)
            except OctopusUnreadable as error:
                log.warning("Octopus lists a task that cannot be read", error=str(error))

    def _task(self, resource: Resource) -> Task:
        return Task.read(resource, base=self._transport.origin)
