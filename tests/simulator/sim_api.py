"""What tests control the server with: ``/sim``, no key, plain JSON. `control` is its Python side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulator import resources
from tests.simulator.api_server import VERSION
from tests.simulator.clock import Clock
from tests.simulator.model import Environment, Invalid, Missing, Project, Space, Task, User
from tests.simulator.routing import Answer, Call, Routes
from tests.simulator.steps import Step

routes = Routes()

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
    return {"id": user.id, "api_key": user.api_key}


@routes("POST", "environments")
def add_environment(call: Call) -> Answer:
    return {"id": _environment(call, call.body["name"]).id}


@routes("POST", "tenants")
def add_tenant(call: Call) -> Answer:
    return {"id": _or_new(call, "Tenants", call.body["name"], call.octopus.add_tenant).id}


@routes("POST", "machines")
def add_machine(call: Call) -> Answer:
    body = call.body
    names = body.get("environments")
    environments = None if names is None else [_environment(call, name) for name in names]
    machine = call.octopus.add_machine(body["name"], body.get("roles") or (), environments, _space(call))
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
    return {"id": project.id}


@routes("POST", "runbooks")
def add_runbook(call: Call) -> Answer:
    return {"id": call.octopus.add_runbook(_project(call), call.body["name"], _steps(call)).id}


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
    return _started(octopus.deployments.deploy(release, _environment(call, body["environment"]), octopus.admin,
                                               **_options(call)))  # fmt: skip


@routes("POST", "runbookruns")
def run_runbook(call: Call) -> Answer:
    body, octopus, project = call.body, call.octopus, _project(call)
    runbook = next(
        (r for r in octopus.store.all("Runbooks") if r.project is project and r.name == body["runbook"]), None
    )
    if runbook is None:
        raise Missing(f"{project.name} has no runbook {body['runbook']}.")
    return _started(octopus.deployments.run_runbook(runbook, _environment(call, body["environment"]), octopus.admin,
                                                    **_options(call)))  # fmt: skip


def _options(call: Call) -> dict[str, Any]:
    body, store, now = call.body, call.octopus.store, Clock.now_ms()
    later = {name: now + int(body[given] * 1000) for given, name in
             (("queue_in_seconds", "queue_ms"), ("expires_in_seconds", "expires_ms")) if body.get(given)}  # fmt: skip
    return {
        "specific": [store.named("Machines", name).id for name in body.get("machines") or ()],
        "excluded": [store.named("Machines", name).id for name in body.get("excluded") or ()],
        "tenant": _or_new(call, "Tenants", body["tenant"], call.octopus.add_tenant) if body.get("tenant") else None,
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
