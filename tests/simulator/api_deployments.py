"""Deployments and runbook runs: what was run, what would run where, and starting one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.simulator import resources
from tests.simulator.clock import parse_iso
from tests.simulator.envelope import collection
from tests.simulator.model import Deployment, Environment, Invalid, Missing, Project, Task
from tests.simulator.routing import Answer, Call, Created, Routes
from tests.simulator.steps import Step
from tests.simulator.targets import chosen, targets_of

routes = Routes()


def _shown(call: Call, deployment: Deployment) -> resources.Resource:
    return resources.deployment(deployment, call.octopus.store.get("ServerTasks", deployment.task_id))


def _listed(call: Call, kind: str) -> list[Deployment]:
    wanted = {name: {value.lower() for value in call.texts(name)} for name in
              ("ids", "projects", "environments", "tenants", "channels", "runbooks", "taskState")}  # fmt: skip
    return [d for d in reversed(call.in_space(call.octopus.store.all(kind))) if _is_wanted(call, d, wanted)]


def _is_wanted(call: Call, deployment: Deployment, wanted: Mapping[str, set[str]]) -> bool:
    found = {
        "ids": deployment.id, "projects": deployment.project.id, "environments": deployment.environment.id,
        "tenants": deployment.tenant.id if deployment.tenant else "", "channels": deployment.project.channel_id,
        "runbooks": deployment.runbook.id if deployment.runbook else "",
        "taskState": call.octopus.store.get("ServerTasks", deployment.task_id).state,
    }  # fmt: skip
    return all(not values or found[name].lower() in values for name, values in wanted.items())


@routes("GET", "deployments", "DeploymentView")
def deployments(call: Call) -> Answer:
    return collection(call, _listed(call, "Deployments"), "Deployment", lambda d: _shown(call, d))


@routes("GET", "deployments/{id}", "DeploymentView")
def deployment(call: Call) -> Answer:
    return _shown(call, call.get("Deployments", call.ids["id"]))


@routes("GET", "releases/{id}/deployments", "DeploymentView")
def deployments_of_release(call: Call) -> Answer:
    release = call.get("Releases", call.ids["id"])
    found = [d for d in _listed(call, "Deployments") if d.release is release]
    return collection(call, found, "Deployment", lambda d: _shown(call, d))


@routes("POST", "deployments", "DeploymentCreate")
def deploy(call: Call) -> Answer:
    body = call.body
    for name in ("ReleaseId", "EnvironmentId"):
        if not body.get(name):
            raise Invalid(f"{name} is required.")
    release = call.get("Releases", body["ReleaseId"])
    task = call.octopus.deployments.deploy(
        release, call.get("Environments", body["EnvironmentId"]), call.user,
        tenant=call.get("Tenants", body["TenantId"]) if body.get("TenantId") else None,
        specific=_machine_ids(call, body.get("SpecificMachineIds")),
        excluded=_machine_ids(call, body.get("ExcludedMachineIds")), comments=body.get("Comments") or "",
        skipped=_step_names(release.project, body.get("SkipActions")),
        use_guided_failure=bool(body.get("UseGuidedFailure")), variables=body.get("FormValues"),
        **_times(body, "QueueTime", "QueueTimeExpiry"),
    )  # fmt: skip
    assert task.deployment
    return Created(_shown(call, task.deployment))


@routes("POST", "deployments/create/untenanted/v1", "DeploymentCreate")
def deploy_by_names(call: Call) -> Answer:
    body = _lowered(call.body)
    return Created(DeploymentServerTasks=_tasks(call, body, _all_named(call, body, "environmentnames"), [None]))


@routes("POST", "deployments/create/tenanted/v1", "DeploymentCreate")
def deploy_tenanted_by_names(call: Call) -> Answer:
    body = _lowered(call.body)
    environments = [call.octopus.store.named("Environments", body.get("environmentname") or "", call.home.id)]
    tenants = [call.octopus.store.named("Tenants", name, call.home.id) for name in body.get("tenants") or ()]
    return Created(DeploymentServerTasks=_tasks(call, body, environments, tenants))


@routes("POST", "runbook-runs/create/v1", "RunbookRunCreate")
def run_runbook_by_names(call: Call) -> Answer:
    body = _lowered(call.body)
    project = call.octopus.store.named("Projects", body.get("projectname") or "", call.home.id)
    runbook = next((r for r in call.octopus.store.all("Runbooks") if r.project is project
                    and r.name == body.get("runbookname")), None)  # fmt: skip
    if runbook is None:
        raise Missing(f"The resource '{body.get('runbookname')}' was not found.")
    tasks = [call.octopus.deployments.run_runbook(runbook, environment, call.user, **_options(call, body))
             for environment in _all_named(call, body, "environmentnames")]  # fmt: skip
    return Created(RunbookRunServerTasks=[_started(task, "RunbookRunId") for task in tasks])


def _tasks(call: Call, body: Mapping[str, Any], environments: list[Any], tenants: list[Any]) -> list[dict[str, str]]:
    project = call.octopus.store.named("Projects", body.get("projectname") or "", call.home.id)
    version = (body.get("releaseversion") or "").lower()
    release = next((r for r in call.octopus.store.all("Releases") if r.project is project
                    and r.version.lower() == version), None)  # fmt: skip
    if release is None:
        raise Missing(f"The resource '{body.get('releaseversion')}' was not found.")
    tasks = [call.octopus.deployments.deploy(release, environment, call.user, tenant=tenant, **_options(call, body))
             for environment in environments for tenant in tenants]  # fmt: skip
    return [_started(task, "DeploymentId") for task in tasks]


def _options(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "specific": _machine_ids(call, body.get("specificmachinenames")), "variables": body.get("variables"),
        "excluded": _machine_ids(call, body.get("excludedmachinenames")),
        "skipped": tuple(body.get("skipstepnames") or ()),
        "use_guided_failure": bool(body.get("useguidedfailure")), **_times(body, "runat", "norunafter"),
    }  # fmt: skip


def _started(task: Task, name: str) -> dict[str, str]:
    assert task.deployment
    return {name: task.deployment.id, "ServerTaskId": task.id}


def _lowered(body: Mapping[str, Any]) -> dict[str, Any]:
    """Clients of these calls spell names either way."""
    return {name.lower(): value for name, value in body.items()}


def _all_named(call: Call, body: Mapping[str, Any], name: str) -> list[Any]:
    if not body.get(name):
        raise Invalid(f"{name} is required.")
    return [call.octopus.store.named("Environments", one, call.home.id) for one in body[name]]


def _machine_ids(call: Call, names: Any) -> tuple[str, ...]:
    return tuple(call.octopus.store.named("Machines", name, call.home.id).id for name in names or ())


def _step_names(project: Project, action_ids: Any) -> tuple[str, ...]:
    wanted = set(action_ids or ())
    return tuple(step.name for step in project.steps if resources.action_id(project, step.name) in wanted)


def _times(body: Mapping[str, Any], start: str, expiry: str) -> dict[str, Any]:
    try:
        return {"queue_ms": parse_iso(body[start]) if body.get(start) else None,
                "expires_ms": parse_iso(body[expiry]) if body.get(expiry) else None}  # fmt: skip
    except ValueError as error:
        raise Invalid(f"{start} or {expiry} is no time: {error}") from error


@routes("GET", "releases/{id}/deployments/preview/{environment}", "DeploymentView")
@routes("GET", "releases/{id}/deployments/preview/{environment}/{tenant}", "DeploymentView")
def preview(call: Call) -> Answer:
    """What each step would run on, now."""
    release, environment = call.get("Releases", call.ids["id"]), call.get("Environments", call.ids["environment"])
    return _preview(call, release.project, release.project.steps, environment)


@routes("GET", "runbooks/{id}/runbookruns/preview/{environment}", "RunbookRunView")
def runbook_preview(call: Call) -> Answer:
    """What each step of a runbook would run on, now."""
    runbook, environment = call.get("Runbooks", call.ids["id"]), call.get("Environments", call.ids["environment"])
    return _preview(call, runbook.project, runbook.steps, environment)


def _preview(call: Call, project: Project, process: Iterable[Step], environment: Environment) -> Answer:
    steps = []
    for number, step in enumerate(process, 1):
        machines = chosen(targets_of(step, environment, call.octopus.store), (), ())
        steps.append({
            "ActionId": resources.action_id(project, step.name), "ActionName": step.name,
            "ActionNumber": str(number), "Roles": list(step.roles or step.machines), "CanBeSkipped": True,
            "IsDisabled": False, "HasNoApplicableMachines": step.has_targets and not machines,
            "Machines": [{"Id": m.id, "Name": m.name, "HealthStatus": "Healthy", "Links": {}} for m in machines],
            "MachineNames": [m.name for m in machines], "UnavailableMachines": [], "ExcludedMachines": [],
        })  # fmt: skip
    return {"StepsToExecute": steps, "Form": {"Elements": [], "Values": {}}, "UseGuidedFailureModeByDefault": False,
            "Changes": [], "ChangesMarkdown": "", "Links": {"Self": call.request.path}}  # fmt: skip


@routes("GET", "runbookruns", "RunbookRunView")
def runbook_runs(call: Call) -> Answer:
    return collection(call, _listed(call, "RunbookRuns"), "RunbookRun", lambda d: _shown(call, d))


@routes("GET", "runbookruns/{id}", "RunbookRunView")
def runbook_run(call: Call) -> Answer:
    return _shown(call, call.get("RunbookRuns", call.ids["id"]))


@routes("POST", "runbookruns", "RunbookRunCreate")
def run_runbook(call: Call) -> Answer:
    body = call.body
    for name in ("RunbookId", "EnvironmentId"):
        if not body.get(name):
            raise Invalid(f"{name} is required.")
    task = call.octopus.deployments.run_runbook(
        call.get("Runbooks", body["RunbookId"]), call.get("Environments", body["EnvironmentId"]), call.user,
        specific=_machine_ids(call, body.get("SpecificMachineIds")), variables=body.get("FormValues"),
        excluded=_machine_ids(call, body.get("ExcludedMachineIds")), **_times(body, "QueueTime", "QueueTimeExpiry"),
    )  # fmt: skip
    assert task.deployment
    return Created(_shown(call, task.deployment))
