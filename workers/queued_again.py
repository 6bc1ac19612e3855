"""Holders whose tasks are queued: what is done about one that perhaps runs again, and whose end was lost."""

from __future__ import annotations

from datetime import timedelta

import structlog

from app.domain.run import TaskEnd
from app.domain.status import RunStatus
from app.jobs import CATCH_UP
from app.octopus.tasks import Task
from workers.context import Context

log = structlog.get_logger()


def look_for_end(context: Context, place: RunStatus, task: Task) -> None:
    """Find the end of a run whose task is queued, perhaps to run again: its state says nothing of an end that was lost.

    A task that has not begun confirms the end that a webhook has told. Else the events are read: a task is queued also
    to go on after a pause, and a waiter of an API may have asked before its task began. So for one that stays queued
    they are read less and less often, and for all together once in two reconciles.
    """
    claims, settings = context.claims, context.settings
    if place.is_waiting and not place.run.parked:
        return
    if place.run.end_event and not task.has_begun:
        ended = TaskEnd(place.run.end_event.get("outcome") or "unknown", place.run.end_event["occurred_ms"])
        outcome = context.board.release(place.task_id, cause="reconciled", seen=place, ended=ended)
        log.info("reconcile: its task has ended and is queued again", task=place.task_id, outcome=outcome)
        return
    turn, every = f"queued-{place.task_id}-{task.queue_ms}", timedelta(seconds=settings.reconcile_seconds)
    if not claims.claim(turn, every):
        return
    if not claims.claim("queued", 2 * every):
        claims.unclaim(turn)
        return
    pause = min(every * 2 ** min(claims.failed(turn), 10), timedelta(seconds=settings.catch_up_seconds))
    claims.put_off(turn, pause)
    context.enqueue(CATCH_UP)
    log.info("reconcile: its task is queued, looking for its end", task=place.task_id)
