"""The manual intervention that a parked run is paused for: which one that is, and who has answered it."""

from __future__ import annotations

from datetime import timedelta

import structlog

from app.coordination.board import info_of
from app.domain.place import Place
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
    # A run that was put back in line, or asked again, can have asked later than its intervention was raised.
    first_ms = place.run["requested_at_ms"] - tolerance_ms
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
        note_by_hand(context, place, found)


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


def note_by_hand(context: Context, place: Place, found: Interruption) -> str:
    """Note who has answered it, and what; see `Board.answered`."""
    return context.board.answered(
        place.task_id, "by_hand", seen=place, result=found.result or "Proceed", interruption=found.id,
        by=found.responsible_user_id,
    )  # fmt: skip
