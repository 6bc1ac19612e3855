"""The job that finds out the machines of observed runs, which no event names (rule 8)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from rq.timeouts import JobTimeoutException
from structlog.contextvars import bind_contextvars

from app.coordination.board import info_of
from app.coordination.errors import StoreError
from app.domain.place import Place
from app.jobs import RESOLVE, enqueue
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusBusy, OctopusDenied, OctopusError, OctopusUnreachable
from app.octopus.values import Deployment, Machine, RunbookRun, Task
from workers.context import Context, about_task, current
from workers.reconcile import end_of

log = structlog.get_logger()

#: How long one run is this worker's; more than its requests take with all their attempts.
CLAIM = timedelta(minutes=2)

#: How long one job goes on to the next run; the rest is another job's, so that urgent ones come in between.
PASS = timedelta(seconds=10)

#: Pauses after the first failure of a run and at most, doubled in between: trying again can help, or it cannot.
TRANSIENT_PAUSES = (timedelta(seconds=5), timedelta(seconds=60))
PERMANENT_PAUSES = (timedelta(minutes=1), timedelta(hours=1))

#: Failures in a row that are the server's rather than the runs': the others then wait for the next pass.
SERVER_FAILURES = 3


class Unclear(Exception):
    """Octopus does not say which machines the run uses, and a guess would be wrong either way."""


@dataclass(frozen=True)
class Facts:
    """*info* is what people are shown, as `Run.info`."""

    machines: tuple[Machine, ...]
    info: Mapping[str, Any]


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(RESOLVE)
    # After a loss a waiter that has not come back yet looks like a run at work: the rebuild gives it time first.
    if context.board.closed_since_ms() is None:
        resolve_all(context)


def resolve_all(context: Context) -> None:
    """Resolve every run that waits for it; one that fails is put off and never stops the others.

    Does nothing without an API key: `workers.run` has said so.

    Raises:
        StoreError: Redis does not answer.
    """
    if context.octopus is None:
        return
    resolver = Resolver(context, context.octopus)
    ends_at = time.monotonic() + PASS.total_seconds()
    for task_id in context.unresolved.tasks():
        if resolver.server_failures >= SERVER_FAILURES:
            log.warning("resolve: Octopus does not answer, the other runs wait for the next pass")
            return
        if time.monotonic() > ends_at:
            enqueue(context.board.client, context.settings, RESOLVE)
            return
        if context.unresolved.claim(task_id, CLAIM):
            resolver.attempt(task_id)


class Resolver:
    """One pass over the runs; a name is asked for once a pass."""

    def __init__(self, context: Context, octopus: OctopusClient) -> None:
        self._board = context.board
        self._unresolved = context.unresolved
        self._octopus = octopus
        self._names: dict[tuple[str, str], str | None] = {}
        #: Failures in a row that may be the server's.
        self.server_failures = 0
        #: What the last attempt that failed was told.
        self.why = ""

    def attempt(self, task_id: str) -> str:
        """Resolve a claimed run, or put it off.

        Returns:
            What `resolve` returns, or ``transient`` or ``permanent`` as trying again can help or not.

        Raises:
            StoreError: Redis does not answer; the claim then ends by itself.
        """
        with about_task(task_id):
            return self._attempt(task_id)

    def _attempt(self, task_id: str) -> str:
        try:
            outcome = self.resolve(task_id)
        except (StoreError, JobTimeoutException):
            raise
        except OctopusError as error:
            self.server_failures += isinstance(error, OctopusUnreachable | OctopusBusy | OctopusDenied)
            retry_after = error.retry_after if isinstance(error, OctopusBusy) else None
            return self._put_off(task_id, error, permanent=error.permanent, at_least=retry_after)
        except Unclear as error:
            self.server_failures = 0
            return self._put_off(task_id, error, permanent=True)
        except Exception as error:
            # A run that we stumble over, first in the list, would otherwise keep all others unresolved for ever.
            log.exception("resolve: unforeseen error", task=task_id)
            return self._put_off(task_id, error, permanent=True)
        self.server_failures = 0
        self._unresolved.give_back(task_id)
        log.info("resolve: done", task=task_id, outcome=outcome)
        return outcome

    def resolve(self, task_id: str) -> str:
        """Ask Octopus, then end the run or make its machines busy.

        Returns:
            ``ended``, ``observed``, or ``late`` when it has ended, waits or holds a lease by now.

        Raises:
            OctopusError: Octopus did not say.
            Unclear: it said nothing about machines.
        """
        place = self._board.place(task_id)
        if place is None or place.run["state"] != "started":
            return "late"
        info = info_of(place.run)
        task = self._octopus.task(task_id, space=info.get("space_id"))
        if task.is_completed:
            return self._end(task, place)
        facts = self.facts(place, task)
        machines = [{"id": machine.id, "name": machine.name} for machine in facts.machines]
        bind_contextvars(machines=[machine.id for machine in facts.machines])
        return self._board.observe(task_id, machines, info=facts.info)

    def facts(self, place: Place, task: Task) -> Facts:
        """What Octopus knows of a run that the gate does not.

        Raises:
            OctopusError: Octopus did not say.
            Unclear: it said nothing about machines.
        """
        info = info_of(place.run)
        space = info.get("space_id") or task.space_id
        deployment_id = task.deployment_id or info.get("deployment_id")
        runbook_run_id = task.runbook_run_id or info.get("runbook_run_id")
        what: Deployment | RunbookRun
        if deployment_id:
            what = self._octopus.deployment(deployment_id, space=space)
            machines = self._deployed_machines(what, space)
        elif runbook_run_id:
            what = self._octopus.runbook_run(runbook_run_id, space=space)
            machines = self._runbook_machines(what, space)
        else:
            raise Unclear(f"{task.id} is neither a deployment nor a runbook run")
        return Facts(tuple(machines), self._info(task, what, space))

    def _end(self, task: Task, place: Place) -> str:
        # A re-run of the task that joined since must not be taken out of its line.
        outcome = self._board.release(place.task_id, cause="reconciled", seen=place, ended=end_of(task))
        return "late" if outcome == "nothing" else "ended"

    def _deployed_machines(self, deployment: Deployment, space: str | None) -> list[Machine]:
        """*Source*: ``SpecificMachineIds``, else the preview of its release, without ``ExcludedMachineIds``."""
        if deployment.specific:
            return self._named(_without(deployment.specific, deployment.excluded), space)
        if not deployment.release_id or not deployment.environment_id:
            raise Unclear(f"{deployment.id} names neither machines, nor a release and an environment to preview")
        planned = self._octopus.preview(
            deployment.release_id, deployment.environment_id, tenant_id=deployment.tenant_id, space=space
        )
        return _kept(planned, deployment.excluded)

    def _runbook_machines(self, runbook_run: RunbookRun, space: str | None) -> list[Machine]:
        """*Source*: ``SpecificMachineIds``, else ``DeployedToMachineIds``, else the preview of its runbook."""
        ids = _without(runbook_run.specific, runbook_run.excluded) or list(runbook_run.deployed_to)
        if ids:
            return self._named(ids, space)
        if not runbook_run.runbook_id or not runbook_run.environment_id:
            raise Unclear(f"{runbook_run.id} names neither machines, nor a runbook and an environment to preview")
        planned = self._octopus.runbook_preview(
            runbook_run.runbook_id, runbook_run.environment_id, project_id=runbook_run.project_id, space=space
        )
        return _kept(planned, runbook_run.excluded)

    def _named(self, machine_ids: list[str], space: str | None) -> list[Machine]:
        """The machines with their names, or with their ids where Octopus does not say: a name stops nothing."""
        try:
            known = {machine.id.lower(): machine for machine in self._octopus.machines(machine_ids, space=space)}
        except OctopusError as error:
            log.warning("resolve: no names of machines", machines=machine_ids, error=str(error))
            known = {}
        return [known.get(machine_id.lower(), Machine(machine_id, machine_id)) for machine_id in machine_ids]

    def _info(self, task: Task, what: Deployment | RunbookRun, space: str | None) -> dict[str, Any]:
        """What people are shown, as `Run.info`."""
        info: dict[str, Any] = {"space_id": space} if space else {}
        info["runbook_run_id" if isinstance(what, RunbookRun) else "deployment_id"] = what.id
        documents = {"project": ("projects", what.project_id), "environment": ("environments", what.environment_id),
                     "tenant": ("tenants", what.tenant_id)}  # fmt: skip
        if isinstance(what, Deployment):
            documents["release"] = ("releases", what.release_id)
        for name, (kind, document_id) in documents.items():
            if document_id:
                shown = self._name(kind, document_id, space)
                label = "version" if kind == "releases" else "name"
                info[name] = {"id": document_id, **({label: shown} if shown else {})}
        return info

    def _name(self, kind: str, document_id: str, space: str | None) -> str | None:
        key = (kind, document_id.lower())
        if key not in self._names:
            try:
                self._names[key] = self._octopus.name(kind, document_id, space=space)
            except OctopusError as error:
                log.info("resolve: no name", id=document_id, error=str(error))
                self._names[key] = None
        return self._names[key]

    def _put_off(self, task_id: str, error: Exception, *, permanent: bool, at_least: float | None = None) -> str:
        self.why = str(error) or type(error).__name__
        failures = self._unresolved.failed(task_id)
        first, most = PERMANENT_PAUSES if permanent else TRANSIENT_PAUSES
        pause = max(min(first * 2 ** min(failures - 1, 20), most), timedelta(seconds=at_least or 0))
        self._unresolved.put_off(task_id, pause)
        log.log(
            40 if permanent else 30, "resolve: failed, its machines count as free until then", task=task_id,
            error=str(error), permanent=permanent, failures=failures, pause_seconds=pause.total_seconds(),
        )  # fmt: skip
        return "permanent" if permanent else "transient"


def _kept(planned: Iterable[Machine], excluded: Iterable[str]) -> list[Machine]:
    out = {machine_id.lower() for machine_id in excluded}
    return [machine for machine in planned if machine.id.lower() not in out]


def _without(machine_ids: Iterable[str], excluded: Iterable[str]) -> list[str]:
    out = {machine_id.lower() for machine_id in excluded}
    return [machine_id for machine_id in machine_ids if machine_id.lower() not in out]
