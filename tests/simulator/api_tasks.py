"""Server tasks: finding, reading, cancelling and running them again."""

from __future__ import annotations

from tests.simulator import resources
from tests.simulator.api_documents import shown_task
from tests.simulator.clock import parse_iso
from tests.simulator.envelope import collection
from tests.simulator.model import COMPLETED, STATES, Invalid, Task
from tests.simulator.routing import OPEN, Answer, Call, Created, Routes, Text

routes = Routes()

#: Names of task types, as ``/tasks/tasktypes`` lists them.
TASK_TYPES = {"Deploy": "Deploy", "RunbookRun": "Runbook run", "ProcessSubscriptions": "Process subscriptions"}


def _task(call: Call) -> Task:
    found: Task = call.get("ServerTasks", call.ids["id"])
    return found


@routes("GET", "tasks", "TaskView")
def tasks(call: Call) -> Answer:
    """Newest first. No ``ids``, or empty ones: every task.

    Raises:
        Invalid: a state that there is not, or a time that is none.
    """
    for state in call.texts("states"):
        if state.lower() not in {"new", *map(str.lower, STATES)}:
            raise Invalid(f"states is {state!r}: expected one of New, {', '.join(STATES)}.")
    found = [task for task in reversed(call.in_space(call.octopus.store.all("ServerTasks"))) if _is_wanted(call, task)]
    counts = {state: sum(task.state == state for task in found) for state in ("Queued", "Executing", "Cancelling")}
    interrupted = sum(bool(task.pending) for task in found)
    return {
        **collection(call, found, "Task", lambda t: shown_task(call, t)),
        "TotalCounts": {**counts, "Interrupted": interrupted},
    }


def _is_wanted(call: Call, task: Task) -> bool:
    deployment = task.deployment
    lists = {
        "ids": task.id, "states": task.state, "name": task.name, "project": deployment and deployment.project.id,
        "environment": deployment and deployment.environment.id,
        "tenant": deployment and deployment.tenant and deployment.tenant.id,
        "runbook": deployment and deployment.runbook and deployment.runbook.id,
        "node": f"OctopusServerNodes-{task.node}",
    }  # fmt: skip
    flags = {
        "active": not task.is_completed, "running": task.state in ("Executing", "Cancelling"),
        "hasPendingInterruptions": bool(task.pending), "hasPendingPreconditions": task.awaits_approval,
        "hasWarningsOrErrors": task.has_warnings or bool(task.error),
    }  # fmt: skip
    for name, value in lists.items():
        texts = {text.lower() for text in call.texts(name)}
        # New is a task that nobody has picked up yet.
        if texts and str(value).lower() not in texts and not (name == "states" and "new" in texts and _is_new(task)):
            return False
    if any((asked := call.flag(name)) is not None and asked != value for name, value in flags.items()):
        return False
    if task.is_system and call.flag("includeSystem") is False or not _is_between(call, task):
        return False
    return call.text("partialName").lower() in task.description.lower()


def _is_between(call: Call, task: Task) -> bool:
    """Whether its times are within ``fromQueueDate`` (inclusive) to ``toQueueDate``, and so on. Raises: Invalid."""
    for name, moment in (("Queue", task.queue_ms), ("Start", task.start_ms), ("Completed", task.completed_ms)):
        since, until = call.text(f"from{name}Date"), call.text(f"to{name}Date")
        try:
            if since and (moment is None or moment < parse_iso(since)):
                return False
            if until and (moment is None or moment >= parse_iso(until)):
                return False
        except ValueError as error:
            raise Invalid(f"from{name}Date or to{name}Date is no time: {error}") from error
    return True


def _is_new(task: Task) -> bool:
    return task.state == "Queued" and task.start_ms is None


@routes("GET", "tasks/tasktypes", OPEN)
def task_types(call: Call) -> Answer:
    return [{"Id": name, "Name": shown} for name, shown in TASK_TYPES.items()]


@routes("GET", "tasks/{id}", "TaskView")
def task(call: Call) -> Answer:
    return shown_task(call, _task(call))


@routes("GET", "tasks/{id}/servertaskapproval", "TaskView")
def approval(call: Call) -> Answer:
    is_open = _task(call).awaits_approval
    return {"ApprovalState": "PreApproval" if is_open else "Approved", "Approvals": [], "ApprovalsCount": 0,
            "MinimumApproversRequired": 1, "ApprovingUsers": [], "ApprovingTeams": []}  # fmt: skip


@routes("GET", "tasks/{id}/details", "TaskView")
def details(call: Call) -> Answer:
    task = _task(call)
    logs = [task.log.as_json()] if task.log else []
    done = sum(node.ended_ms is not None for node in task.log.children) if task.log else 0
    steps = max(1, len(task.deployment.steps)) if task.deployment else 1
    return {
        "Task": shown_task(call, task), "ActivityLogs": logs, "PhysicalLogSize": len(_log(task)),
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
