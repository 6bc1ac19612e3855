"""What Octopus says about runs: tasks, deployments, machines, events, and the questions that tasks ask people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Literal, TypeVar

import structlog

from app.domain.ids import distinct_ids
from app.domain.plan import PlannedAction
from app.octopus.errors import OctopusDenied, OctopusError, OctopusMissing, OctopusRejected, OctopusUnreadable
from app.octopus.fields import parse_id, parse_page
from app.octopus.parse_runs import (
    parse_deployment,
    parse_event_category,
    parse_interruption,
    parse_machine,
    parse_name,
    parse_preview,
    parse_previews,
    parse_runbook_run,
    parse_task,
    parse_version,
    submission,
)
from app.octopus.parse_setup import parse_process
from app.octopus.previews import Route, Routes, body_of
from app.octopus.resources import IDS_A_PAGE, OVERLAP, Resources, checked_part, scope
from app.octopus.transport import Manner, Transport
from app.octopus.values import (
    Deployment,
    EventCategory,
    Interruption,
    Machine,
    PlanSource,
    Resource,
    RunbookRun,
    Step,
    Task,
)

T = TypeVar("T")

#: Times that a preview is asked for: of a broken release it always fails, and others wait for theirs meanwhile.
PREVIEW_ATTEMPTS = 2

log = structlog.get_logger()

#: States of a task that has not ended.
ACTIVE = ("Executing", "Cancelling", "Queued")


class Runs(Resources):
    """Calls about runs."""

    def __init__(self, transport: Transport, manner: Manner) -> None:
        super().__init__(transport, manner)
        self._routes = Routes()

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
        found = (self._task(item) for item in self._active(spaces))
        # A filter that this version does not know is ignored by it.
        return tuple(task for task in found if task.uses_machines and not task.is_completed)

    def listed_tasks(self, *, spaces: Collection[str] = (), most: int) -> tuple[Task, ...]:
        """The same among the first *most* of the list, those left out that cannot be read; with those that have ended
        where this version ignores the filter.
        """
        found = self._readable(islice(self._active(spaces), most))
        return tuple(task for task in found if task.uses_machines)

    def _active(self, spaces: Collection[str]) -> Iterator[Resource]:
        inside, query = scope(None, spaces)
        query |= {"states": ",".join(ACTIVE), "includeSystem": "false"}
        return self._items(inside, "tasks", query=query, overlap=OVERLAP)

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

    def plan(self, source: PlanSource, *, space: str | None = None) -> tuple[PlannedAction, ...]:
        """What the run's preview says now: its actions, each with its machines.

        One address after the other, as `app.octopus.previews.ROUTES` says.

        Raises:
            OctopusMissing: there is none at any of them.
            OctopusDenied: there is none, and at least one of them is not this key's to read.
        """
        for document_id in filter(None, (source.environment_id, source.tenant_id)):
            checked_part(document_id)
        refusal: OctopusError | None = None
        for route, path in self._routes.of(source):
            try:
                answer = self._preview(route, path, source, space)
            except (OctopusMissing, OctopusDenied, OctopusRejected) as error:
                if isinstance(error, OctopusDenied) and error.is_about_key:
                    raise
                refusal = error if refusal is None or isinstance(error, OctopusDenied) else refusal
                if isinstance(error, OctopusMissing):
                    self._routes.missed(route)
                continue
            self._routes.found(route)
            return answer
        raise refusal or OctopusMissing(f"no preview can be asked for by {source}")

    def _preview(
        self, route: Route, path: tuple[str, ...], source: PlanSource, space: str | None
    ) -> tuple[PlannedAction, ...]:
        if route.method == "GET":
            return parse_preview(self._get(space, *path, attempts=PREVIEW_ATTEMPTS))
        return parse_previews(self._post_for_list(space, *path, body=body_of(source)))

    def tasks_at_once(self, task_ids: Collection[str], *, space: str | None = None) -> Mapping[str, Task]:
        """Those of *task_ids* that one request tells, by id in lower case. No ids: no request.

        A list can lack what asking for it by itself would find, and what cannot be read: whoever misses one asks so.

        Args:
            task_ids: At most `IDS_A_PAGE`.
        """
        return self._at_once("tasks", task_ids, self._task, space)

    def deployments_at_once(
        self, deployment_ids: Collection[str], *, space: str | None = None
    ) -> Mapping[str, Deployment]:
        """Deployments, as `tasks_at_once`."""
        return self._at_once("deployments", deployment_ids, parse_deployment, space)

    def runbook_runs_at_once(
        self, runbook_run_ids: Collection[str], *, space: str | None = None
    ) -> Mapping[str, RunbookRun]:
        """Runbook runs, as `tasks_at_once`."""
        return self._at_once("runbookRuns", runbook_run_ids, parse_runbook_run, space)

    def names_at_once(self, kind: str, ids: Collection[str], *, space: str | None = None) -> Mapping[str, str | None]:
        """What people call them, as `tasks_at_once`, asked once without retries: it is only for show.

        Args:
            kind: As `name`.
        """
        return self._at_once(kind, ids, parse_version if kind == "releases" else parse_name, space, attempts=1)

    def run_of(self, task: Task) -> Deployment | RunbookRun:
        """The deployment or runbook run that the task executes.

        Raises:
            OctopusMissing: it executes neither, among others.
        """
        if task.deployment_id:
            return self.deployment(task.deployment_id, space=task.space_id)
        if task.runbook_run_id:
            return self.runbook_run(task.runbook_run_id, space=task.space_id)
        raise OctopusMissing(f"{task.id} is neither a deployment nor a runbook run")

    def process_snapshot(self, run: Deployment | RunbookRun, *, space: str | None = None) -> tuple[Step, ...]:
        """The steps of the process as it was frozen for *run*, in order; each address asked once without retries.

        Raises:
            OctopusMissing: *run* does not say which, among others.

        Source: the processes of runbooks have moved into their projects, where those can be in Git.
        """
        if not run.process_id:
            raise OctopusMissing(f"{run.id} does not say of which process it is")
        if not isinstance(run, RunbookRun):
            return parse_process(self._get(space, "deploymentprocesses", run.process_id, attempts=1))
        path = ("runbookProcesses", run.process_id)
        if run.project_id:
            with suppress(OctopusMissing):
                return parse_process(self._get(space, "projects", run.project_id, *path, attempts=1))
        return parse_process(self._get(space, *path, attempts=1))

    def _at_once(
        self, kind: str, ids: Collection[str], parse: Callable[[Resource], T], space: str | None,
        attempts: int | None = None,
    ) -> dict[str, T]:  # fmt: skip
        wanted = {document_id.lower() for document_id in ids}
        if not wanted:
            return {}
        query = {"ids": ",".join(checked_part(each) for each in distinct_ids(list(ids))),
                 "skip": "0", "take": str(IDS_A_PAGE)}  # fmt: skip
        found: dict[str, T] = {}
        # Only one page: a server that does not know this filter would list everything.
        for item in parse_page(self._get(space, kind, query=query, attempts=attempts)).items:
            item_id = (parse_id(item) or "").lower()
            if item_id in wanted:
                with suppress(OctopusUnreadable):
                    found[item_id] = parse(item)
        return found

    def machines(self, machine_ids: Collection[str], *, space: str | None = None) -> tuple[Machine, ...]:
        """Those of *machine_ids* that exist, in no order. No ids: no request, since Octopus would list all."""
        found: dict[str, Machine] = {}
        for item in self._by_ids(machine_ids, space, "machines"):
            machine = parse_machine(item)
            found[machine.id.lower()] = machine
        return tuple(found.values())

    def all_machines(self, *, space: str | None = None) -> tuple[Machine, ...]:
        """Every machine of the space that the key may see."""
        return tuple(self.each_machine(space=space))

    def each_machine(self, *, space: str | None = None) -> Iterator[Machine]:
        """The same, page by page as they are consumed."""
        return (parse_machine(item) for item in self._items(space, "machines"))

    def name(self, kind: str, document_id: str, *, space: str | None = None) -> str | None:
        """What people call it, asked once without retries: it is only for show.

        Args:
            kind: ``projects``, ``environments``, ``tenants``, ``machines``, or ``releases`` for a version.
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

    def pending_interruptions(self, *, space: str | None = None) -> tuple[Interruption, ...]:
        """What all tasks of the space wait for, newest first."""
        items = self._items(space, "interruptions", query={"pendingOnly": "true"}, overlap=OVERLAP)
        return tuple(each for each in map(parse_interruption, items) if each.is_pending)

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

    def _readable(self, resources: Iterator[Resource]) -> Iterator[Task]:
        """The tasks among *resources*; one that cannot be read is as if it had not been listed."""
        for resource in resources:
            try:
                yield self._task(resource)
            except OctopusUnreadable as error:
                log.warning("Octopus lists a task that cannot be read", error=str(error))

    def _task(self, resource: Resource) -> Task:
        return parse_task(resource, base=self._transport.origin)


def _iso(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds")
