"""Manual interventions of parked runs: which one a run is paused for, who may answer it, and who has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.domain.run import State
from app.domain.status import RunStatus
from app.domain.terms import shows_own_line
from app.jobs import RESUME
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusDenied, OctopusError
from app.octopus.interruptions import Interruption
from app.octopus.interventions import REMEDY, Claim, contradiction_of, has_own_step, is_candidate, is_own
from app.octopus.tasks import Task
from workers.context import Context

log = structlog.get_logger()

#: A claim ends, and its intervention is raised, within this; before, a run that is not paused says nothing.
SETTLE_MS = 30_000

#: How long a run that is paused for something else is not looked at again.
UNANSWERED_EVERY = timedelta(minutes=2)


@dataclass(frozen=True)
class InterventionFinding:
    """The intervention of a parked run. *refusal* says why octowait may not answer it, and what to do; None: it may."""

    interruption: Interruption
    refusal: str | None = None


def find(context: Context, octopus: OctopusClient, place: RunStatus) -> InterventionFinding | None:
    """The intervention that the run is, or was, paused for; None if it has not been raised yet.

    1. Of all interventions of the task those that may be it: pending, or raised since the run asked.
    2. Of these octowait's own: raised by a step with the terms line, in the process that the run was made with, for the
       run that claimed its place.
    3. If the process has no such step, or cannot be read, the newest, which octowait may not answer: people do.

    Raises:
        OctopusError: Octopus did not say, and trying again can help.
    """
    candidates = _candidates(context, octopus, place)
    return judge(octopus, claim_of(place), candidates) if candidates else None


def claim_of(place: RunStatus) -> Claim:
    """The ids that the run named when it asked."""
    info = place.run.info
    project = info.project.id if info.project else None
    return Claim(
        place.task_id, info.space, project, info.deployment_id, info.runbook_run_id, place.run.claim
    )  # fmt: skip


def judge(octopus: OctopusClient, claim: Claim, candidates: Sequence[Interruption]) -> InterventionFinding | None:
    """Which of the interventions *candidates*, at least one, is that of the run, and whether octowait may answer it.

    Raises:
        OctopusError: Octopus did not say, and trying again can help.
    """
    newest = _newest(candidates)
    try:
        task = octopus.task(claim.task_id, space=claim.space_id)
        run = octopus.run_of(task)
        steps = octopus.process_snapshot(run, space=task.space_id)
    except OctopusError as error:
        if not error.permanent:
            raise
        return InterventionFinding(newest, _unreadable(newest, error))
    contradiction = contradiction_of(claim, task, run)
    if contradiction:
        return InterventionFinding(newest, f"octowait does not answer {newest.id}: {contradiction}. Answer it by hand.")
    own = [each for each in candidates if is_own(each, steps, claim.id)]
    if own:
        return InterventionFinding(_newest(own))
    if has_own_step(steps):
        # These are somebody's approvals; the one for octowait has not been raised.
        return None
    return InterventionFinding(newest, f"{newest.id} ({newest.title}) is not octowait's to answer. {REMEDY}")


def _unreadable(interruption: Interruption, error: OctopusError) -> str:
    needed = " Its user needs ProcessView, and RunbookView for runbooks." if isinstance(error, OctopusDenied) else ""
    return (
        f"octowait does not answer {interruption.id}, since it cannot read the process that raised it ({error})."
        f"{needed} Until it can, answer it by hand."
    )


def _candidates(context: Context, octopus: OctopusClient, place: RunStatus) -> list[Interruption]:
    tolerance_ms = context.settings.clock_tolerance_seconds * 1000
    # One of an earlier run of the same task is not this run's, unless it is pending: a run that has ended asks nobody.
    # A run can have asked again, or been put back in line, after its intervention was raised.
    rebuilt = place.run.rebuilt
    least_ms = context.board.octopus_offset().least_ms
    first_ms = rebuilt.raised_ms if rebuilt else place.run.requested_at_ms + least_ms - tolerance_ms
    space = place.run.info.space
    return [
        interruption
        for interruption in octopus.interruptions(place.task_id, pending_only=False, space=space)
        if is_candidate(interruption, place.task_id)
        and (interruption.is_pending or (interruption.created_ms or first_ms) >= first_ms)
    ]


def _newest(candidates: Sequence[Interruption]) -> Interruption:
    return max(candidates, key=lambda each: (each.is_pending, each.created_ms or 0))


def look_after(context: Context, octopus: OctopusClient, place: RunStatus, task: Task) -> None:
    """See what the interventions of a run say that waits or holds, as far as *task*, its task, gives reason to ask.

    Raises:
        OctopusError: Octopus did not say.
    """
    is_parked = place.run.parked
    if is_parked and place.is_waiting:
        # One that works is no waiter, whatever its task says of itself: that can be out of date.
        if not task.is_paused or (task.is_running and _may_ask(context, "override", place)):
            see_override(context, octopus, place)
        return
    if is_parked and place.is_granted and (task.is_paused or task.is_queued):
        see_unanswered(context, octopus, place)
    if not context.settings.paused_holds and (task.is_paused or place.run.paused):
        see_pause(context, octopus, place)


def see_pause(context: Context, octopus: OctopusClient, place: RunStatus) -> None:
    """Take the machines of a paused run back, where paused runs give way, if it is still paused: the event of its pause
    may be old, and what its task says of itself out of date.

    Raises:
        OctopusError: Octopus did not say; it keeps its machines.
    """
    holds = place.is_granted or place.state is State.OBSERVED
    if not holds or context.tracked.is_to_be_resumed(place.task_id):
        return
    space = place.run.info.space
    pending = octopus.interruptions(place.task_id, pending_only=True, space=space)
    # What a parked run is let go on by is no pause of its work.
    if not pending or (place.run.parked and any(shows_own_line(each.instructions) for each in pending)):
        return
    outcome = context.board.give_way(place, interruption=pending[0].id)
    log.info("reconcile: it is paused, and gives way", interruption=pending[0].id, outcome=outcome)


def see_override(context: Context, octopus: OctopusClient, place: RunStatus) -> None:
    """Note that somebody has let a waiting parked run go on before its turn, if so.

    Raises:
        OctopusError: Octopus did not say.
    """
    if place.now_ms - place.run.asked_at_ms < SETTLE_MS:
        return
    finding = find(context, octopus, place)
    if finding and not finding.interruption.is_pending:
        # Ours is an answer that a restored backup of Redis does not know.
        cause = "octowait" if finding.interruption.has_responsibility else "by_hand"
        note_answer(context, place, finding.interruption, cause=cause)


def see_unanswered(context: Context, octopus: OctopusClient, place: RunStatus) -> None:
    """Have the intervention of a granted parked run answered that nobody is about to answer, if there is one.

    Raises:
        OctopusError: Octopus did not say.
    """
    # What it is paused for may be somebody's approval, for hours.
    if context.tracked.is_to_be_resumed(place.task_id) or not _may_ask(context, "unanswered", place):
        return
    candidates = [
        each for each in _candidates(context, octopus, place) if each.is_pending and shows_own_line(each.instructions)
    ]
    finding = judge(octopus, claim_of(place), candidates) if candidates else None
    # Also of one that is not octowait's to answer a person is told there.
    if finding and context.board.remind(place) == "reminded":
        log.warning(
            "reconcile: a granted run was still paused", task=place.task_id, interruption=finding.interruption.id
        )
        context.enqueue(RESUME)


def _may_ask(context: Context, what: str, place: RunStatus) -> bool:
    """Whether a run is to be asked about again that says the same for hours, and mostly nothing."""
    return context.claims.claim(f"{what}-{place.task_id}", UNANSWERED_EVERY)


def note_answer(context: Context, place: RunStatus, interruption: Interruption, *, cause: str) -> str:
    """Note who has answered it, ``octowait`` or ``by_hand``, and what; see `Board.answered`."""
    return context.board.answered(
        place.task_id, cause, seen=place, result=interruption.result or "Proceed", interruption=interruption.id,
        by=interruption.responsible_user_id,
    )  # fmt: skip
