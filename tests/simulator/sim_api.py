"""What tests control the server with: ``/sim``, no key, plain JSON. `control` is its Python side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulator import resources
from tests.simulator.api_server import VERSION
from tests.simulator.clock import Clock
from tests.simulator.model import Environment, Freeze, Invalid, Missing, Project, Runbook, Space, Task, Tenant, User
from tests.simulator.routing import Answer, Call, Routes
from tests.simulator.steps import Step

routes = Routes()

#: What ``POST projects`` takes beside name and steps, see `Project`.
PROJECT_SETTINGS = ("tells_starts", "cancels_queued", "cancels_running", "needs_approval", "is_blocked_by_policy",
                    "is_in_git")  # fmt: skip

#: Seconds that one call may wait for something to happen.
MAX_WAIT = 60.0


def _space(call: Call) -> Space:
    name = call.body.get("space")
    found: Space = call.octopus.store.named("Spaces", name) if name else call.octopus.space
    return found


def _or_new(call: Call, kind: str, name: str, make: Callable[[str, Space], Any]) -> Any:
    space = _space(call)
    try:
        return call.octopus.store.named(kind, name, space.id)
    except Missing:
        return make(name, space)


def _environment(call: Call, name: str) -> Environment:
    found: Environment = _or_new(call, "Environments", name, call.octopus.add_environment)
    return found


def _project(call: Call) -> Project:
    found: Project = call.octopus.store.named("Projects", call.body["project"], _space(call).id)
    return found


def _task(call: Call) -> Task:
    found: Task = call.octopus.store.get("ServerTasks", call.ids["id"])
    return found


def _steps(call: Call) -> tuple[Step, ...]:
    try:
        steps = tuple(Step.of_json(step) for step in call.body.get("steps") or ())
    except (TypeError, ValueError) as error:
        raise Invalid(str(error)) from error
    if len({step.name for step in steps}) < len(steps):
        raise Invalid("Two steps have the same name.")
    return steps


@routes("GET", "info")
def info(call: Call) -> Answer:
    octopus = call.octopus
    users: list[User] = octopus.store.all("Users")
    return {"version": VERSION, "url": octopus.url, "speed": octopus.clock.speed, "task_cap": octopus.engine.cap,
            "space": octopus.space.id, "api_keys": {user.name: user.api_key for user in users}}  # fmt: skip


@routes("POST", "spaces")
def add_space(call: Call) -> Answer:
    return {"id": call.octopus.add_space(call.body["name"]).id}


@routes("POST", "users")
def add_user(call: Call) -> Answer:
    body = call.body
    user = call.octopus.add_user(body["name"], body["permissions"], body.get("teams") or ())
    user.hidden |= set(body.get("hidden") or ())
    return {"id": user.id, "api_key": user.api_key}


@routes("PUT", "users/{name}/hidden")
def hide_spaces(call: Call) -> Answer:
    """The spaces that the user may not see from now on."""
    user: User = call.octopus.store.named("Users", call.ids["name"])
    user.hidden = {call.octopus.store.named("Spaces", name).id for name in call.body["spaces"]}
    return {"id": user.id}


@routes("POST", "environments")
def add_environment(call: Call) -> Answer:
    environment = _environment(call, call.body["name"])
    if call.body.get("parent"):
        environment.parent_id = _environment(call, call.body["parent"]).id
    return {"id": environment.id}


@routes("POST", "tenants")
def add_tenant(call: Call) -> Answer:
    return {"id": _tenant(call, call.body["name"]).id}


def _tenant(call: Call, name: str) -> Tenant:
    found: Tenant = _or_new(call, "Tenants", name, call.octopus.add_tenant)
    return found


@routes("POST", "machines")
def add_machine(call: Call) -> Answer:
    body = call.body
    names = body.get("environments")
    environments = None if names is None else [_environment(call, name) for name in names]
    tenants, tags = body.get("tenants"), body.get("tags")
    machine = call.octopus.add_machine(
        body["name"], body.get("roles") or (), environments, _space(call), style=body.get("style") or "TentaclePassive",
        tenant_ids=None if tenants is None else tuple(_tenant(call, name).id for name in tenants),
        tags=None if tags is None else tuple(tags),
    )  # fmt: skip
    return {"id": machine.id}


@routes("PUT", "machines/{id}")
def change_machine(call: Call) -> Answer:
    machine = call.octopus.store.named("Machines", call.ids["id"])
    machine.is_disabled = bool(call.body["is_disabled"])
    verb = "disabled" if machine.is_disabled else "enabled"
    call.octopus.events.of_machine(f"Machine{verb.capitalize()}", machine, verb, call.user)
    return {"id": machine.id}


@routes("DELETE", "machines/{id}")
def remove_machine(call: Call) -> Answer:
    machine = call.octopus.store.named("Machines", call.ids["id"])
    call.octopus.store.remove(machine)
    call.octopus.events.of_machine("MachineDeleted", machine, "deleted", call.user)
    return {"id": machine.id}


@routes("POST", "projects")
def add_project(call: Call) -> Answer:
    """A new project; one of that name gets the new steps and variables."""
    body, steps = call.body, _steps(call)

    def make(name: str, space: Space) -> Project:
        return call.octopus.add_project(name, steps, space)

    project = _or_new(call, "Projects", body["name"], make)
    project.steps, project.variables = steps, dict(body.get("variables") or {})
    project.concurrency_tag = body.get("concurrency_tag")
    try:
        for name, value in (body.get("settings") or {}).items():
            if name not in PROJECT_SETTINGS:
                raise TypeError(f"{name} is no setting of a project: expected one of {', '.join(PROJECT_SETTINGS)}")
            setattr(project, name, bool(value))
    except TypeError as error:
        raise Invalid(str(error)) from error
    return {"id": project.id}


@routes("POST", "runbooks")
def add_runbook(call: Call) -> Answer:
    return {"id": call.octopus.add_runbook(_project(call), call.body["name"], _steps(call),
                                           call.body.get("git_ref") or "").id}  # fmt: skip


@routes("PUT", "runbooks")
def change_runbook(call: Call) -> Answer:
    """New steps of a runbook, in a new snapshot or on a branch."""
    body = call.body
    return {"id": call.octopus.change_runbook(_runbook(call), _steps(call), body.get("git_ref") or "",
                                              is_published=bool(body.get("is_published")))}  # fmt: skip


def _runbook(call: Call) -> Runbook:
    project, name = _project(call), call.body.get("runbook") or call.body.get("name")
    for runbook in call.octopus.store.all("Runbooks"):
        if runbook.project is project and runbook.name == name:
            found: Runbook = runbook
            return found
    raise Missing(f"{project.name} has no runbook {name}.")


@routes("PUT", "variables")
def set_variables(call: Call) -> Answer:
    """Variables of all projects, added to those there are."""
    call.octopus.variables |= call.body
    return call.octopus.variables


@routes("POST", "deployments")
def deploy(call: Call) -> Answer:
    body, octopus = call.body, call.octopus
    project = _project(call)
    release = octopus.deployments.release_of(project, body.get("release") or "")
    freezes = [octopus.store.named("DeploymentFreezes", name).id for name in body.get("overridden") or ()]
    return _started(octopus.deployments.deploy(release, _environment(call, body["environment"]), octopus.admin,
                                               overridden=tuple(freezes), **_options(call)))  # fmt: skip


@routes("POST", "deployments/{id}/trigger")
def trigger(call: Call) -> Answer:
    """What a machine trigger does for *machines*."""
    octopus = call.octopus
    machines = [octopus.store.named("Machines", name).id for name in call.body["machines"]]
    deployment = octopus.store.get("Deployments", call.ids["id"])
    return _started(octopus.deployments.trigger(deployment, machines, octopus.admin))


@routes("POST", "freezes")
def add_freeze(call: Call) -> Answer:
    """``{"name", "project", "environment", "starts_in", "seconds"}``, in seconds as they stand."""
    body, store, now = call.body, call.octopus.store, Clock.now_ms()
    start_ms = now + int(float(body.get("starts_in") or 0) * 1000)
    environment = _environment(call, body.get("environment") or "Production")
    return {"id": store.put(Freeze(
        id=store.new_id("DeploymentFreezes"), name=body["name"], scope={_project(call).id: (environment.id,)},
        start_ms=start_ms, end_ms=start_ms + int(float(body["seconds"]) * 1000),
    )).id}  # fmt: skip


@routes("PUT", "freezes/{id}/end")
def end_freeze(call: Call) -> Answer:
    freeze = call.octopus.store.named("DeploymentFreezes", call.ids["id"])
    freeze.end_ms = Clock.now_ms()
    return {"id": freeze.id}


@routes("POST", "runbookruns")
def run_runbook(call: Call) -> Answer:
    body, octopus = call.body, call.octopus
    environment = _environment(call, body["environment"])
    return _started(octopus.deployments.run_runbook(
        _runbook(call), environment, octopus.admin, reference=body.get("reference") or "", **_options(call)
    ))  # fmt: skip


def _options(call: Call) -> dict[str, Any]:
    body, store, now = call.body, call.octopus.store, Clock.now_ms()
    later = {name: now + int(body[given] * 1000) for given, name in
             (("queue_in_seconds", "queue_ms"), ("expires_in_seconds", "expires_ms")) if body.get(given)}  # fmt: skip
    return {
        "specific": [store.named("Machines", name).id for name in body.get("machines") or ()],
        "excluded": [store.named("Machines", name).id for name in body.get("excluded") or ()],
        "tenant": _tenant(call, body["tenant"]) if body.get("tenant") else None,
        "specific_tags": tuple(body.get("tags") or ()), "excluded_tags": tuple(body.get("excluded_tags") or ()),
        "skipped": tuple(body.get("skipped") or ()),
        "variables": body.get("variables"), "use_guided_failure": bool(body.get("use_guided_failure")), **later,
    }  # fmt: skip


def _started(task: Task) -> Answer:
    assert task.deployment
    return {"id": task.deployment.id, "task_id": task.id}


@routes("GET", "tasks/{id}")
def task(call: Call) -> Answer:
    return resources.task(_task(call))


@routes("POST", "tasks/{id}/cancel")
def cancel(call: Call) -> Answer:
    call.octopus.engine.cancel(_task(call), call.user)
    return resources.task(_task(call))


@routes("POST", "tasks/{id}/abandon")
def abandon(call: Call) -> Answer:
    call.octopus.engine.abandon(_task(call))
    return resources.task(_task(call))


@routes("POST", "tasks/{id}/time-out")
def time_out(call: Call) -> Answer:
    call.octopus.engine.time_out(_task(call))
    return resources.task(_task(call))


@routes("POST", "tasks/{id}/rerun")
def rerun(call: Call) -> Answer:
    call.octopus.deployments.rerun(_task(call), call.user)
    return resources.task(_task(call))


@routes("POST", "tasks/{id}/approval")
def approve(call: Call) -> Answer:
    call.octopus.engine.approve(_task(call), is_approved=bool(call.body["is_approved"]))
    return resources.task(_task(call))


@routes("POST", "outages")
def go_away(call: Call) -> Answer:
    """The server is not there for *seconds* of simulated time."""
    body = call.body
    call.octopus.outages.begin(float(body["seconds"]), cancels=bool(body.get("cancels")),
                               has_page=bool(body.get("has_page")))  # fmt: skip
    return {}


@routes("POST", "tasks/{id}/wait")
def wait_for_task(call: Call) -> Answer:
    """The task, once it is in one of the states or, if asked, waits for a person; or when the time is out."""
    task, states, paused = _task(call), set(call.body.get("states") or ()), bool(call.body.get("is_paused"))
    _wait(call, lambda: task.state in states or (paused and bool(task.pending)))
    return resources.task(task)


@routes("POST", "idle")
def idle(call: Call) -> Answer:
    is_delivered = bool(call.body.get("is_delivered"))
    return {"is_idle": _wait(call, lambda: call.octopus.is_idle(is_delivered=is_delivered))}


def _wait(call: Call, fact: Callable[[], bool]) -> bool:
    return call.octopus.engine.changed.wait_for(fact, min(MAX_WAIT, float(call.body.get("timeout") or 0)))


@routes("POST", "interruptions/{id}/submit")
def submit(call: Call) -> Answer:
    """As a person in the browser: take responsibility and answer."""
    body, octopus = call.body, call.octopus
    interruption = octopus.store.get("Interruptions", call.ids["id"])
    user = octopus.store.named("Users", body.get("user") or "jane")
    octopus.interruptions.take(interruption, user)
    octopus.interruptions.submit(interruption, user, body["values"])
    return {"id": interruption.id}


@routes("POST", "interruptions/{id}/settle")
def settle(call: Call) -> Answer:
    """What Octopus waits for itself has happened."""
    call.octopus.interruptions.settle(call.octopus.store.get("Interruptions", call.ids["id"]))
    return {"id": call.ids["id"]}


@routes("POST", "subscriptions")
def subscribe(call: Call) -> Answer:
    return {"id": call.octopus.subscriptions.create(_space(call).id, call.body["resource"]).id}


@routes("POST", "subscriptions/look")
def look(call: Call) -> Answer:
    """What happens every 30 seconds, now."""
    call.octopus.subscriptions.look()
    return {}


@routes("PUT", "task-cap")
def set_cap(call: Call) -> Answer:
    call.octopus.engine.set_cap(int(call.body["task_cap"]))
    return {"task_cap": call.octopus.engine.cap}


@routes("GET", "faults")
def faults(call: Call) -> Answer:
    return call.octopus.dice.as_json()


@routes("PUT", "faults")
def set_faults(call: Call) -> Answer:
    """The named faults change, the others stay."""
    try:
        call.octopus.dice.set(**call.body)
    except TypeError as error:
        raise Invalid(str(error)) from error
    return call.octopus.dice.as_json()


@routes("DELETE", "faults")
def clear_faults(call: Call) -> Answer:
    call.octopus.dice.clear()
    return call.octopus.dice.as_json()


@routes("GET", "record")
def record(call: Call) -> Answer:
    return call.octopus.record()


@routes("GET", "calls")
def calls(call: Call) -> Answer:
    return call.octopus.calls.as_json()
