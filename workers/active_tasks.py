"""Active tasks: those that Octopus lists, delivered to the board in the form of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import structlog

from app.coordination.board.clock_offset import ClockOffset
from app.domain.events import Effect, Event
from app.domain.ids import space_id_of
from app.domain.run import State
from app.domain.status import RunStatus
from app.jobs import RESOLVE
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import OctopusError
from app.octopus.runs import Deployment, RunbookRun
from app.octopus.tasks import Task
from workers.by_space import BySpace
from workers.context import Context, log_context_of_task

log = structlog.get_logger()

#: Tasks of one list that are read, newest first: five pages of a server that lists all of its tasks, or has as many in
#: its queue. What is cut off was newer once, and the events tell of it too.
MOST_LISTED = 500

#: The scope of a task of which only its own id is known.
NOWHERE: Mapping[str, Any] = MappingProxyType({})

#: Runs that octowait knows to be at work, or to wait for it.
_KNOWN = frozenset({State.WAITING, State.GRANTED, State.STARTED, State.OBSERVED})

#: Runs that have had their machines and given them back: only a new start says something of them.
_DONE = frozenset({State.RELEASED, State.ENDED})


def list_active(octopus: OctopusClient, by_space: BySpace, spaces: Iterable[str]) -> list[Task]:
    """The active deployments and runbook runs, a request for each of *spaces*, or one for all that the key may see.

    One that is missing may be in a space that is hidden now, or beyond the first `MOST_LISTED`: it has not ended for
    that. One that is there and has ended is from a server that lists others, too.

    Raises:
        OctopusError: nobody would get an answer.
        StoreError: Redis does not answer.
    """
    space_ids: list[str | None] = [*spaces] or [None]
    tasks: list[Task] = []
    for space in space_ids:
        named = [space] if space else []
        tasks += by_space.ask(space, partial(octopus.listed_tasks, spaces=named, most=MOST_LISTED)) or ()
    return tasks


def deliver_starts(
    context: Context, octopus: OctopusClient, by_space: BySpace, tasks: Iterable[Task], *, since_ms: int
) -> None:
    """Tell the board of each of *tasks* that has begun and that it does not know to be at work.

    1. Ask where those run that it has never heard of, in lists: an event would say so, and the board presumes by that
       which machines they use, and whether they are about to ask.
    2. Tell of each as it stands then.

    Whatever happens between the list and this is of no harm: an end that was told meanwhile is later than the start,
    and one that was not is seen by who resolves or reconciles the run.

    Args:
        since_ms: When Octopus was asked for the list, or before, by our clock.

    Raises:
        OctopusError: nobody would get an answer.
        StoreError: Redis does not answer.
    """
    begun = [task for task in tasks if task.has_begun]
    scopes = _scopes_of(octopus, by_space, [task for task in begun if _is_unheard(context.board.place(task.id))])
    offset = context.board.octopus_offset()
    outcomes = [_tell_start(context, task, scopes.get(task.id.lower(), {}), since_ms, offset) for task in begun]
    if "unresolved" in outcomes:
        context.enqueue(RESOLVE)


def _is_unheard(place: RunStatus | None) -> bool:
    return place is None or place.state is State.KNOWN


def _scopes_of(octopus: OctopusClient, by_space: BySpace, tasks: Sequence[Task]) -> dict[str, dict[str, Any]]:
    """Where *tasks* run, as `RunRequest.info` has it, by lower-case task id; without those that Octopus hides."""
    groups: dict[str | None, list[Task]] = {}
    for task in tasks:
        groups.setdefault(space_id_of(task.space_id), []).append(task)
    runs: dict[str, Deployment | RunbookRun] = {}
    for space, group in groups.items():
        deployments = [task.deployment_id for task in group if task.deployment_id]
        runbook_runs = [task.runbook_run_id for task in group if task.runbook_run_id]
        try:
            # Of more than that, as after an outage, the others are told without.
            runs |= octopus.deployments_at_once(deployments[:IDS_A_PAGE], space=space)
            runs |= octopus.runbook_runs_at_once(runbook_runs[:IDS_A_PAGE], space=space)
        except OctopusError as error:
            log.warning("reconcile: it is not known where runs of a space run", space=space, error=str(error))
            by_space.failed(error)
    pairs = ((task, runs.get((task.deployment_id or task.runbook_run_id or "").lower())) for task in tasks)
    return {task.id.lower(): _scope_of(what) for task, what in pairs if what}


def _scope_of(what: Deployment | RunbookRun) -> dict[str, Any]:
    ids = {"project": what.project_id, "environment": what.environment_id, "tenant": what.tenant_id}
    if isinstance(what, Deployment):
        ids["release"] = what.release_id
    return {name: {"id": document_id} for name, document_id in ids.items() if document_id}


def _tell_start(
    context: Context, task: Task, scope: Mapping[str, Any], since_ms: int, offset: ClockOffset
) -> str:  # fmt: skip
    place = context.board.place(task.id)
    if place and _went_on(place, task, since_ms):
        now_ms = max(context.board.now_ms() + offset.middle_ms, place.run.paused_oct_ms or 0)
        return deliver_state(context, task, Effect.RESUMED, now_ms, via="reconcile", key=f"{_key(task, place)}-resumed")
    if place and not _is_news(place, task, offset):
        return "known"
    outcome = deliver_state(
        context, task, Effect.STARTED, began_ms(task), via="reconcile", key=_key(task, place), scope=scope
    )
    if outcome in ("applied", "unresolved"):
        with log_context_of_task(task.id):
            log.info("reconcile: it runs, and no event had told", state=task.state, outcome=outcome)
            if task.is_paused:
                deliver_paused(context, task, via="reconcile")
    return outcome


def _went_on(place: RunStatus, task: Task, since_ms: int) -> bool:
    """Whether it gave its machines away for a pause that was over when Octopus was asked."""
    run = place.run
    return run.gave_way and place.state in _DONE and (run.ended_at_ms or 0) < since_ms and not task.is_paused


def _is_news(place: RunStatus, task: Task, offset: ClockOffset) -> bool:
    """Whether the board is to be told that the task has begun."""
    if place.state in _KNOWN or place.run.lingers:
        return False
    if place.state not in _DONE:
        # Its wait is over and its task goes on, as under "proceed": the board decides what that means.
        return True
    run = place.run
    told_ms = max(run.started_oct_ms or 0, run.ended_oct_ms or 0)
    # Where nothing was told of the run, the end is by our clock: the board compares with tolerance.
    return began_ms(task) > (told_ms or (run.ended_at_ms or 0) + offset.least_ms)


def _key(task: Task, place: RunStatus | None) -> str:
    """What the start is known by: told once, and once more after each end of the run's wait."""
    ended_ms = place.run.ended_at_ms if place else None
    return "-".join(["listed", task.id, str(began_ms(task)), *([str(ended_ms)] if ended_ms else [])])


