"""Deployments and runbook runs: what was run, what would run where, and starting one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.simulator import resources
from tests.simulator.api_runbooks import runbook_by_id
from tests.simulator.clock import parse_iso
from tests.simulator.envelope import collection
from tests.simulator.model import Deployment, Invalid, Missing, Release, Task
from tests.simulator.routing import Answer, Call, Created, Routes

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
        "runbooks": deployment.runbook.shown_id if deployment.runbook else "",
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
    return _deploy(call, call.body)


@routes("POST", "deployments/override", "DeploymentCreate")
def deploy_in_freeze(call: Call) -> Answer:
    """A deployment in spite of the freezes that ``FreezeIds`` names."""
    return _deploy(call, call.body.get("CreateDeploymentCommand") or {}, tuple(call.body.get("FreezeIds") or ()))


def _deploy(call: Call, body: Mapping[str, Any], overridden: tuple[str, ...] = ()) -> Answer:
    for name in ("ReleaseId", "EnvironmentId"):
        if not body.get(name):
            raise Invalid(f"{name} is required.")
    release = call.get("Releases", body["ReleaseId"])
    task = call.octopus.deployments.deploy(
        release, call.get("Environments", body["EnvironmentId"]), call.user,
        tenant=call.get("Tenants", body["TenantId"]) if body.get("TenantId") else None,
        specific=_machine_ids(call, body.get("SpecificMachineIds")),
        excluded=_machine_ids(call, body.get("ExcludedMachineIds")), comments=body.get("Comments") or "",
        specific_tags=tuple(body.get("SpecificTargetTagIds") or ()), overridden=overridden,
        excluded_tags=tuple(body.get("ExcludedTargetTagIds") or ()),
        skipped=_step_names(release, body.get("SkipActions")),
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


def _step_names(release: Release, action_ids: Any) -> tuple[str, ...]:
    """Raises: Invalid: one of the steps may not be skipped."""
    wanted = set(action_ids or ())
    found = [step for step in release.steps
             if resources.action_id(release.project.id, release.steps, step.name) in wanted]  # fmt: skip
    for step in found:
        if step.is_required:
            raise Invalid(f"The step {step.name} is required and cannot be skipped.")
    return tuple(step.name for step in found)


def _times(body: Mapping[str, Any], start: str, expiry: str) -> dict[str, Any]:
    try:
        return {"queue_ms": parse_iso(body[start]) if body.get(start) else None,
                "expires_ms": parse_iso(body[expiry]) if body.get(expiry) else None}  # fmt: skip
    except ValueError as error:
        raise Invalid(f"{start} or {expiry} is no time: {error}") from error


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
    tenant = call.get("Tenants", body["TenantId"]) if body.get("TenantId") else None
    task = call.octopus.deployments.run_runbook(
        runbook_by_id(call, body["RunbookId"]), call.get("Environments", body["EnvironmentId"]), call.user,
        tenant=tenant, reference=body.get("RunbookSnapshotId") or "",
        specific=_machine_ids(call, body.get("SpecificMachineIds")), variables=body.get("FormValues"),
        excluded=_machine_ids(call, body.get("ExcludedMachineIds")), **_times(body, "QueueTime", "QueueTimeExpiry"),
    )  # fmt: skip
    assert task.deployment
    return Created(_shown(call, task.deployment))
