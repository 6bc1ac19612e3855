"""Server tasks: finding, reading, cancelling and running them again."""

from __future__ import annotations

from tests.simulator import resources
from tests.simulator.envelope import collection
from tests.simulator.model import COMPLETED, Invalid, Task
from tests.simulator.routing import OPEN, Answer, Call, Created, Routes, Text

routes = Routes()

#: Names of task types, as ``/tasks/tasktypes`` lists them.
TASK_TYPES = {"Deploy": "Deploy", "RunbookRun": "Runbook run", "ProcessSubscriptions": "Process subscriptions"}


def _task(call: Call) -> Task:
    found: Task = call.get("ServerTasks", call.ids["id"])
    return found


@routes("GET", "tasks", "TaskView")
def tasks(call: Call) -> Answer:
    """Newest first. No ``ids``, or empty ones: every task."""
    found = [task for task in reversed(call.in_space(call.octopus.store.all("ServerTasks"))) if _is_wanted(call, task)]
    counts = {state: sum(task.state == state for task in found) for state in ("Queued", "Executing", "Cancelling")}
    interrupted = sum(bool(task.pending) for task in found)
    return {**collection(call, found, "Task", resources.task), "TotalCounts": {**counts, "Interrupted": interrupted}}


def _is_wanted(call: Call, task: Task) -> bool:
    deployment = task.deployment
    lists = {
        "ids": task.id, "states": task.state, "name": task.name, "project": deployment and deployment.project.id,
        "environment": deployment and deployment.environment.id,
        "tenant": deployment and deployment.tenant and deployment.tenant.id,
        "runbook": deployment and deployment.runbook and deployment.runbook.id,
        "node": "OctopusServerNodes-node-1",
    }  # fmt: skip
    flags = {
        "active": not task.is_completed, "running": task.state in ("Executing", "Cancelling"),
        "hasPendingInterruptions": bool(task.pending), "hasPendingPreconditions": False,
        "hasWarningsOrErrors": task.has_warnings or bool(task.error),
    }  # fmt: skip
    for name, value in lists.items():
        texts = {text.lower() for text in call.texts(name)}
        # New is a task that nobody has picked up yet.
        if texts and str(value).lower() not in texts and not (name == "states" and "new" in texts and _is_new(task)):
            return False
    if any((asked := call.flag(name)) is not None and asked != value for name, value in flags.items()):
        return False
    return call.text("partialName").lower() in task.description.lower()


def _is_new(task: Task) -> bool:
    return task.state == "Queued" and task.start_ms is None


@routes("GET", "tasks/tasktypes", OPEN)
def task_types(call: Call) -> Answer:
    return [{"Id": name, "Name": shown} for name, shown in TASK_TYPES.items()]


@routes("GET", "tasks/{id}", "TaskView")
def task(call: Call) -> Answer:
    return resources.task(_task(call))


@routes("GET", "tasks/{id}/details", "TaskView")
def details(call: Call) -> Answer:
    task = _task(call)
    logs = [task.log.as_json()] if task.log else []
    done = sum(node.ended_ms is not None for node in task.log.children) if task.log else 0
    steps = max(1, len(task.deployment.steps)) if task.deployment else 1
    return {
        "Task": resources.task(task), "ActivityLogs": logs, "PhysicalLogSize": len(_log(task)),
        "Progress": {"ProgressPercentage": 100 if task.is_completed else done * 100 // steps,
                     "EstimatedTimeRemaining": ""},
        "Links": {"Self": f"{resources.link(task, 'tasks')}/details"},
    }  # fmt: skip


def _log(task: Task) -> str:
    return task.log.as_text() if task.log else ""


@routes("GET", "tasks/{id}/raw", "TaskView")
def raw(call: Call) -> Answer:
    task = _task(call)
    return Text(f"Task ID:        {task.id}\nTask status:    {task.state}\n\n{_log(task)}\n")


@routes("GET", "tasks/{id}/queued-behind", "TaskView")
def queued_behind(call: Call) -> Answer:
    """Tasks that will start before it, or keep it from starting."""
    task, engine = _task(call), call.octopus.engine
    ahead = [*engine.active, *(one for one in engine.queue if one.sequence < task.sequence)]
    is_waiting = task.state == "Queued" and not task.pending
    return collection(call, ahead if is_waiting else [], "Task", resources.task)


@routes("POST", "tasks/{id}/cancel", "TaskCancel")
def cancel(call: Call) -> Answer:
    task = _task(call)
    call.octopus.engine.cancel(task, call.user)
    return resources.task(task)


@routes("POST", "tasks/rerun/{id}", "TaskCreate")
def rerun(call: Call) -> Answer:
    task = _task(call)
    call.octopus.deployments.rerun(task, call.user)
    return Created(resources.task(task))


@routes("POST", "tasks/{id}/prioritize", "TaskEdit")
def prioritize(call: Call) -> Answer:
    """Move a queued task to the top."""
    task, engine = _task(call), call.octopus.engine
    if task not in engine.queue:
        raise Invalid(f"{task.id} is not queued: it is {task.state}.")
    engine.queue.remove(task)
    task.sequence = min((one.sequence for one in engine.queue), default=task.sequence) - 1
    engine.queue.insert(0, task)
    return resources.task(task)


@routes("POST", "tasks/{id}/state", "TaskEdit")
def change_state(call: Call) -> Answer:
    """Correct the outcome of a task that has ended; no event tells."""
    task, state = _task(call), call.body.get("State")
    if not task.is_completed or state not in COMPLETED:
        raise Invalid(f"{task.id} is {task.state}: only the state of an ended task can be changed, to another end.")
    task.state, task.error = str(state), str(call.body.get("Reason") or task.error)
    return resources.task(task)
