"""The check job: compares what steps have said of their runs with the tasks of these.

Whoever has a step token can join any task. What is not so ends the claim, and its task is observed on its plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from app.domain.access.identity import signed_parts
from app.domain.run import RunState
from app.domain.run_info import Document
from app.domain.status import RunStatus
from app.jobs import CHECK, RESOLVE
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import OctopusError
from app.octopus.tasks import Task
from workers.context import Context, current
from workers.resolving.memory import DocumentKey, document_key

log = structlog.get_logger()

#: How long a task may be missing that a step has joined, before that is believed: a step runs in a task that is there.
MISSING_FOR = timedelta(seconds=10)

#: Those that take turns, at most.
MOST = 10_000

#: Seconds a request may wait for its turn: the next check is about to come.
PATIENCE_SECONDS = 5.0


def run() -> None:
    """What RQ calls."""
    from workers.reconcile import reconcile

    context = current.get()
    context.begin(CHECK)
    if context.octopus is None or context.board.closed_since_ms() is not None:
        return
    octopus = context.octopus.asking(urgent=True, patience=PATIENCE_SECONDS)
    reconcile(context, octopus, _still_active(context))


def _still_active(context: Context) -> list[str]:
    """Those to be checked; whoever has ended meanwhile need not be."""
    # In turn: those that Octopus does not know must not stand before the others.
    tasks = context.tracked.by_turn(context.tracked.unchecked(MOST))[:IDS_A_PAGE]
    places = {task_id: context.board.place(task_id) for task_id in tasks}
    for place in places.values():
        if place and not (place.run.unchecked and (place.is_waiting or place.is_granted)):
            context.board.check(place, {})
    return [task_id for task_id, place in places.items() if place and (place.is_waiting or place.is_granted)]


def check(context: Context, octopus: OctopusClient, place: RunStatus, task: Task) -> str:
    """Compare the run with its task, which has not ended.

    Raises:
        OctopusError: Octopus did not say what its project is called.
    """
    context.memory.names.put(_seen(task.space_id), "seen")
    keys = context.settings.step_oidc_subject_keys
    slugs = _slugs(context, octopus, task) if context.settings.step_oidc_issuer else {}
    wrong = contradiction(place.run, task, signed=signed_parts(place.run.owner or "", keys), slugs=slugs)
    facts: dict[str, Any] = {
        "space": task.space_id, "project": task.project_id, "deployment": task.deployment_id or task.runbook_run_id,
        "wrong": wrong, "slugs": slugs, "is_queued": not task.has_begun,
    }  # fmt: skip
    if not wrong:
        facts["unknown"] = _unknown_machines(octopus, place, task.space_id)
    return _note(context, place, facts)


def check_missing(context: Context, octopus: OctopusClient, place: RunStatus) -> str:
    """End the claim of a task that has been missing for a while, if the key would see it.

    That is so where it sees other tasks of the space, and the project, environment and tenant that the step has named.

    Raises:
        OctopusError: Octopus did not say whether there are such.
    """
    info = place.run.info
    waited = timedelta(milliseconds=place.now_ms - place.run.requested_at_ms)
    if waited < MISSING_FOR or not (info.project and info.project.id):
        return "late"
    named = (("projects", info.project), ("environments", info.environment), ("tenants", info.tenant))
    sees_tasks = _seen(info.space) in context.memory.names
    if not sees_tasks or not all(_sees(context, octopus, info.space, kind, what) for kind, what in named):
        return "late"
    return _note(context, place, {"wrong": "Octopus knows no such task in its project", "is_missing": True})


def _seen(space: str | None) -> DocumentKey:
    return document_key("tasks-seen", space, "any")


def _sees(context: Context, octopus: OctopusClient, space: str | None, kind: str, what: Document | None) -> bool:
    """Whether the key sees that document; remembered for a while. True of what was not named."""
    if not (what and what.id):
        return True
    memory, key = context.memory.names, document_key(f"{kind}-seen", space, what.id)
    if key not in memory:
        try:
            memory.put(key, octopus.name(kind, what.id, space=space) or "nameless")
        except OctopusError as error:
            if not error.permanent:
                raise
            memory.put(key, None)
    return memory.get(key) is not None


def contradiction(
    run: RunState, task: Task, *, signed: Mapping[str, str] | None = None, slugs: Mapping[str, str] | None = None
) -> str | None:  # fmt: skip
    """What its step has said of the run that is not so; None where all is, as far as both say something.

    Args:
        signed: The slugs for which Octopus has signed its identity.
        slugs: Those of its space and its project.
    """
    if not task.uses_machines:
        return f"{task.id} is neither a deployment nor a runbook run"
    info = run.info
    pairs = (
        ("its space", info.space, task.space_id),
        ("its project", info.project.id if info.project else None, task.project_id),
        ("its deployment", info.deployment_id if task.deployment_id else None, task.deployment_id),
        ("its runbook run", info.runbook_run_id if task.runbook_run_id else None, task.runbook_run_id),
    )
    for what, given, actual in pairs:
        if given and actual and given.lower() != actual.lower():
            return f"{what} is {actual}, and its step says {given}"
    for key, given in (signed or {}).items():
        if (actual := (slugs or {}).get(key)) and actual != given:
            return f"its {key} is {actual}, and its identity was signed for {given}"
    return None


def _slugs(context: Context, octopus: OctopusClient, task: Task) -> dict[str, str]:
    """Those of the space and the project of a task, as far as there are such; remembered for a while."""
    slugs = {}
    for key, kind, document_id in (("space", "spaces", task.space_id), ("project", "projects", task.project_id)):
        if not document_id:
            continue
        memory, name = context.memory.names, document_key(f"{kind}-slug", task.space_id, document_id)
        if name not in memory:
            try:
                memory.put(name, octopus.slug(kind, document_id, space=task.space_id))
            except OctopusError as error:
                if not error.permanent:
                    raise
                # The key may not see it, and nobody can compare it.
                memory.put(name, None)
        if slug := memory.get(name):
            slugs[key] = slug.lower()
    return slugs


def _note(context: Context, place: RunStatus, facts: dict[str, Any]) -> str:
    known = {name: value for name, value in facts.items() if value}
    outcome = context.board.check(place, known)
    if outcome == "disproved":
        log.warning(
            "check: a run is not what its step says", task=place.task_id, why=facts["wrong"], owner=place.run.owner
        )
        context.enqueue(RESOLVE)
    return outcome


def _unknown_machines(octopus: OctopusClient, place: RunStatus, space: str | None) -> list[str]:
    """Those of the run that are none; one with a name has been seen in Octopus."""
    nameless = [machine.id for machine in place.machines if machine.name == machine.id][:IDS_A_PAGE]
    if not nameless:
        return []
    try:
        known = {machine.id.lower() for machine in octopus.machines(nameless, space=space)}
    except OctopusError as error:
        log.info("check: it is not known which machines there are", task=place.task_id, error=str(error))
        return []
    return [machine for machine in nameless if machine.lower() not in known]
