"""What Octopus says about runs: tasks, deployments, machines, events, and the questions that tasks ask people."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

from app.octopus.errors import OctopusMissing
from app.octopus.parse_runs import (
    parse_deployment,
    parse_event_category,
    parse_interruption,
    parse_machine,
    parse_name,
    parse_preview,
    parse_runbook_run,
    parse_task,
    parse_version,
    submission,
)
from app.octopus.resources import OVERLAP, Resources, scope
from app.octopus.values import Deployment, EventCategory, Interruption, Machine, Resource, RunbookRun, Task

#: States of a task that has not ended.
ACTIVE = ("Executing", "Cancelling", "Queued")


class Runs(Resources):
    """Calls about runs."""

    def task(self, task_id: str, *, space: str | None = None) -> Task:
        """The server task as it stands."""
        return self._task(self._get(space, "tasks", task_id))

    def tasks(
        self, task_ids: Collection[str], *, space: str | None = None, spaces: Collection[str] = ()
    ) -> tuple[Task, ...]:
        """Those of *task_ids* that Octopus knows, in no order, `IDS_A_PAGE` a request. No ids: no request.

        Args:
            space: Where they all are; else *spaces* names several, or they can be in any.
        """
        inside, query = scope(space, spaces)
        return tuple(self._task(item) for item in self._by_ids(task_ids, inside, "tasks", query=query))

    def active_tasks(self, *, spaces: Collection[str] = ()) -> tuple[Task, ...]:
        """The deployments and runbook runs that are queued, run, are paused or being cancelled, newest first.

        Args:
            spaces: Empty for all that the key may see.
        """
        inside, query = scope(None, spaces)
        query |= {"states": ",".join(ACTIVE), "includeSystem": "false"}
        found = (self._task(item) for item in self._items(inside, "tasks", query=query, overlap=OVERLAP))
        # A filter that this version does not know is ignored by it.
        return tuple(task for task in found if task.uses_machines and not task.is_completed)

    def deployment(self, deployment_id: str, *, space: str | None = None) -> Deployment:
        """The deployment as it stands."""
        return parse_deployment(self._get(space, "deployments", deployment_id))

    def recent_deployments(self, *, space: str | None = None, most: int = 200) -> tuple[Deployment, ...]:
        """The latest deployments of the space, newest first."""
        items = islice(self._items(space, "deployments"), most)
        return tuple(parse_deployment(item) for item in items)

    def runbook_run(self, runbook_run_id: str, *, space: str | None = None) -> RunbookRun:
        """The runbook run as it stands."""
        return parse_runbook_run(self._get(space, "runbookRuns", runbook_run_id))

    def preview(
        self, release_id: str, environment_id: str, *, tenant_id: str | None = None, space: str | None = None
    ) -> tuple[Machine, ...]:
        """The machines that the release's steps apply to in the environment, now."""
        tenant = (tenant_id,) if tenant_id else ()
        return parse_preview(
            self._get(space, "releases", release_id, "deployments", "preview", environment_id, *tenant)
        )

    def runbook_preview(
        self, runbook_id: str, environment_id: str, *, project_id: str | None = None, space: str | None = None
    ) -> tuple[Machine, ...]:
        """The machines that the runbook's steps apply to in the environment, now.

        Source: the links ``RunbookRunPreview`` of runbooks, from before and since they can be in Git.
        """
        path = ("runbooks", runbook_id, "runbookRuns", "preview", environment_id)
        try:
            return parse_preview(self._get(space, *path))
        except OctopusMissing:
            if project_id is None:
                raise
            return parse_preview(self._get(space, "projects", project_id, *path))

    def machines(self, machine_ids: Collection[str], *, space: str | None = None) -> tuple[Machine, ...]:
        """Those of *machine_ids* that exist, in no order. No ids: no request, since Octopus would list all."""
        found: dict[str, Machine] = {}
        for item in self._by_ids(machine_ids, space, "machines"):
            machine = parse_machine(item)
            found[machine.id.lower()] = machine
        return tuple(found.values())

    def all_machines(self, *, space: str | None = None) -> tuple[Machine, ...]:
        """Every machine of the space that the key may see."""
        return tuple(parse_machine(item) for item in self._items(space, "machines"))

    def name(self, kind: str, document_id: str, *, space: str | None = None) -> str | None:
        """What people call it, asked once without retries: it is only for show.

        Args:
            kind: ``projects``, ``environments``, ``tenants``, or ``releases`` for a version.
        """
        resource = self._get(space, kind, document_id, attempts=1)
        return parse_version(resource) if kind == "releases" else parse_name(resource)

    def events(
        self, *, from_ms: int, to_ms: int, categories: Collection[str] = (), spaces: Collection[str] = ()
    ) -> Iterator[Resource]:
        """The events from *from_ms* until before *to_ms*, newest first, for `app.domain.events.parse_event`.

        Pages are asked for as they are consumed. They do not shift while new events come in, since *to_ms* is fixed.

        Args:
            from_ms: By Octopus's clock, as *to_ms*.
            categories: Ids of `event_categories`; empty for all.
            spaces: Empty for all that the key may see.
        """
        inside, query = scope(None, spaces)
        query |= {"from": _iso(from_ms), "to": _iso(to_ms)}
        if categories:
            query["eventCategories"] = ",".join(categories)
        return self._items(inside, "events", query=query)

    def event_categories(self) -> tuple[EventCategory, ...]:
        """The kinds of events that this server knows; they differ between versions."""
        return tuple(parse_event_category(item) for item in self._list(None, "events", "categories"))

    def interruptions(
        self, task_id: str, *, pending_only: bool = True, space: str | None = None
    ) -> tuple[Interruption, ...]:
        """What the task asks people."""
        query = {"regarding": task_id, "pendingOnly": str(pending_only).lower()}
        found = (parse_interruption(item) for item in self._items(space, "interruptions", query=query))
        return tuple(
            each
            for each in found
            if (each.task_id is None or each.task_id.lower() == task_id.lower())
            and (each.is_pending or not pending_only)
        )

    def interruption(self, interruption_id: str, *, space: str | None = None) -> Interruption:
        """The question as it stands."""
        return parse_interruption(self._get(space, "interruptions", interruption_id))

    def take_responsibility(self, interruption: Interruption) -> None:
        """Become the one who may answer it; harmless when we are already.

        Raises:
            OctopusDenied: we are in none of its responsible teams, among others.
        """
        self._write("PUT", interruption.space_id, "interruptions", interruption.id, "responsible")

    def submit(self, interruption: Interruption, result: Literal["Proceed", "Abort"], *, notes: str = "") -> None:
        """Answer a manual intervention; only who has responsibility may."""
        body = submission(interruption, result, notes)
        self._write("POST", interruption.space_id, "interruptions", interruption.id, "submit", body=body)

    def _task(self, resource: Resource) -> Task:
        return parse_task(resource, base=self._transport.origin)


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds")
