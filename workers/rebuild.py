"""The rebuild job: restores the board from Octopus after a loss of Redis, then opens it again (rule 15)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

import structlog

from app.domain.events import Effect
from app.domain.run import Rebuilt, RunRequest, State, parse_parent
from app.domain.terms import claims_in, parse_terms, shows_own_line
from app.jobs import CATCH_UP, REBUILD
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusError
from app.octopus.interruptions import Interruption
from app.octopus.interventions import Claim, is_candidate
from app.octopus.tasks import Task
from workers.active_tasks import began_ms, deliver_paused, deliver_state
from workers.context import Context, current
from workers.intervention import judge, see_override
from workers.resolve import Resolver
from workers.resolving.facts import Unclear

log = structlog.get_logger()

#: Between two passes.
PASS_EVERY = timedelta(seconds=5)

#: Of each second of a waiter's time to live, the milliseconds until it has come back: it shows life every half of it.
SETTLED = 750

#: How often is asked again about a run whose machines Octopus will not tell.
UNCLEAR_EVERY = timedelta(minutes=1)


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(REBUILD)
    if context.octopus and context.board.closed_since_ms() and context.claims.claim("rebuild", PASS_EVERY):
        rebuild(context, context.octopus.asking(urgent=True))


def rebuild(context: Context, octopus: OctopusClient) -> bool:
    """One pass; whether the board is open after it.

    1. List what runs or is paused. Nothing: open.
    2. Wait until every step that waits had time to come back: its task runs too, and nothing but its next poll tells a
       waiter from a run that works on its machines.
    3. Make the machines of all others busy; parked waiters, who do not come back by themselves, are put in line.
    4. Open, as soon as it is known of every run which machines it uses.

    Raises:
        OctopusError: Octopus did not say; the board stays closed.
        StoreError: Redis does not answer.
    """
    board = context.board
    # The first look at an empty Redis notes since when it is closed.
    board.sweep()
    closed_ms = board.closed_since_ms()
    active = octopus.active_tasks(spaces=context.settings.octopus_spaces)
    pending = _pending(octopus, active)
    running = [task for task in active if pending.get(task.id.lower()) or task.has_begun]
    settled_ms = (board.settling_since_ms() or 0) + context.settings.waiter_ttl_seconds * SETTLED
    if running and board.now_ms() < settled_ms:
        log.info("rebuild: waiting for waiters to come back", running=len(running))
        return False
    for task in sorted(running, key=lambda task: task.start_ms or 0):
        # One that waits learns only when Octopus began it.
        start_ms = began_ms(task)
        deliver_state(
            context, task, Effect.STARTED, start_ms, via="rebuild", key=f"rebuild-{task.id}-started-{start_ms}"
        )
        interruptions = pending.get(task.id.lower(), [])
        is_paused = bool(interruptions) or task.has_pending_interruptions
        is_parked = any(is_candidate(each, task.id) and shows_own_line(each.instructions) for each in interruptions)
        _recover(context, octopus, task, is_paused=is_paused, is_parked=is_parked)
        if is_paused and not _rejoin_parked(context, octopus, task, interruptions):
            deliver_paused(context, task, via="rebuild")
    unknown = _resolve(context, octopus, running, closed_ms or 0)
    if unknown:
        log.warning("rebuild: Octopus has not said of some runs which machines they use, trying again", tasks=unknown)
        return False
    if not board.open("rebuilt", run_count=len(running), closed_ms=closed_ms):
        # Redis was lost once more, or an operator opened it meanwhile.
        return board.closed_since_ms() is None
    log.warning("rebuild: done, granting again", running=len(running))
    context.enqueue(CATCH_UP)
    return True


def _pending(octopus: OctopusClient, active: Collection[Task]) -> dict[str, list[Interruption]]:
    """What each of *active* asks people, by lower-case task id: what a task says of itself can be out of date.

    Raises:
        OctopusError: Octopus did not say, and trying again can help.
    """
    interruptions: dict[str, list[Interruption]] = {}
    for space in sorted({task.space_id or "" for task in active}):
        try:
            for each in octopus.pending_interruptions(space=space or None):
                interruptions.setdefault((each.task_id or "").lower(), []).append(each)
        except OctopusError as error:
            if not error.permanent:
                raise
            # A key that may not see them cannot answer them either: those tasks count as at work.
            log.warning("rebuild: the interruptions of a space cannot be read", space=space, error=str(error))
    return interruptions


def _rejoin_parked(context: Context, octopus: OctopusClient, task: Task, pending: Sequence[Interruption]) -> bool:
    """Put a run that is paused for octowait's own intervention back into its lines: whether it is one. Its claim was
    lost, and with it what its intervention does not say.

    Args:
        pending: What the task asks people.
    """
    place = context.board.place(task.id)
    if place is None or place.state is not State.STARTED:
        return place is not None and (place.is_waiting or (place.is_granted and place.run.parked))
    candidates = [each for each in pending if is_candidate(each, task.id) and shows_own_line(each.instructions)]
    claim = Claim(task.id, task.space_id, None, task.deployment_id, task.runbook_run_id)
    finding = judge(octopus, claim, candidates) if candidates else None
    if finding is None or finding.refusal:
        return False
    ours = finding.interruption
    try:
        facts = Resolver(context, octopus).facts.find(place, task)
    except (OctopusError, Unclear) as error:
        if not getattr(error, "permanent", True):
            raise
        # It stays one whose machines are unknown, and the board closed for it.
        return True
    if facts.machines:
        terms = parse_terms(ours.instructions)
        parent, word = parse_parent(terms.on_behalf_of or "")
        claim_id = next(iter(claims_in(ours.instructions)), None)
        raised_ms = ours.created_ms or task.start_ms or 0
        timeout = terms.timeout and max(terms.timeout - _passed(context, raised_ms), timedelta(seconds=1))
        run = RunRequest(
            task.id, info={**place.run.info.as_json(), **facts.info}, parked=True, timeout=timeout,
            priority=terms.priority, on_behalf_of=parent or None, parent_word=word, claim=claim_id,
            rebuilt=Rebuilt(raised_ms, terms.is_complete),
        )  # fmt: skip
        context.board.join(run, [machine.id for machine in facts.machines])
    return True


def _passed(context: Context, since_ms: int) -> timedelta:
    """How long ago that was at least, by Octopus's clock."""
    now_ms = context.board.now_ms() + context.board.octopus_offset().least_ms
    return timedelta(milliseconds=max(0, now_ms - since_ms))


