"""The reconcile job: compares holders and waiters with their server tasks in Octopus, and ends what has ended.

It also lists the active tasks, and so finds starts that no webhook brought.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from time import monotonic

import structlog

from app.coordination.unseen import UnseenRun
from app.domain.run import TaskEnd
from app.domain.status import RunStatus
from app.jobs import RECONCILE
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import OctopusDenied, OctopusError, OctopusMissing
from app.octopus.tasks import Task
from app.settings import Settings
from workers.active_tasks import deliver_starts, list_active
from workers.by_space import BySpace, why_of
from workers.check import check, check_missing
from workers.context import Context, current, log_context
from workers.intervention import look_after
from workers.queued_again import look_for_end

log = structlog.get_logger()

#: Requests about tasks of one space in one pass while nobody waits. While somebody does it is one, so that the number
#: of requests a minute does not grow with the number of waiters.
MOST_PAGES = 5

#: The shares of OCTOPUS_RPM that the watches of a minute may use, and the questions and the lists of reconciles: with
#: more spaces than that is enough for they take turns (P7).
WATCH_SHARE = 0.5
RECONCILE_SHARE = 0.125
LIST_SHARE = 0.25

#: Tasks of a minute that are asked for one by one, since the list did not have them; two requests each.
MOST_SINGLE = 5

#: How long one that Octopus does not know is not asked for again.
SINGLE_EVERY = timedelta(minutes=5)

#: The same for one that it knows, elsewhere than the run had said.
ELSEWHERE_EVERY = timedelta(minutes=1)

#: What an event would have said of such a state.
OUTCOMES = {"success": "succeeded", "timedout": "timedout", "failed": "failed", "canceled": "canceled"}

#: How often what is kept in Redis is held against each other, and put right.
AUDIT_EVERY = timedelta(minutes=5)

#: The places of one space, None for an unknown one, by lower-case task id.
Groups = Mapping[str | None, Mapping[str, RunStatus]]


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(RECONCILE)
    if context.octopus is None or context.claims.is_claimed("reconcile"):
        return
    rest, began = timedelta(seconds=context.settings.reconcile_seconds / 2), monotonic()
    try:
        _look(context, context.octopus.asking(urgent=True))
    finally:
        if monotonic() - began > rest.total_seconds():
            # It goes before the jobs that are not urgent, which would never have their turn while Octopus is slow.
            context.claims.put_off("reconcile", rest)


def _look(context: Context, octopus: OctopusClient) -> None:
    if context.claims.claim("audit", AUDIT_EVERY):
        audit(context)
    by_space = BySpace(context)
    active = context.tracked.tasks()
    _forget_unseen(context, active)
    pages = 1 if context.tracked.somebody_waits() else MOST_PAGES
    groups = choose(context, by_space, active, pages=pages, spaces=_requests(context.settings, RECONCILE_SHARE))
    listed = _list(context, octopus, by_space)
    compare(context, octopus, by_space, groups, listed=listed)
    by_space.finish()


def audit(context: Context) -> None:
    """Put right what does not agree in Redis. Whoever stumbles over that is kept from all that it should do.

    Raises:
        StoreError: Redis does not answer.
    """
    for flaw in context.board.audit.repair():
        log.warning(f"reconcile: put right: {flaw}", code=flaw.code, task=flaw.task_id, machines=flaw.machines)


def _list(context: Context, octopus: OctopusClient, by_space: BySpace) -> list[Task]:
    """What Octopus lists as active, of which the board is told what it does not know."""
    if context.board.closed_since_ms() is not None:
        # After a loss a waiter that has not come back yet looks like a run at work: the rebuild gives it time first.
        return []
    since_ms = context.board.now_ms()
    spaces = context.tracked.in_turn(context.settings.octopus_spaces, _requests(context.settings, LIST_SHARE))
    listed = list_active(octopus, by_space, spaces)
    deliver_starts(context, octopus, by_space, listed, since_ms=since_ms)
    return listed


def _requests(settings: Settings, share: float) -> int:
    return requests_of(settings, share, settings.reconcile_seconds)


def requests_of(settings: Settings, share: float, seconds: int) -> int:
    """How many requests one pass of a job may make that is done every *seconds*, to stay within its *share*."""
    return max(1, int(settings.octopus_rpm * share * seconds / 60))


def reconcile(
    context: Context, octopus: OctopusClient, task_ids: Sequence[str], *, pages: int = 1, spaces: int = 1
) -> None:
    """Ask Octopus about those of *task_ids* that were asked about longest ago, and end what has ended.

    Args:
        pages: Requests for one space, of `IDS_A_PAGE` tasks each.
        spaces: How many of them at most.

    Raises:
        OctopusError: Octopus did not say anything; nothing is ended then.
        StoreError: Redis does not answer.
    """
    by_space = BySpace(context)
    compare(context, octopus, by_space, choose(context, by_space, task_ids, pages=pages, spaces=spaces))
    by_space.finish()


def choose(context: Context, by_space: BySpace, task_ids: Sequence[str], *, pages: int, spaces: int) -> Groups:
    """Those of *task_ids* whose turn it is, as they stand now, by space.

    Looked at first and asked about second: what happens in between makes the answer count for nothing.
    """
    groups: dict[str | None, dict[str, RunStatus]] = {}
    #: Each space as the first run writes it, and whether it costs a request.
    written: dict[str | None, str | None] = {}
    costs: dict[str | None, bool] = {}
    taken: list[str] = []
    for task_id in context.tracked.by_turn(task_ids)[: IDS_A_PAGE * max(pages, spaces)]:
        place = context.board.place(task_id)
        space = place.run.info.space if place else None
        key = space and space.lower()
        if place and key not in groups:
            if key not in costs:
                costs[key], written[key] = not by_space.why_hidden(space), space
            if costs[key] and sum(costs[each] for each in groups) >= spaces:
                continue
            groups[key] = {}
        if place and len(groups[key]) >= IDS_A_PAGE * pages:
            continue
        taken.append(task_id)
        if place:
            groups[key][task_id.lower()] = place
    context.tracked.took_turn(taken)
    return {written[key]: group for key, group in groups.items()}


def compare(
    context: Context, octopus: OctopusClient, by_space: BySpace, groups: Groups, *, listed: Iterable[Task] = ()
) -> None:
    """End those of *groups* whose tasks have ended, and see what else their tasks say.

    What Octopus does not say ends nothing: neither that it lists a task no longer, nor that it hides a space.

    Args:
        listed: What Octopus has said after the look at *groups*.

    Raises:
        OctopusError: nobody would get an answer.
        StoreError: Redis does not answer.
    """
    known = {task.id.lower(): task for task in listed}
    missing: list[RunStatus] = []
    for space, group in groups.items():
        tasks = {key: known[key] for key in group if key in known}
        rest = [place.task_id for key, place in group.items() if key not in known]
        answer = by_space.ask(space, partial(octopus.tasks, rest, space=space)) if rest else ()
        tasks |= {task.id.lower(): task for task in answer or () if task.id.lower() in group}
        for key, task in tasks.items():
            _see(context, octopus, by_space, group[key], task)
        context.unseen.forget(tasks)
        # Without an answer it may have one the next time, unless the space is hidden: they can be in another one.
        if answer is not None or by_space.why_hidden(space):
            missing += [place for key, place in group.items() if key not in tasks]
    _see_singly(context, octopus, by_space, _see_missing(context, octopus, by_space, missing))


def _see(context: Context, octopus: OctopusClient, by_space: BySpace, place: RunStatus, task: Task) -> None:
    with log_context(place):
        try:
            _compare(context, octopus, place, task)
        except OctopusError as error:
            # One run's trouble, e.g. that its interruptions may not be read.
            log.warning("reconcile: no answer about a run", task=place.task_id, error=str(error))
            by_space.failed(error)


def _compare(context: Context, octopus: OctopusClient, place: RunStatus, task: Task) -> None:
    if task.is_completed:
        outcome = context.board.release(place.task_id, cause="reconciled", seen=place, ended=end_of(task))
        log.info("reconcile: its task has ended", task=place.task_id, state=task.state, outcome=outcome)
    elif place.run.unchecked:
        check(context, octopus, place, task)
    elif task.state.lower() == "cancelling" and not place.run.cancelling_at_ms:
        context.board.note_cancelling(place)
    else:
        if task.is_queued and not task.is_paused and (not place.run.parked or not task.has_begun):
            look_for_end(context, place, task)
        look_after(context, octopus, place, task)


def end_of(task: Task) -> TaskEnd:
    """How a completed task ended, in the words of its event."""
    return TaskEnd(OUTCOMES.get(task.state.lower(), task.state.lower()), task.completed_ms)


def _see_singly(context: Context, octopus: OctopusClient, by_space: BySpace, places: Iterable[RunStatus]) -> None:
    """Those that a list did not have. One that Octopus does not know stays as it is: the API key may not see it, and a
    machine that stays busy is seen and freed.
    """
    for place in places:
        turn = f"single-{place.task_id}"
        if not context.claims.claim(turn, SINGLE_EVERY):
            continue
        if not _has_slot(context):
            context.claims.give_back(turn)
            return
        space = place.run.info.space
        try:
            task = octopus.task_anywhere(place.task_id, space=space)
        except OctopusError as error:
            if isinstance(error, OctopusDenied | OctopusMissing):
                _note_unseen(context, place, by_space.why_hidden(space) or why_of(error, place.task_id))
                if not getattr(error, "is_about_key", False):
                    # A grant that nobody has come for does not last for ever.
                    context.board.refuse_plan(place.task_id)
            else:
                context.claims.give_back(turn)
            by_space.failed(error)
        else:
            context.claims.put_off(turn, ELSEWHERE_EVERY)
            context.unseen.forget([place.task_id])
            _see(context, octopus, by_space, place, task)


def _see_missing(
    context: Context, octopus: OctopusClient, by_space: BySpace, places: Sequence[RunStatus]
) -> list[RunStatus]:  # fmt: skip
    """Look in all spaces, with one request, for those that only their steps have told of; the others of *places*."""
    new = [place for place in places if place.run.unchecked and not by_space.why_hidden(place.run.info.space)]
    try:
        tasks = {task.id.lower(): task for task in octopus.tasks([place.task_id for place in new])}
        for place in new:
            if task := tasks.get(place.task_id.lower()):
                _see(context, octopus, by_space, place, task)
            else:
                check_missing(context, octopus, place)
    except OctopusError as error:
        by_space.failed(error)
        return list(places)
    return [place for place in places if not place.run.unchecked]


def _has_slot(context: Context) -> bool:
    """Whether one more task may be asked for by itself in this minute."""
    minute = timedelta(minutes=1)
    return any(context.claims.claim(f"single-slot-{number}", minute) for number in range(MOST_SINGLE))


def _note_unseen(context: Context, place: RunStatus, why: str) -> None:
    run = UnseenRun(place.task_id, place.run.info.space, why, place.now_ms)
    if context.unseen.note(run):
        with log_context(place):
            log.warning("reconcile: a run that holds or waits cannot be looked after", why=why)


def _forget_unseen(context: Context, active: Iterable[str]) -> None:
    """Those that neither hold nor wait any more need not be looked after."""
    left = {task_id.lower() for task_id in (*active, *context.unresolved.tasks())}
    context.unseen.forget(each.task_id for each in context.unseen.runs() if each.task_id.lower() not in left)
