"""The system variables that a step script sees; all values are texts."""

from __future__ import annotations

from tests.simulator.clock import iso
from tests.simulator.model import Deployment, Machine, Task
from tests.simulator.steps import Step


def system_variables(task: Task, deployment: Deployment, server_url: str) -> dict[str, str]:
    """Those of the whole deployment or runbook run."""
    is_runbook = deployment.runbook is not None
    part = "runs" if is_runbook else "deployments"
    link = f"/app#/{task.space_id}/projects/{deployment.project.slug}/{part}/{deployment.id}"
    machines = ",".join(task.planned)
    found = {
        "Octopus.Task.Id": task.id,
        "Octopus.Task.Name": task.description,
        "Octopus.Task.QueueTime": iso(task.queue_ms) or "",
        "Octopus.Task.QueueTimeExpiry": iso(task.expires_ms) or "",
        "Octopus.Space.Id": task.space_id,
        "Octopus.Project.Id": deployment.project.id,
        "Octopus.Project.Name": deployment.project.name,
        "Octopus.Environment.Id": deployment.environment.id,
        "Octopus.Environment.Name": deployment.environment.name,
        "Octopus.Deployment.Id": "" if is_runbook else deployment.id,
        "Octopus.Deployment.Name": deployment.name,
        "Octopus.Deployment.Comments": deployment.comments,
        "Octopus.Deployment.Machines": machines,
        "Octopus.Deployment.SpecificMachines": ",".join(deployment.specific),
        "Octopus.Deployment.ExcludedMachines": ",".join(deployment.excluded),
        "Octopus.Deployment.Created": iso(deployment.created_ms) or "",
        "Octopus.Deployment.CreatedBy.Id": deployment.created_by.id,
        "Octopus.Deployment.CreatedBy.Username": deployment.created_by.name,
        "Octopus.Deployment.Error": "",
        "Octopus.Deployment.ErrorDetail": "",
        "Octopus.RunbookRun.Id": deployment.id if is_runbook else "",
        "Octopus.Release.Id": deployment.release.id if deployment.release else "",
        "Octopus.Release.Number": deployment.release.version if deployment.release else "",
        "Octopus.Deployment.Tenant.Id": deployment.tenant.id if deployment.tenant else "",
        "Octopus.Deployment.Tenant.Name": deployment.tenant.name if deployment.tenant else "",
        "Octopus.Web.ServerUri": server_url,
        "Octopus.Web.DeploymentLink": link,
    }
    if deployment.runbook is not None:
        found |= {"Octopus.Runbook.Id": deployment.runbook.shown_id, "Octopus.Runbook.Name": deployment.runbook.name}
    return found | {f"Octopus.Task.Argument[{name}]": value for name, value in task.arguments.items()}


def step_variables(step: Step, machine: Machine | None) -> dict[str, str]:
    """Those of one step, and of the target or of the worker it runs on."""
    found = {
        "Octopus.Step.Name": step.name,
        "Octopus.Action.Name": step.name,
        "Octopus.Action.TargetRoles": ",".join(step.roles),
        "Octopus.Action.RunOnServer": str(machine is None),
    }
    if machine is None:
        found |= {"Octopus.WorkerPool.Id": "WorkerPools-1", "Octopus.WorkerPool.Name": "Default Worker Pool"}
    else:
        found |= {
            "Octopus.Machine.Id": machine.id,
            "Octopus.Machine.Name": machine.name,
            "Octopus.Machine.Roles": ",".join(machine.roles),
            "Octopus.Machine.Hostname": machine.name,
        }
    return found
