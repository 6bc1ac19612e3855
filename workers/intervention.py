"""The manual intervention that a parked run is paused for: which one that is, and who has answered it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.coordination.board import info_of
from app.domain.place import Place
from app.domain.run import MAX_PRIORITY
from app.jobs import RESUME, enqueue
from app.octopus.client import OctopusClient
from app.octopus.values import Interruption
from workers.context import Context

log = structlog.get_logger()

#: An intervention is octowait's to answer only if its title or instructions say so: others are somebody's approvals.
MARK = "octowait"

#: A claim ends, and its intervention is raised, within this; before, a run that is not paused says nothing.
SETTLE_MS = 30_000

#: How long a granted run that is paused for something else is not looked at again.
UNANSWERED_EVERY = timedelta(minutes=2)

#: ``Octowait.TimeoutMinutes`` where it is not set.
DEFAULT_MINUTES = 120

_TERMS = re.compile(
    r"on behalf of \[(?P<parent>[^\]]*)\], priority \[(?P<priority>[^\]]*)\], time-out \[(?P<minutes>[^\]]*)\]"
)


def is_ours(interruption: Interruption) -> bool:
    """Whether it is octowait's to answer: no guided failure of a step called so, no child's shown at its parent."""
    is_manual = interruption.type.lower() == "manualintervention"
    return is_manual and not interruption.is_linked and MARK in interruption.text.lower()


def find(context: Context, octopus: OctopusClient, place: Place) -> Interruption | None:
    """The newest of octowait's interventions of this run, pending or not; None if it has not been raised yet.

    Raises:
        OctopusError: Octopus did not say.
    """
    space = info_of(place.run).get("space_id")
    tolerance_ms = context.settings.clock_tolerance_seconds * 1000
    # One of an earlier run of the same task is not this run's, unless it is pending: a run that has ended asks nobody.
    # A run can have asked again, or been put back in line, after its intervention was raised.
    rebuilt = place.run.get("rebuilt")
    first_ms = rebuilt["raised_ms"] if rebuilt else place.run["requested_at_ms"] - tolerance_ms
    ours = [
        found
        for found in octopus.interruptions(place.task_id, pending_only=False, space=space)
        if is_ours(found) and (found.is_pending or (found.created_ms or first_ms) >= first_ms)
    ]
    return max(ours, key=lambda found: found.created_ms or 0, default=None)


def see_override(context: Context, octopus: OctopusClient, place: Place) -> None:
    """Note that somebody has let a waiting parked run go on before its turn, if so.

    Raises:
        OctopusError: Octopus did not say.
    """
    if place.now_ms - place.run["asked_at_ms"] < SETTLE_MS:
        return
    found = find(context, octopus, place)
    if found and not found.is_pending:
        # Ours is an answer that a restored backup of Redis does not know.
        note_answer(context, place, found, cause="octowait" if found.has_responsibility else "by_hand")


def see_unanswered(context: Context, octopus: OctopusClient, place: Place) -> None:
    """Have the intervention of a granted parked run answered that nobody is about to answer, if there is one.

    Raises:
        OctopusError: Octopus did not say.
    """
    # What it is paused for may be somebody's approval, for hours.
    if context.active.is_to_be_resumed(place.task_id) or not context.unresolved.claim(
        f"unanswered-{place.task_id}", UNANSWERED_EVERY
    ):
        return
    found = find(context, octopus, place)
    if found and found.is_pending and context.board.remind(place) == "reminded":
        log.warning("reconcile: a granted run was still paused", task=place.task_id, interruption=found.id)
        enqueue(context.board.client, context.settings, RESUME)


def note_answer(context: Context, place: Place, found: Interruption, *, cause: str) -> str:
    """Note who has answered it, ``octowait`` or ``by_hand``, and what; see `Board.answered`."""
    return context.board.answered(
        place.task_id, cause, seen=place, result=found.result or "Proceed", interruption=found.id,
        by=found.responsible_user_id,
    )  # fmt: skip


@dataclass(frozen=True)
class Terms:
    """What a run asked for besides its machines. *is_complete*: what is not here it had not asked for."""

    on_behalf_of: str | None = None
    priority: int = 0
    timeout: timedelta | None = None
    is_complete: bool = False


def terms_of(interruption: Interruption) -> Terms:
    """The terms that an intervention's instructions say, as docs/how-to/wait-without-a-task-slot.md has them written.

    An expression that Octopus could not resolve stands there as it is, and is a parameter that was not set.
    """
    said = _TERMS.search(interruption.text)
    if not said:
        return Terms()
    parent = re.fullmatch(r"ServerTasks-\d+", said["parent"], re.IGNORECASE)
    priority = re.fullmatch(r"-?\d{1,7}", said["priority"])
    minutes = re.fullmatch(r"\d{1,5}(\.\d{1,3})?", said["minutes"])
    return Terms(
        on_behalf_of=parent[0] if parent else None,
        priority=max(-MAX_PRIORITY, min(MAX_PRIORITY, int(priority[0]))) if priority else 0,
        timeout=timedelta(minutes=float(minutes[0]) if minutes else DEFAULT_MINUTES),
        is_complete=True,
    )
