"""The job that compares who holds and who waits with the state of their server tasks, and ends what has ended."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

import structlog

from app.coordination.board import info_of
from app.domain.place import Place
from app.domain.run import TaskEnd
from app.jobs import RECONCILE
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import OctopusError
from app.octopus.values import Task
from workers.context import Context, about, current
from workers.intervention import look_after

log = structlog.get_logger()

#: Requests of one pass while nobody waits. While somebody does it is one, so that the number of requests a minute does
#: not grow with the number of waiters.
MOST_PAGES = 5

#: Tasks of one pass that are asked for one by one, since the list did not have them.
MOST_SINGLE = 5

#: How long one that Octopus does not know is not asked for again: what it hides it hides for long.
SINGLE_EVERY = timedelta(minutes=5)

#: What an event would have said of such a state.
OUTCOMES = {"success": "succeeded", "timedout": "timedout", "failed": "failed", "canceled": "canceled"}


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(RECONCILE)
    if context.octopus:
        pages = 1 if context.active.somebody_waits() else MOST_PAGES
        reconcile(context, context.octopus.asking(urgent=True), context.active.tasks(), pages=pages)


def reconcile(context: Context, octopus: OctopusClient, task_ids: list[str], *, pages: int = 1) -> None:
    """Ask Octopus about those of *task_ids* that were asked about longest ago, and end what has ended.

    Raises:
        OctopusError: Octopus did not say; nothing is ended then.
        StoreError: Redis does not answer.
    """
    chosen = context.active.in_turn(task_ids, pages * IDS_A_PAGE)
    # Looked at first and asked about second: what happens in between makes the answer count for nothing.
    seen = {task_id.lower(): place for task_id in chosen if (place := context.board.place(task_id))}
    spaces = sorted({space for place in seen.values() if (space := _space(place))})
    tasks = octopus.tasks([place.task_id for place in seen.values()], spaces=spaces)
    missing = seen.keys() - {task.id.lower() for task in tasks}
    singly = islice(filter(lambda key: context.unresolved.claim(f"single-{key}", SINGLE_EVERY), missing), MOST_SINGLE)
    for task in [*tasks, *_one_by_one(context, octopus, [seen[key] for key in singly])]:
        with about(seen[task.id.lower()]):
            _compare(context, octopus, seen[task.id.lower()], task)


def _compare(context: Context, octopus: OctopusClient, place: Place, task: Task) -> None:
    if task.is_completed:
        outcome = context.board.release(place.task_id, cause="reconciled", seen=place, ended=end_of(task))
        log.info("reconcile: its task has ended", task=place.task_id, state=task.state, outcome=outcome)
    elif task.state.lower() == "cancelling" and not place.run.get("cancelling_at_ms"):
        context.board.note_cancelling(place)
    else:
        look_after(context, octopus, place, task)


def end_of(task: Task) -> TaskEnd:
    """How a completed task ended, in the words of its event."""
    return TaskEnd(OUTCOMES.get(task.state.lower(), task.state.lower()), task.completed_ms)


def _one_by_one(context: Context, octopus: OctopusClient, places: list[Place]) -> list[Task]:
    """Those that a list over all spaces did not have. One that Octopus does not know stays as it is: the API key may
    not see it, and a machine that stays busy is seen and freed.
    """
    found = []
    for place in places:
        try:
            found.append(octopus.task(place.task_id, space=_space(place)))
        except OctopusError as error:
            with about(place):
                log.warning("reconcile: no answer about a task that holds or waits", error=str(error))
            if error.permanent:
                continue
        context.unresolved.give_back(f"single-{place.task_id}")
    return found


def _space(place: Place) -> str | None:
    space: str | None = info_of(place.run).get("space_id")
    return space
