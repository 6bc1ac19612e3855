"""Previews: what each step would run on now, for one environment and tenant.

A preview without a tenant shows nothing of the targets that only tenants use. Runbooks in Git are asked about under
their project and Git reference, and for tenants only several at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.simulator import resources
from tests.simulator.api_runbooks import runbook_by_id, runbook_in_git
from tests.simulator.model import Invalid, Machine, Missing
from tests.simulator.routing import Answer, Call, Routes
from tests.simulator.steps import Step
from tests.simulator.targets import all_targets_of

routes = Routes()

#: A process: the id of what it belongs to, and its steps.
Process = tuple[str, Sequence[Step]]


def _of_release(call: Call) -> Process:
    release = call.get("Releases", call.ids["id"])
    return release.project.id, release.steps


def _of_runbook(call: Call) -> Process:
    """Its published snapshot."""
    runbook = runbook_by_id(call, call.ids["id"])
    return runbook.id, runbook.steps


def _of_snapshot(call: Call) -> Process:
    for runbook in call.in_space(call.octopus.store.all("Runbooks")):
        if not runbook.is_in_git and call.ids["id"] in runbook.processes:
            return runbook.id, runbook.processes[call.ids["id"]]
    raise Missing(f"The resource '{call.ids['id']}' was not found.")


def _of_branch(call: Call) -> Process:
    runbook = runbook_in_git(call)
    return runbook.id, runbook.processes[call.ids["reference"]]


def _offer(base: str, permission: str, of: Callable[[Call], Process], *, for_tenants: bool = True) -> None:
    """The previews below *base*: of one environment, of one tenant unless that is not *for_tenants*, of several."""

    @routes("GET", f"{base}/preview/{{environment}}", permission)
    def one(call: Call) -> Answer:
        return _preview(call, of(call), call.ids["environment"], call.ids.get("tenant"))

    if for_tenants:
        routes("GET", f"{base}/preview/{{environment}}/{{tenant}}", permission)(one)

    @routes("POST", f"{base}/previews", permission)
    def several(call: Call) -> Answer:
        return _several(call, of(call))


_offer("releases/{id}/deployments", "DeploymentView", _of_release)
_offer("runbooks/{id}/runbookruns", "RunbookRunView", _of_runbook)
_offer("runbooksnapshots/{id}/runbookruns", "RunbookRunView", _of_snapshot)
_offer("projects/{project}/runbooksnapshots/{id}/runbookruns", "RunbookRunView", _of_snapshot, for_tenants=False)
_offer("projects/{id}/{reference}/runbooks/{runbook}/runbookruns", "RunbookRunView", _of_branch, for_tenants=False)


def _several(call: Call, process: Process) -> Answer:
    """``{"DeploymentPreviews": [{"EnvironmentId", "TenantId"}, …]}``: a list, in their order."""
    wanted = call.body.get("DeploymentPreviews")
    if not isinstance(wanted, list) or not all(isinstance(one, dict) and one.get("EnvironmentId") for one in wanted):
        raise Invalid("DeploymentPreviews: expected a list of EnvironmentId and TenantId.")
    return [_preview(call, process, one["EnvironmentId"], one.get("TenantId")) for one in wanted]


def _preview(call: Call, process: Process, environment_id: str, tenant_id: str | None) -> dict[str, Any]:
    """Without regard to what a deployment left out: it is none yet."""
    environment = call.get("Environments", environment_id)
    tenant = call.get("Tenants", tenant_id) if tenant_id else None
    owner_id, process_steps = process
    steps = []
    for number, step in enumerate(process_steps, 1):
        targets = all_targets_of(step, environment, tenant, call.octopus.store)
        machines = [machine for machine in targets if not machine.is_disabled]
        steps.append({
            "ActionId": resources.action_id(owner_id, process_steps, step.name), "ActionName": step.name,
            "ActionNumber": str(number), "Roles": list(step.roles or step.machines),
            "CanBeSkipped": not step.is_required, "IsDisabled": step.is_disabled,
            "HasNoApplicableMachines": step.has_targets and not machines,
            "Machines": [] if step.names_only else [_shown(machine) for machine in machines],
            "MachineNames": [machine.name for machine in machines],
            "UnavailableMachines": [_shown(machine) for machine in targets if machine.is_disabled],
            "ExcludedMachines": [],
        })  # fmt: skip
    return {"StepsToExecute": steps, "Form": {"Elements": [], "Values": {}}, "UseGuidedFailureModeByDefault": False,
            "Changes": [], "ChangesMarkdown": "", "Links": {"Self": call.request.path}}  # fmt: skip


def _shown(machine: Machine) -> dict[str, Any]:
    return {"Id": machine.id, "Name": machine.name, "HealthStatus": "Healthy", "HasLatestCalamari": True, "Links": {}}