def began_ms(task: Task) -> int:
    """When it began, by Octopus's clock; 0 where Octopus does not say."""
    return task.start_ms or task.queue_ms or 0


def deliver_state(
    context: Context, task: Task, effect: Effect, occurred_ms: int, *, via: str, key: str,
    scope: Mapping[str, Any] = NOWHERE,
) -> str:  # fmt: skip
    """Tell the board what *task* says, as an event of Octopus would; see `Board.deliver`.

    Args:
        key: What the event is known by: the same is told once.
        scope: Where it runs, as `RunRequest.info` says it, if that is known.
    """
    project = {"id": task.project_id} if task.project_id else None
    ids = {name: value for name, value in (
        ("space_id", space_id_of(task.space_id)), ("deployment_id", task.deployment_id),
        ("runbook_run_id", task.runbook_run_id), ("project", project),
    ) if value}  # fmt: skip
    info = {**ids, **scope}
    event = Event(
        key=key.lower(), id=None, category="Rebuild" if via == "rebuild" else "TaskListed", effect=effect,
        occurred_ms=occurred_ms, task_id=task.id, deployment_id=task.deployment_id or task.runbook_run_id, info=info,
    )  # fmt: skip
    return context.board.deliver(event, via=via)


def deliver_paused(context: Context, task: Task, *, via: str) -> None:
    """Tell the board that *task* is paused, unless it knows."""
    place = context.board.place(task.id)
    if place and not place.run.paused:
        now_ms = context.board.now_ms() + context.board.octopus_offset().middle_ms
        deliver_state(context, task, Effect.PAUSED, now_ms, via=via, key=f"{via}-{task.id}-paused-{now_ms}")
