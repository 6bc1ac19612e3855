"""The job that finds out who runs where after Redis has lost it, and then lets the board grant again (rule 15)."""

from __future__ import annotations

from datetime import timedelta

import structlog

from app.coordination.board import info_of
from app.domain.events import Effect, Event
from app.domain.place import State
from app.domain.run import Run
from app.jobs import CATCH_UP, REBUILD, enqueue
from app.octopus.client import OctopusClient
from app.octopus.values import Task
from workers.context import Context, current
from workers.intervention import MARK
from workers.resolve import Resolver

log = structlog.get_logger()

#: Between two passes.
PASS_EVERY = timedelta(seconds=5)


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(REBUILD)
    if context.octopus and context.board.closed_since_ms() and context.unresolved.claim("rebuild", PASS_EVERY):
        rebuild(context, context.octopus.asking(urgent=True))


def rebuild(context: Context, octopus: OctopusClient) -> bool:
    """One pass; whether the board is open after it.

    1. List what runs or is paused. Nothing: open.
    2. Wait until every step that waits had time to come back: its task runs too, and nothing but its next poll tells a
       waiter from a run that works on its machines.
    3. Make the machines of all others busy; parked waiters, who do not come back by themselves, are put in line.
    4. Open, as soon as no answer of Octopus is missing that may still come.

    Raises:
        OctopusError: Octopus did not say; the board stays closed.
        StoreError: Redis does not answer.
    """
    board = context.board
    found = [task for task in octopus.active_tasks(spaces=context.settings.octopus_spaces) if _is_under_way(task)]
    settled_ms = (board.closed_since_ms() or 0) + context.settings.waiter_ttl_seconds * 500
    if found and board.now_ms() < settled_ms:
        log.info("rebuild: waiting for waiters to come back", running=len(found))
        return False
    for task in sorted(found, key=lambda task: task.start_ms or 0):
        # One that waits learns only when Octopus began it.
        _tell(context, task, Effect.STARTED, task.start_ms or task.queue_ms or 0)
        if task.has_pending_interruptions and not _rejoin_parked(context, octopus, task):
            _tell(context, task, Effect.PAUSED, board.now_ms())
    unanswered = _resolve(context, octopus, found)
    if unanswered:
        log.warning("rebuild: Octopus has not answered about some runs, trying again", tasks=unanswered)
        return False
    board.open("rebuilt", found=len(found))
    log.warning("rebuild: done, granting again", running=len(found))
    enqueue(board.client, context.settings, CATCH_UP)
    return True


def _is_under_way(task: Task) -> bool:
    """Whether it has begun: also one that waits for a person, or for a slot after that."""
    return task.is_running or task.has_pending_interruptions or task.start_ms is not None


def _tell(context: Context, task: Task, effect: Effect, occurred_ms: int) -> None:
    """As an event of Octopus would."""
    info = {name: value for name, value in (
        ("space_id", task.space_id), ("deployment_id", task.deployment_id), ("runbook_run_id", task.runbook_run_id),
    ) if value}  # fmt: skip
    event = Event(
        key=f"rebuild-{task.id}-{effect}-{occurred_ms}".lower(), id=None, category="Rebuild", effect=effect,
        occurred_ms=occurred_ms, task_id=task.id, deployment_id=task.deployment_id or task.runbook_run_id, info=info,
    )  # fmt: skip
    context.board.deliver(event, via="rebuild")


def _rejoin_parked(context: Context, octopus: OctopusClient, task: Task) -> bool:
    """Put a run that is paused for octowait's own intervention back into its lines: whether it is one. Its claim was
    lost.
    """
    place = context.board.place(task.id)
    if place is None or place.state is not State.STARTED:
        return place is not None and place.is_waiting
    pending = octopus.interruptions(task.id, pending_only=True, space=task.space_id)
    if not any(MARK in interruption.text.lower() for interruption in pending):
        return False
    facts = Resolver(context, octopus).facts(place, task)
    if facts.machines:
        run = Run(task.id, info={**info_of(place.run), **facts.info}, parked=True)
        context.board.join(run, [machine.id for machine in facts.machines])
    return True


def _resolve(context: Context, octopus: OctopusClient, found: list[Task]) -> list[str]:
    """Make the machines of *found* busy; those about which Octopus has not answered, but may yet."""
    resolver = Resolver(context, octopus)
    wanted = {task.id.lower() for task in found}
    unanswered = []
    for task_id in context.unresolved.tasks():
        if task_id.lower() in wanted and resolver.attempt(task_id) == "transient":
            unanswered.append(task_id)
    return unanswered
