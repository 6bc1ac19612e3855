"""Manual interventions that octowait may answer: the rule, without a request (docs/explanation.md, rule 11).

An answer lets a deployment go on, so in doubt there is none: a person answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.domain.terms import (
    CLAIM_LINE,
    TERMS_LINE,
    claims_in,
    has_claim_line,
    has_own_line,
    has_terms_line,
    shows_terms,
)
from app.octopus.first_step import MANUAL
from app.octopus.interruptions import Interruption
from app.octopus.processes import Action, Step
from app.octopus.runs import Deployment, RunbookRun
from app.octopus.tasks import Task

#: The type of an action that stands for steps which the process does not list.
_TEMPLATE = "octopus.processtemplate"

#: What a person can do about an intervention that octowait may not answer; it ends with the line to paste.
REMEDY = (
    f"Answer it by hand when its turn has come. To have octowait answer it from the next release on, put these lines, "
    f"each whole and alone, into the instructions of the intervention behind the claim step (named Claim here): "
    f"{CLAIM_LINE} and {TERMS_LINE}"
)


@dataclass(frozen=True)
class Claim:
    """The ids that a run named when it claimed its place; None where it named none."""

    task_id: str
    space_id: str | None = None
    project_id: str | None = None
    deployment_id: str | None = None
    runbook_run_id: str | None = None
    #: Of the claim itself; None of one of before claims, and where it is not known any more.
    id: str | None = None


def is_candidate(interruption: Interruption, task_id: str) -> bool:
    """Whether it is a manual intervention of the task itself, rather than a guided failure or one of a child."""
    is_manual = interruption.type.lower() == "manualintervention"
    is_of_task = (interruption.task_id or "").lower() == task_id.lower()
    return is_manual and is_of_task and not interruption.is_linked


def contradiction_of(claim: Claim, task: Task, run: Deployment | RunbookRun) -> str | None:
    """How *claim* differs from what Octopus says of *task* and of the *run* that it executes; None if it does not."""
    pairs = (
        ("task", claim.task_id, task.id),
        ("space", claim.space_id, task.space_id or run.space_id),
        # Octopus has not always told the project of a task.
        ("project", claim.project_id, run.project_id or task.project_id),
        ("deployment", claim.deployment_id, task.deployment_id),
        ("runbook run", claim.runbook_run_id, task.runbook_run_id),
    )
    for what, claimed, known in pairs:
        if claimed and claimed.lower() != (known or "").lower():
            return f"it claimed its place as {what} {claimed}, and in Octopus that of {task.id} is {known or 'none'}"
    return None


def has_own_step(steps: Iterable[Step]) -> bool:
    """Whether the process has an intervention that octowait may answer."""
    return any(has_own_line(action.instructions) for _, action in _manual(steps))


def is_own(interruption: Interruption, steps: Sequence[Step], claim_id: str | None = None) -> bool:
    """Whether a candidate was raised for a claim, by a step of *steps* whose instructions have one of octowait's lines.

    What it says in a claim line decides: that is the claim, or it is somebody else's. Without one the terms line does,
    as with claim steps of before claims.

    Octopus gives an intervention the name of its step as its title. Where that names none of *steps*, every
    intervention that the process can raise must have the line.

    Args:
        steps: Of the process that the run was made with, which nothing has been filled into.
        claim_id: None where it is not known.
    """
    claims = claims_in(interruption.instructions)
    if len(claims) > 1 or (claims and claim_id and claim_id not in claims):
        return False
    if not claims and not shows_terms(interruption.instructions):
        return False
    has_line = has_claim_line if claims else has_terms_line
    title = interruption.title.strip().lower()
    manual = list(_manual(steps))
    named = [action for name, action in manual if name.strip().lower() == title]
    if not named and not _is_complete(steps):
        return False
    raised = named or [action for _, action in manual]
    return bool(raised) and all(has_line(action.instructions) for action in raised)


def _manual(steps: Iterable[Step]) -> Iterable[tuple[str, Action]]:
    """The manual interventions of a process that can be raised, by their titles."""
    return (
        (action.name or step.name, action)
        for step in steps
        for action in step.actions
        if action.type.lower() == MANUAL.lower() and not action.is_disabled
    )


def _is_complete(steps: Iterable[Step]) -> bool:
    return not any(action.type.lower() == _TEMPLATE for step in steps for action in step.actions)
