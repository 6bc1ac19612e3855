"""The resolve job: finds the machines of observed runs, which no event names (rules 8 and 18)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import structlog
from rq.timeouts import JobTimeoutException
from structlog.contextvars import bind_contextvars

from app.domain.status import RunStatus
from app.jobs import RESOLVE
from app.octopus.ask import JOB_PATIENCE
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import (
    OctopusBusy,
    OctopusDenied,
    OctopusError,
    OctopusMissing,
    OctopusUnaskable,
    OctopusUnreachable,
)
from app.octopus.tasks import Task
from app.store.errors import StoreError
from workers.context import Context, current, log_context_of_task
from workers.reconcile import end_of
from workers.resolving.facts import FactFinder, Facts, ObservedRun, Unclear, space_of_place
from workers.resolving.lookup import Lookup
from workers.resolving.names import name_runs

log = structlog.get_logger()

#: How long the runs of one list are this worker's; more than their requests take with all their attempts.
CLAIM = timedelta(minutes=3)

#: How long one job goes on to the next run; the rest is another job's, so that urgent ones come in between.
PASS = timedelta(seconds=10)

#: A pass begins at most so often: of a burst of starts the first is asked about at once, and the others together.
GATHER = timedelta(milliseconds=500)

#: Pauses after the first failure of a run and at most, doubled in between: trying again can help, or it cannot. What
#: Octopus asks for counts up to the longest: somebody may wait for the machines of the run.
TRANSIENT_PAUSES = (timedelta(seconds=5), timedelta(seconds=60))
PERMANENT_PAUSES = (timedelta(minutes=1), timedelta(minutes=10))

#: Failures in a row that are the server's rather than the runs': the others then wait for the next pass.
SERVER_FAILURES = 3

#: What `Resolver.attempt_all` says of a run that was not asked about.
NOT_ASKED = "not asked"


def run() -> None:
    """What RQ calls."""
    context = current.get()
    if context.octopus:
        # Before the round begins, so that starts that come meanwhile are this pass's, and ask for no other.
        time.sleep(context.unresolved.gather(GATHER))
    context.begin(RESOLVE)
    # After a loss a waiter that has not come back yet looks like a run at work: the rebuild gives it time first.
    if context.board.closed_since_ms() is None:
        resolve_all(context)


def resolve_all(context: Context) -> None:
    """Resolve every run that waits for it; one that fails is put off and never stops the others.

    1. The machines of all runs.
    2. Only then the names for people.
    3. Only then how the processes begin, for the next runs of them.

    Does nothing without an API key: `workers.run` has said so.

    Raises:
        StoreError: Redis does not answer.
    """
    if context.octopus is None:
        return
    resolver = Resolver(context, context.octopus.asking(urgent=True, patience=JOB_PATIENCE), expects_steps=True)
    ends_at = time.monotonic() + PASS.total_seconds()

    def goes_on() -> bool:
        return resolver.server_failures < SERVER_FAILURES and time.monotonic() <= ends_at

    tasks = context.unresolved.in_turn()
    while tasks and goes_on():
        claimed = [task_id for task_id in tasks[:IDS_A_PAGE] if context.claims.claim(task_id, CLAIM)]
        tasks = tasks[IDS_A_PAGE:]
        outcomes = resolver.attempt_all(claimed, goes_on)
        for task_id in (task_id for task_id in claimed if outcomes.get(task_id, NOT_ASKED) == NOT_ASKED):
            context.claims.unclaim(task_id)
    if resolver.server_failures >= SERVER_FAILURES:
        log.warning("resolve: Octopus does not answer, the other runs wait for the next pass")
    elif not goes_on():
        context.enqueue(RESOLVE)
    else:
        idle = context.octopus.asking(patience=0.0)
        name_runs(context, idle)
        resolver.facts.read_processes(idle)


class Resolver:
    """One pass over the runs; everything is asked for once a pass.

    Args:
        expects_steps: Whether a run whose process begins with octowait's step is about to ask. Not after a loss: its
            step has asked then, and what it was told is lost.
    """

    def __init__(self, context: Context, octopus: OctopusClient, *, expects_steps: bool = False) -> None:
        self._board = context.board
        self._unresolved = context.unresolved
        self._claims = context.claims
        self._lookup = Lookup(octopus, self._count)
        self.facts = FactFinder(context, self._lookup, expects_steps=expects_steps)
        self._outcomes: dict[str, str] = {}
        self._counted: set[OctopusError] = set()
        #: Failures in a row that may be the server's.
        self.server_failures = 0
        #: What the last attempt that failed was told.
        self.why = ""

    def attempt(self, task_id: str) -> str:
        """Resolve a claimed run, or put it off, as `attempt_all`."""
        return self.attempt_all([task_id])[task_id]

    def attempt_all(self, task_ids: Sequence[str], goes_on: Callable[[], bool] = lambda: True) -> dict[str, str]:
        """Resolve claimed runs, or put them off, with as few requests as they can share.

        Args:
            task_ids: At most `IDS_A_PAGE`.
            goes_on: Asked before each run.

        Returns:
            By task id: ``ended``, ``observed``, ``expected`` when it is about to ask, ``late`` when it has ended, waits
            or holds a lease by now, ``transient`` or ``permanent`` where it failed, as trying again can help or not, or
            `NOT_ASKED`.

        Raises:
            StoreError: Redis does not answer; the claims then end by themselves.
        """
        self._outcomes = dict.fromkeys(task_ids, NOT_ASKED)
        places = self._places(task_ids)
        self._lookup.fetch_tasks((space_of_place(place), place.task_id) for place in places.values())
        working: dict[str, ObservedRun] = {}
        for task_id, place in places.items():
            if not goes_on():
                break
            with self._guarded(task_id):
                task = self._task(place)
                if task and task.is_completed:
                    self._done(task_id, self._end(task, place))
                else:
                    working[task_id] = ObservedRun(place, task)
        if working:
            # It answers: what failed may have been about those runs.
            self.server_failures = 0
        self._fetch_runs(working.values())
        for task_id, known in working.items():
            if not goes_on():
                break
            with self._guarded(task_id):
                facts = self.facts.find(known.place, known.task)
                self._done(task_id, self._observe(task_id, facts))
        return self._outcomes

    def _places(self, task_ids: Sequence[str]) -> dict[str, RunStatus]:
        """The runs as they stand; those that are not to be resolved any more are done."""
        places = {}
        for task_id in task_ids:
            with self._guarded(task_id):
                place = self._board.place(task_id)
                if place is None or not place.is_to_resolve:
                    self._done(task_id, "late")
                else:
                    space_of_place(place)
                    places[task_id] = place
        return places

    def _task(self, place: RunStatus) -> Task | None:
        """Its task; None where the key may not see that, but perhaps what it runs, which the event named."""
        try:
            return self._lookup.task(place.task_id, space_of_place(place))
        except (OctopusMissing, OctopusDenied) as error:
            info = place.run.info
            if not is_refusal(error) or not (info.deployment_id or info.runbook_run_id):
                raise
            return None

    def _fetch_runs(self, working: Collection[ObservedRun]) -> None:
        self._lookup.fetch_deployments((each.space, each.deployment_id) for each in working if each.deployment_id)
        self._lookup.fetch_runbook_runs(
            (each.space, each.runbook_run_id) for each in working if each.runbook_run_id and not each.deployment_id
        )

    def _observe(self, task_id: str, facts: Facts) -> str:
        machines = [{"id": target.id, **({"name": target.name} if target.name else {})} for target in facts.machines]
        bind_contextvars(machines=[target.id for target in facts.machines])
        return self._board.observe(
            task_id, machines, info=facts.info, is_full=facts.is_full, expects_step=facts.expects_step
        )

    def _end(self, task: Task, place: RunStatus) -> str:
        # A re-run of the task that joined since must not be taken out of its line.
        outcome = self._board.release(place.task_id, cause="reconciled", seen=place, ended=end_of(task))
        return "late" if outcome == "nothing" else "ended"

    def _done(self, task_id: str, outcome: str) -> None:
        self.server_failures = 0
        self._claims.give_back(task_id)
        self._outcomes[task_id] = outcome
        log.info("resolve: done", task=task_id, outcome=outcome)

    @contextmanager
    def _guarded(self, task_id: str) -> Iterator[None]:
        """Keep what goes wrong with one run from the others: it is put off."""
        with log_context_of_task(task_id):
            try:
                yield
            except (StoreError, JobTimeoutException):
                raise
            except OctopusError as error:
                self._count(error)
                if is_refusal(error):
                    self._board.refuse_plan(task_id)
                retry_after = error.retry_after if isinstance(error, OctopusBusy) else None
                is_permanent = error.permanent and not error.is_silence
                self._put_off(task_id, error, permanent=is_permanent, at_least=retry_after)
            except Unclear as error:
                self.server_failures = 0
                self._put_off(task_id, error, permanent=True)
            except Exception as error:
                # A run that we stumble over, first in the list, would otherwise keep all others unresolved for ever.
                log.exception("resolve: unforeseen error", task=task_id)
                self._put_off(task_id, error, permanent=True)

    def _count(self, error: OctopusError) -> None:
        """Count what may be the server's; what is refused, or is nothing to ask about, is one run's trouble.

        Runs that share a request share its failure, which is one.
        """
        if error in self._counted:
            return
        self._counted.add(error)
        is_key = isinstance(error, OctopusDenied) and error.is_about_key
        if is_key or isinstance(error, OctopusUnreachable | OctopusBusy):
            self.server_failures += 1

    def _put_off(self, task_id: str, error: Exception, *, permanent: bool, at_least: float | None = None) -> None:
        self.why = str(error) or type(error).__name__
        failures = self._claims.failed(task_id)
        first, most = PERMANENT_PAUSES if permanent else TRANSIENT_PAUSES
        pause = min(max(first * 2 ** min(failures - 1, 20), timedelta(seconds=min(at_least or 0, 86_400))), most)
        self._claims.put_off(task_id, pause)
        self._outcomes[task_id] = "permanent" if permanent else "transient"
        log.log(
            40 if permanent else 30, "resolve: failed, its machines are not known until then", task=task_id,
            error=str(error), permanent=permanent, failures=failures, pause_seconds=pause.total_seconds(),
        )  # fmt: skip


def is_refusal(error: OctopusError) -> bool:
    """Whether Octopus, or the id itself, says finally that nothing will be said about this."""
    if isinstance(error, OctopusDenied):
        return not error.is_about_key
    return isinstance(error, OctopusMissing | OctopusUnaskable)
