"""Deployments and runbook runs: what they tell, and the calls that read them and their plans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from pydantic import PlainValidator

from app.domain.plan import PlannedAction, Selection
from app.octopus.errors import OctopusDenied, OctopusError, OctopusMissing, OctopusRejected
from app.octopus.fields import Id, Ids, MachineIds, MaybeId, Text, Value, at
from app.octopus.previews import GitReference, PlanSource, Route, Routes, body_of, parse_preview, parse_previews
from app.octopus.processes import Step, parse_process
from app.octopus.resources import checked_part
from app.octopus.tasks import Task, Tasks
from app.octopus.transport import RequestPolicy, Transport

#: Times that a preview is asked for: of a broken release it always fails, and others wait for theirs meanwhile.
PREVIEW_ATTEMPTS = 2


@dataclass(frozen=True)
class TargetedRun(Value):
    """What deployments and runbook runs have in common: what ran where.

    *specific* empty means all machines that the steps apply to. *included_tags* and *excluded_tags* are ids of target
    tags, *skipped_actions* of actions; *deployed_to* is perhaps not complete while it runs.
    """

    id: Id
    task_id: MaybeId = None
    space_id: MaybeId = None
    project_id: MaybeId = None
    #: Of a deployment.
    release_id: MaybeId = None
    environment_id: MaybeId = None
    tenant_id: MaybeId = None
    specific: Annotated[MachineIds, at("SpecificMachineIds")] = ()
    excluded: Annotated[MachineIds, at("ExcludedMachineIds")] = ()
    deployed_to: Annotated[MachineIds, at("DeployedToMachineIds")] = ()
    included_tags: Annotated[Ids, at("SpecificTargetTagIds")] = ()
    excluded_tags: Annotated[Ids, at("ExcludedTargetTagIds")] = ()
    skipped_actions: Annotated[Ids, at("SkipActions")] = ()

    @property
    def selection(self) -> Selection:
        """What it says of its machines."""
        return Selection(
            specific=self.specific, excluded=self.excluded, included_tags=self.included_tags,
            excluded_tags=self.excluded_tags, skipped_actions=self.skipped_actions, deployed_to=self.deployed_to,
        )  # fmt: skip


@dataclass(frozen=True)
class Deployment(TargetedRun):
    """What was deployed where; *process_id* is that of its release's snapshot."""

    process_id: Annotated[Text, at("DeploymentProcessId")] = None

    @property
    def plan_source(self) -> PlanSource | None:
        """What its preview is asked for by; None where it does not say."""
        if not self.release_id or not self.environment_id:
            return None
        return PlanSource(self.environment_id, self.tenant_id, release_id=self.release_id)


def _git_reference(value: object) -> GitReference | None:
    reference = GitReference.read(value)
    return reference if reference.ref or reference.commit else None


@dataclass(frozen=True)
class RunbookRun(TargetedRun):
    """What a runbook ran where; *process_id* is that of its snapshot, *git* where its runbook is kept in Git."""

    process_id: Annotated[Text, at("FrozenRunbookProcessId")] = None
    runbook_id: Text = None
    snapshot_id: Annotated[Text, at("RunbookSnapshotId")] = None
    git: Annotated[GitReference | None, PlainValidator(_git_reference), at("GitReference")] = None

    @property
    def plan_source(self) -> PlanSource | None:
        """What its preview is asked for by; None where it does not say."""
        if not self.environment_id or not (self.runbook_id or self.snapshot_id):
            return None
        return PlanSource(
            self.environment_id, self.tenant_id, runbook_id=self.runbook_id, snapshot_id=self.snapshot_id,
            project_id=self.project_id, git=self.git,
        )  # fmt: skip


class Runs(Tasks):
    """Calls about runs and their tasks."""

    def __init__(self, transport: Transport, policy: RequestPolicy) -> None:
        super().__init__(transport, policy)
        self._routes = Routes()

    def deployment(self, deployment_id: str, *, space: str | None = None) -> Deployment:
        """The deployment as it stands."""
        return Deployment.read(self._get(space, "deployments", deployment_id))

    def recent_deployments(self, *, space: str | None = None, most: int = 200) -> tuple[Deployment, ...]:
        """The latest deployments of the space, newest first."""
        return Deployment.read_all(islice(self._items(space, "deployments"), most))

    def runbook_run(self, runbook_run_id: str, *, space: str | None = None) -> RunbookRun:
        """The runbook run as it stands."""
        return RunbookRun.read(self._get(space, "runbookRuns", runbook_run_id))

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
            self._routes.remember(route)
            return answer
        raise refusal or OctopusMissing(f"no preview can be asked for by {source}")

    def _preview(
        self, route: Route, path: tuple[str, ...], source: PlanSource, space: str | None
    ) -> tuple[PlannedAction, ...]:
        if route.method == "GET":
            return parse_preview(self._get(space, *path, attempts=PREVIEW_ATTEMPTS))
        return parse_previews(self._post_for_list(space, *path, body=body_of(source)))

    def deployments_at_once(
        self, deployment_ids: Collection[str], *, space: str | None = None
    ) -> Mapping[str, Deployment]:
        """Deployments, as `tasks_at_once`."""
        return self._at_once("deployments", deployment_ids, Deployment.read, space)

    def runbook_runs_at_once(
        self, runbook_run_ids: Collection[str], *, space: str | None = None
    ) -> Mapping[str, RunbookRun]:
        """Runbook runs, as `tasks_at_once`."""
        return self._at_once("runbookRuns", runbook_run_ids, RunbookRun.read, space)

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