def _recover(context: Context, octopus: OctopusClient, task: Task, *, is_paused: bool, is_parked: bool) -> None:
    """Make its machines busy where the board takes it for a waiter or for ended, as a restored backup does; put it back
    in line where the board takes it for one that was granted, and it waits.

    Args:
        is_parked: It is paused for octowait's own intervention.
    """
    place = context.board.place(task.id)
    if place and place.is_waiting and place.run.parked:
        if not is_paused:
            see_override(context, octopus, place)
    elif context.board.recover(task.id, paused=is_paused, parked=is_parked) == "observed":
        log.warning("rebuild: it was taken for a waiter, or for ended, and works", task=task.id)


def _resolve(context: Context, octopus: OctopusClient, running: list[Task], closed_ms: int) -> list[str]:
    """Make the machines of *running* busy; those of which Octopus has not said which they are."""
    resolver = Resolver(context, octopus)
    task_ids = {task.id.lower() for task in running}
    unknown = []
    for task_id in context.unresolved.tasks():
        if task_id.lower() not in task_ids:
            continue
        turn = f"rebuild-{closed_ms}-{task_id}"
        if not context.claims.claim(turn, UNCLEAR_EVERY):
            unknown.append(task_id)
            continue
        outcome = resolver.attempt(task_id)
        if outcome == "permanent":
            _say_unclear(context, task_id, resolver.why, closed_ms)
        else:
            context.claims.give_back(turn)
        if outcome in ("permanent", "transient"):
            unknown.append(task_id)
    return unknown


def _say_unclear(context: Context, task_id: str, why: str, closed_ms: int) -> None:
    """Tell people, once, that the board stays closed for a run: as a dead letter, which is shown and told of."""
    if not context.claims.claim(f"unclear-{closed_ms}-{task_id}", timedelta(days=1)):
        return
    error = (
        f"nobody is granted until {task_id} has ended, for Octopus does not say which machines it uses "
        f"({why[:120]}); if you know that it is in nobody's way: octowait rebuild --open --reason '...'"
    )
    context.services.dead_jobs.keep(job=REBUILD.name, error=error)
    context.board.note("job_failed", job=REBUILD.name, error=error)
