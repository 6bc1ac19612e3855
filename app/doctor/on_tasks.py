"""Checks of the tasks that hold or wait: whether Octopus says the same of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.doctor.context import DoctorContext
from app.doctor.findings import Finding, error, ok, unknown, warning
from app.octopus.errors import OctopusError
from app.octopus.interruptions import Interruption
from app.octopus.interventions import REMEDY, is_candidate, is_own
from app.octopus.tasks import Task

#: A task that ended so long ago should hold nothing any more; milliseconds.
SETTLED_MS = 120_000

#: Interventions that are looked at, of those who wait paused.
MOST_PAUSED = 20


def holders(context: DoctorContext) -> Iterator[Finding]:
    """Who holds or waits is known to Octopus, and has not ended long ago."""
    ended, missing, unbegun = [], [], []
    for task_id in {*context.holders, *(wait["task_id"] for wait in context.waits)}:
        task = context.tasks.get(task_id.lower())
        if task is None and task_id not in context.unseen:
            missing.append(task_id)
        elif task is None:
            continue
        elif task.is_completed and _since(context, task) > SETTLED_MS:
            ended.append(task_id)
        elif task.awaits_approval:
            unbegun.append(task_id)
    for task_id in sorted(unbegun):
        yield warning(
            "awaits_approval",
            f"{_place(context, task_id)}, and waits for an approval in Octopus: it has not begun.",
            f"Have it approved or cancelled in Octopus; until then: octowait force-release {task_id} "
            "--reason 'it waits for an approval'.",
        )
    for task_id in sorted(missing):
        yield warning(
            "unknown_task",
            f"{_place(context, task_id)}, and Octopus knows no such task.",
            f"Look whether it exists; if not: octowait force-release {task_id} --reason 'no such task'.",
        )
    for task_id in sorted(ended):
        yield error(
            "ended_task",
            f"{_place(context, task_id)}, and has ended in Octopus long ago.",
            f"See that the worker and the scheduler run; at once: octowait force-release {task_id} "
            "--reason 'it has ended'.",
        )
    if not missing and not ended and not unbegun:
        yield ok("holders", f"Octopus knows every task that holds or waits: {len(context.tasks)}.")


def _since(context: DoctorContext, task: Task) -> int:
    """Milliseconds since the task ended; where Octopus does not say when, long ago."""
    if task.completed_ms is None or context.server.clock_ms is None:
        return SETTLED_MS + 1
    return context.server.clock_ms - task.completed_ms


def _place(context: DoctorContext, task_id: str) -> str:
    names = context.holders.get(task_id)
    return f"{task_id} holds {', '.join(names)}" if names else f"{task_id} waits"


def interventions(context: DoctorContext) -> Iterator[Finding]:
    """Who waits paused is paused by an intervention that octowait may answer."""
    paused = [task for wait in context.waits if (task := context.tasks.get(wait["task_id"].lower())) and task.is_paused]
    for task in paused[:MOST_PAUSED]:
        interruptions = context.client.interruptions(task.id, pending_only=True, space=task.space_id)
        yield _intervention(context, task, [each for each in interruptions if is_candidate(each, task.id)])


def _intervention(context: DoctorContext, task: Task, pending: Sequence[Interruption]) -> Finding:
    try:
        steps = context.client.process_snapshot(context.client.run_of(task), space=task.space_id)
    except OctopusError as problem:
        return unknown(
            "intervention_unread",
            f"The process that {task.id} was made with cannot be read, so octowait does not answer its intervention: "
            f"{problem}.",
            "Give octowait's user ProcessView, and RunbookView for runbooks; until then answer it by hand.",
        )
    own = [each for each in pending if is_own(each, steps)]
    if not own:
        return error(
            "intervention",
            f"{task.id} waits, and none of its manual interventions is octowait's to answer: nobody lets it go on when "
            "its turn comes.",
            REMEDY,
        )
    if not any(each.can_take_responsibility or each.has_responsibility for each in own):
        return error(
            "intervention_team",
            f"octowait may not answer the intervention of {task.id}.",
            "Add octowait's service account to the responsible team of the intervention.",
        )
    return ok("intervention", f"{task.id} waits without a task slot, and octowait may let it go on.")
