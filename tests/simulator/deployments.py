"""Makes releases, deployments, runbook runs and their tasks; runs a task again."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tests.simulator.activitylog import Node
from tests.simulator.clock import Clock
from tests.simulator.engine import Engine
from tests.simulator.events import EventLog
from tests.simulator.freezes import Freezes
from tests.simulator.model import (
    Deployment,
    Environment,
    Invalid,
    Project,
    Release,
    Runbook,
    Store,
    Task,
    Tenant,
    User,
    number_of,
)
from tests.simulator.record import RunRecord
from tests.simulator.superseding import supersede_queued
from tests.simulator.targets import planned
from tests.simulator.templates import substitute

#: A scheduled task that has not started so long after its time never does, before the clock's speed.
EXPIRY_SECONDS = 1800.0


class Deployments:
    """Everything here takes the store's lock."""

    def __init__(self, store: Store, events: EventLog, engine: Engine, freezes: Freezes, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._engine = engine
        self._freezes = freezes
        self._expiry_ms = int(clock.real(EXPIRY_SECONDS) * 1000)

    def release(self, project: Project, version: str = "", notes: str = "") -> Release:
        """A new release; without *version* the next one. Raises: Invalid: there is such a release."""
        with self._store.lock:
            if version and self._find(project, version):
                raise Invalid(f"Release {version} already exists for project {project.name}. Please use a different "
                              "version, or look at using a mask to auto-increment the number.")  # fmt: skip
            project.releases += 1
            return self._store.put(Release(
                id=self._store.new_id("Releases"), space_id=project.space_id, project=project,
                version=version or f"1.0.{project.releases}", assembled_ms=Clock.now_ms(), notes=notes,
                steps=project.steps,
            ))  # fmt: skip

    def release_of(self, project: Project, version: str = "") -> Release:
        """The release called *version*, made where there is none; without *version* a new one."""
        with self._store.lock:
            return (self._find(project, version) if version else None) or self.release(project, version)

    def deploy(
        self, release: Release, environment: Environment, user: User, *, parent: Task | None = None, **fields: Any
    ) -> Task:
        """Queue a deployment of *release*; *fields* are those of `Deployment`, and queue_ms, expires_ms of `Task`.

        Raises:
            Invalid: a freeze forbids it.
        """
        return self._launch(release.project, release.steps, environment, user, "Deploy", parent,
                            release=release, **fields)  # fmt: skip

    def run_runbook(self, runbook: Runbook, environment: Environment, user: User, **fields: Any) -> Task:
        """Queue a runbook run, of its published snapshot or default branch unless *reference* says otherwise.

        Raises:
            Invalid: there is no such snapshot or branch.
        """
        reference = fields.pop("reference", "") or runbook.current
        if reference not in runbook.processes:
            raise Invalid(f"{runbook.name} has no {reference}.")
        return self._launch(runbook.project, runbook.processes[reference], environment, user, "RunbookRun", None,
                            runbook=runbook, reference=reference, **fields)  # fmt: skip

    def trigger(self, deployment: Deployment, machines: Sequence[str], user: User) -> Task:
        """What a machine trigger does: run an existing deployment again, as another task, for *machines* alone."""
        with self._store.lock:
            task = self._store.put(self._task(deployment, "Deploy", Clock.now_ms(), None, only=tuple(machines)))
            deployment.task_id = task.id
            self._queue(task, user, None)
            return task

    def rerun(self, task: Task, user: User | None) -> None:
        """Queue an ended task again, under the same ids. Raises: Invalid."""
        with self._store.lock:
            if not task.is_completed or task.deployment is None:
                raise Invalid(f"{task.id} cannot be run again: it is {task.state}.")
            task.start_ms = task.completed_ms = task.canceled_by = task.activity = None
            task.queue_ms, task.expires_ms, task.error = Clock.now_ms(), None, ""
            task.node, task.counts, task.done = None, True, threading.Event()
            task.interruptions.clear()
            task.deployment.deployed_to.clear()
            task.deployment.failure_encountered = False
            self._queue(task, user, None)

    def _launch(
        self, project: Project, steps: Sequence[Any], environment: Environment, user: User, name: str,
        parent: Task | None, *, specific: Sequence[str] = (), excluded: Sequence[str] = (),
        tenant: Tenant | None = None, release: Release | None = None, runbook: Runbook | None = None,
        queue_ms: int | None = None, expires_ms: int | None = None, variables: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> Task:  # fmt: skip
        with self._store.lock:
            kind = "Deployments" if runbook is None else "RunbookRuns"
            now = Clock.now_ms()
            deployment = Deployment(
                id=self._store.new_id(kind), space_id=project.space_id, project=project, environment=environment,
                created_ms=now, created_by=user, steps=tuple(steps), tenant=tenant, release=release, runbook=runbook,
                specific=tuple(specific), excluded=tuple(excluded), variables=dict(variables or {}), **fields,
            )  # fmt: skip
            if queue_ms and queue_ms > now:
                expires_ms = expires_ms or queue_ms + self._expiry_ms
            self._freezes.check(deployment, max(queue_ms or now, now))
            process = f"RunbookProcess-{runbook.id}" if runbook else f"deploymentprocess-{project.id}"
            deployment.process_id = project.snapshot(process, deployment.steps)
            self._store.put(deployment)
            task = self._store.put(self._task(deployment, name, max(queue_ms or now, now), expires_ms))
            task.awaits_approval = project.needs_approval
            deployment.task_id = task.id
            self._queue(task, user, parent)
            return task

    def _task(self, deployment: Deployment, name: str, queue_ms: int, expires_ms: int | None, **fields: Any) -> Task:
        release, runbook = deployment.release, deployment.runbook
        what = f"{deployment.project.name} release {release.version}" if release else f"runbook {_name_of(runbook)}"
        where = f"{'to' if release else 'on'} {deployment.environment.name}"
        return Task(
            id=self._store.new_id("ServerTasks"), space_id=deployment.space_id, name=name, deployment=deployment,
            description=f"{'Deploy' if release else 'Run'} {what} {where}", queue_ms=queue_ms, expires_ms=expires_ms,
            tag=_tag(deployment), arguments={"DeploymentId" if runbook is None else "RunbookRunId": deployment.id},
            **fields,
        )  # fmt: skip

    def _queue(self, task: Task, user: User | None, parent: Task | None) -> None:
        deployment = task.deployment
        assert deployment
        task.planned = planned(task, self._store)
        task.log = Node(id=f"{task.id}_{len(task.runs) + 1}", name=task.description)
        task.runs.append(RunRecord(
            task_id=task.id, execution=len(task.runs) + 1, kind=task.name, space_id=task.space_id,
            deployment_id=deployment.id, project=deployment.project.name, environment=deployment.environment.name,
            family=parent.runs[-1].family if parent else task.id, machines=task.planned,
            queued_ms=Clock.now_ms(), environment_id=deployment.environment.id, project_id=deployment.project.id,
            tenant_id=deployment.tenant.id if deployment.tenant else None,
            is_full=task.is_full,
        ))  # fmt: skip
        self._events.of_deployment(deployment.word + "Queued", task, user, "queued")
        self._engine.enqueue(task, supersede_queued(self._engine, task))

    def _find(self, project: Project, version: str) -> Release | None:
        releases = self._store.all("Releases")
        return next((r for r in releases if r.project is project and r.version.lower() == version.lower()), None)

    def latest(self, project: Project) -> Release | None:
        releases = [release for release in self._store.all("Releases") if release.project is project]
        return max(releases, key=lambda release: number_of(release.id), default=None)


def _name_of(runbook: Runbook | None) -> str:
    return runbook.name if runbook else ""


def _tag(deployment: Deployment) -> str:
    """``Octopus.Task.ConcurrencyTag``: tasks with the same one run one at a time."""
    tenant = deployment.tenant.id if deployment.tenant else ""
    if deployment.project.concurrency_tag is not None:
        known = {"Octopus.Project.Id": deployment.project.id, "Octopus.Environment.Id": deployment.environment.id,
                 "Octopus.Deployment.Tenant.Id": tenant}  # fmt: skip
        return substitute(deployment.project.concurrency_tag, known)
    process = deployment.runbook.id if deployment.runbook else deployment.project.id
    return "/".join(filter(None, (tenant, process, deployment.environment.id)))
