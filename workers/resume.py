"""The resume job: answers the interventions of parked runs whose turn has come, or will not come (rule 11)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Literal

import structlog
from rq.timeouts import JobTimeoutException

from app.domain.status import RunStatus
from app.jobs import RESUME
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusDenied, OctopusError
from app.octopus.interruptions import Interruption
from app.store.errors import StoreError
from workers.context import Context, current, log_context
from workers.intervention import find, note_answer

log = structlog.get_logger()

#: Pauses until an intervention is looked for again: a claim has just ended, and it is about to be raised; doubled. The
#: event of its raising ends the pause. Where none is octowait's to answer, each look is two requests for nothing.
PAUSES = (timedelta(seconds=1), timedelta(minutes=5))

#: A person took responsibility: it is theirs, and looked at again after this.
PERSON_PAUSE = timedelta(seconds=30)

#: Octopus does not answer: when it does, parked runs are not to stay paused for what it cost to ask in vain.
SILENT_PAUSE = timedelta(seconds=10)

#: The board is closed: when it opens, it is known whether the grant still counts.
CLOSED_PAUSE = timedelta(seconds=5)

#: The try after which the timeline says that an intervention cannot be answered.
TRIES_UNTIL_SAID = 5

#: How often the timeline says again that an intervention is not octowait's to answer.
REFUSAL_EVERY = timedelta(days=1)

#: How long one job goes on to the next run; the rest is another job's.
PASS_SECONDS = 30.0


class NotYet(Exception):
    """The intervention cannot be answered now; the message says why."""

    def __init__(self, why: str, pause: timedelta | None = None) -> None:
        super().__init__(why)
        self.pause = pause


class MayNot(NotYet):
    """The *interruption* may not be answered by octowait; the message says why, and what a person can do."""

    def __init__(self, interruption: Interruption, why: str) -> None:
        super().__init__(why, PAUSES[1])
        self.interruption = interruption


def run() -> None:
    """What RQ calls."""
    context = current.get()
    context.begin(RESUME)
    if context.octopus is None:
        return
    octopus = context.octopus.asking(urgent=True)
    ends_at = time.monotonic() + PASS_SECONDS
    for task_id in context.tracked.due_resumes(context.board.now_ms()):
        if time.monotonic() > ends_at:
            context.enqueue(RESUME)
            return
        attempt(context, octopus, task_id)


def attempt(context: Context, octopus: OctopusClient, task_id: str) -> None:
    """Answer the run's intervention, or put it off.

    Raises:
        OctopusError: Octopus does not answer; the run is put off for a moment.
        StoreError: Redis does not answer; the run stays due.
    """
    place = context.board.place(task_id)
    if place is None:
        return
    with log_context(place):
        _attempt(context, octopus, place)


def _attempt(context: Context, octopus: OctopusClient, place: RunStatus) -> None:
    task_id = place.task_id
    try:
        answer(context, octopus, place)
    except (NotYet, OctopusError) as error:
        if isinstance(error, OctopusError) and error.is_silence and context.services.reach.unreachable():
            # No try of this run, and no use to ask about the others.
            context.board.put_off(task_id, SILENT_PAUSE)
            raise
        tries = context.claims.failed(f"resume-{task_id}")
        pause = getattr(error, "pause", None) or min(PAUSES[0] * 2 ** min(tries - 1, 10), PAUSES[1])
        why = str(error) if _is_to_be_said(context, task_id, error, tries) else ""
        context.board.put_off(task_id, pause, why=why, refused=isinstance(error, MayNot))
        log.info("resume: not yet", task=task_id, why=str(error), tries=tries, pause_seconds=pause.total_seconds())
    except (StoreError, JobTimeoutException):
        raise
    except Exception as error:
        # A run that we stumble over, first in the list, would otherwise keep all others parked for ever.
        log.exception("resume: unforeseen error", task=task_id)
        context.board.put_off(task_id, PAUSES[1], why=f"{type(error).__name__}: {error}"[:300])
    else:
        context.claims.give_back(f"resume-{task_id}")


def _is_to_be_said(context: Context, task_id: str, error: Exception, tries: int) -> bool:
    if isinstance(error, MayNot):
        return context.claims.claim(f"refused-{task_id}-{error.interruption.id}", REFUSAL_EVERY)
    return tries == TRIES_UNTIL_SAID


def answer(context: Context, octopus: OctopusClient, place: RunStatus) -> None:
    """Take responsibility for the run's intervention and submit "Proceed" or, when its turn will not come, "Abort".

    Raises:
        MayNot: it is not octowait's to answer.
        NotYet: it has not been raised, or a person is at it.
        OctopusError: Octopus did not do it.
    """
    finding = find(context, octopus, place)
    if finding is None and octopus.task(place.task_id, space=place.run.info.space).is_completed:
        context.board.answered(place.task_id, "task_ended")
        return
    if finding is None:
        raise NotYet("no manual intervention with the terms line in its instructions has been raised")
    interruption = finding.interruption
    if not interruption.is_pending:
        if interruption.has_responsibility:
            # We did, and were killed before we could note it.
            _note(context, place, interruption.id, interruption.result or _result(place))
        else:
            note_answer(context, place, interruption, cause="by_hand")
        return
    if finding.refusal:
        raise MayNot(interruption, finding.refusal)
    if place.is_granted and not context.board.has_copied_grant(place):
        raise NotYet("its grant is being copied to the replicas of Redis", PAUSES[0])
    _submit(context, octopus, place, interruption)


def _submit(context: Context, octopus: OctopusClient, place: RunStatus, interruption: Interruption) -> None:
    try:
        if not interruption.has_responsibility:
            if interruption.responsible_user_id:
                raise NotYet(
                    f"{interruption.responsible_user_id} has taken responsibility for {interruption.id}", PERSON_PAUSE
                )
            octopus.take_responsibility(interruption)
        if place.is_granted and context.board.closed_since_ms() is not None:
            raise NotYet("nobody is let go on while octowait is closed: its grant may be an old one", CLOSED_PAUSE)
        octopus.submit(interruption, result=_result(place), notes=_notes(place))
    except OctopusDenied as error:
        raise MayNot(
            interruption,
            f"octowait's user may not answer {interruption.id} ({interruption.title}): {error}. Answer it by hand, and "
            "add the user to the responsible team of the intervention.",
        ) from error
    _note(context, place, interruption.id, _result(place))


def _result(place: RunStatus) -> Literal["Proceed", "Abort"]:
    return "Proceed" if place.is_granted else "Abort"


def _notes(place: RunStatus) -> str:
    return f"octowait: {place.message}"


def _note(context: Context, place: RunStatus, interruption_id: str, result: str) -> None:
    outcome = context.board.answered(place.task_id, "octowait", result=result, interruption=interruption_id)
    log.info("resume: answered", task=place.task_id, interruption=interruption_id, result=result, outcome=outcome)
