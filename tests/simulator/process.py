"""A project's steps as the resource of a deployment process, with the real scripts in it."""

from __future__ import annotations

from functools import cache
from typing import Any

from tests.simulator.model import Project
from tests.simulator.resources import action_id, process_id
from tests.simulator.steps import Step
from tests.steps.run_step import STEPS, SUFFIXES

_ACTION_TYPES = {"manual": "Octopus.Manual", "deploy_release": "Octopus.DeployRelease"}

#: How the API spells the languages of scripts.
_SYNTAXES = {"bash": "Bash", "powershell": "PowerShell", "python": "Python"}


def deployment_process(project: Project) -> dict[str, Any]:
    return _process(project, project.id, process_id(project), project.steps, "deploymentprocesses")


def process_snapshot(project: Project, snapshot_id: str, kind: str) -> dict[str, Any]:
    """The frozen process of some run, with instructions and parameters as they were written."""
    frozen = snapshot_id.rpartition("-s-")[0]
    owner_id = frozen.removeprefix("RunbookProcess-") if frozen.startswith("RunbookProcess-") else project.id
    return _process(project, owner_id, snapshot_id, project.snapshots[snapshot_id], kind)


def _process(
    project: Project, owner_id: str, process_id: str, steps: tuple[Step, ...], kind: str
) -> dict[str, Any]:  # fmt: skip
    return {
        "Id": process_id, "SpaceId": project.space_id, "ProjectId": project.id, "Version": 1,
        "LastSnapshotId": None,
        "Steps": [_step(step, action_id(owner_id, steps, step.name)) for step in steps],
        "Links": {"Self": f"/api/{project.space_id}/{kind}/{process_id}"},
    }  # fmt: skip


def _step(step: Step, its_action_id: str) -> dict[str, Any]:
    is_expression = step.condition not in ("Success", "Failure", "Always")
    properties = {"Octopus.Action.TargetRoles": ",".join(step.roles or step.machines)} if step.has_targets else {}
    if is_expression:
        properties["Octopus.Step.ConditionVariableExpression"] = step.condition
    return {
        "Id": its_action_id.replace("action", "step"), "Name": step.name,
        "StartTrigger": "StartAfterPrevious",
        "Condition": "Variable" if is_expression else step.condition, "Properties": properties,
        "PackageRequirement": "BeforePackageAcquisition" if step.script == "wait" else "LetOctopusDecide",
        "Actions": [_action(step, its_action_id)],
    }  # fmt: skip


def _action(step: Step, its_id: str) -> dict[str, Any]:
    return {
        "Id": its_id, "Name": step.name, "IsDisabled": step.is_disabled, "IsRequired": step.is_required,
        "ActionType": _ACTION_TYPES.get(step.kind, "Octopus.Script"), "CanBeUsedForProjectVersioning": False,
        "Properties": {**_properties(step), **step.variables}, "Packages": [], "Environments": [], "Channels": [],
        "ExcludedEnvironments": [], "TenantTags": [], "WorkerPoolId": None, "Condition": "Success", "Links": {},
    }  # fmt: skip


def _properties(step: Step) -> dict[str, str]:
    if step.kind == "manual":
        return {"Octopus.Action.Manual.Instructions": step.instructions,
                "Octopus.Action.Manual.ResponsibleTeamIds": ",".join(step.teams),
                "Octopus.Action.Manual.BlockConcurrentDeployments": "False"}  # fmt: skip
    if step.kind == "deploy_release":
        return {"Octopus.Action.DeployRelease.ProjectId": step.project}
    body = script_body(step.script, step.language) if step.kind == "script" else f"# {step.kind}: {step.seconds} s"
    return {"Octopus.Action.RunOnServer": str(not step.has_targets), "Octopus.Action.Script.ScriptSource": "Inline",
            "Octopus.Action.Script.Syntax": _SYNTAXES.get(step.language, step.language),
            "Octopus.Action.Script.ScriptBody": body}  # fmt: skip


@cache
def script_body(script: str, language: str) -> str:
    return (STEPS / f"{script}.{SUFFIXES[language]}").read_text(encoding="utf-8")
