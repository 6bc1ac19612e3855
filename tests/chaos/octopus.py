"""An Octopus Server as small as the chaos needs it: tasks that begin, pause and end, by the thousand.

`tests.simulator` is the one that behaves as Octopus does; it runs real scripts, some tens of tasks a minute. This one
only answers what octowait's workers ask, in the event loop of the workload, so that what is true in Octopus and what
the clients do have one order.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.chaos.history import History, Kind, now_ms

API_KEY = "API-CHAOS"

#: The instructions of an intervention that octowait answers, as docs/how-to/wait-without-a-task-slot.md has them: in
#: the process, and as Octopus fills them in.
TERMS_LINE = (
    "octowait: on behalf of [#{Octowait.OnBehalfOf}], priority [#{Octowait.Priority}], "
    "time-out [#{Octowait.TimeoutMinutes}] min"
)
TERMS = "octowait: on behalf of [{parent}], priority [{priority}], time-out [120] min"

#: The steps of processes: without octowait, with a wait, and with a claim.
PLAIN, WAITS, CLAIMS = "plain", "waits", "claims"

CATEGORIES = ("DeploymentStarted", "DeploymentSucceeded", "DeploymentFailed", "TaskCanceled",
              "ManualInterventionInterruptionRaised")  # fmt: skip

#: Events that `GET /events` still has: more than any look back at this speed.
EVENTS_KEPT = 20_000


@dataclass
class Task:
    """A server task and the deployment that made it. *machines* are those of its plan."""

    id: str
    number: int
    machines: tuple[str, ...]
    turn: int = 1
    priority: int = 0
    parent: str = ""
    process: str = WAITS
    state: str = "Executing"
    started_ms: float = 0.0
    completed_ms: float = 0.0
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    #: None before its intervention, then ``""`` while it is pending, then the result.
    result: str | None = None
    raised_ms: float = 0.0
    responsible: str | None = None

    @property
    def project(self) -> str:
        """One for each set of machines: what a project used last is what its next run is presumed to use."""
        return "Projects-" + "-".join(machine.split("-", 1)[1] for machine in self.machines)

    @property
    def is_active(self) -> bool:
        return self.state in ("Executing", "Queued")

    @property
    def is_pending(self) -> bool:
        return self.result == ""


class SmallOctopus:
    """Serves the API on a port of this machine."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._server: asyncio.Server | None = None
        self._tasks: dict[str, Task] = {}
        self._active: dict[str, Task] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self._numbers = 0
        self.calls = 0
        #: Paths that were asked for and are not there.
        self.unknown: set[str] = set()

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=200)

    def stop(self) -> None:
        if self._server:
            self._server.close()

    # What happens in Octopus

    def begin(
        self, number: int, machines: tuple[str, ...], *, turn: int, priority: int = 0, parent: str = "",
        process: str = WAITS,
    ) -> Task:  # fmt: skip
        """A task starts, perhaps once more."""
        task_id = f"ServerTasks-{number}"
        task = Task(task_id, number, machines, turn, priority, parent, process, started_ms=now_ms())
        self._tasks[task.id.lower()] = self._active[task.id.lower()] = task
        self._history.note(Kind.BEGINS, task.id, turn, machines=machines, parent=parent)
        return task

    def end(self, task: Task, state: str = "Success") -> None:
        """It ends, whoever hears of it."""
        if task.is_active:
            task.state, task.completed_ms = state, now_ms()
            task.result = None if task.result is None else task.result or "Abort"
            task.answered.set()
            if self._active.get(task.id.lower()) is task:
                del self._active[task.id.lower()]
            self._history.note(Kind.ENDS, task.id, task.turn, word=state)

    def raise_intervention(self, task: Task) -> None:
        """It pauses for the intervention that octowait answers."""
        task.state, task.result, task.raised_ms = "Queued", "", now_ms()

    def event(self, category: str, task: Task, occurred_ms: float) -> dict[str, Any]:
        """The body of its webhook; from now on `GET /events` has it, too."""
        self._numbers += 1
        event = {
            "Id": f"Events-{self._numbers}", "Category": category, "Occurred": _iso(occurred_ms), "SpaceId": "Spaces-1",
            "RelatedDocumentIds": [f"Deployments-{task.number}", task.project, "Environments-1",
                                   f"Releases-{task.number}", task.id],
        }  # fmt: skip
        self._events.appendleft(event)
        return {"EventType": "SubscriptionPayload", "Payload": {"ServerUri": self.url, "Event": event}}

    # What is asked

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, address, _ = lines[0].split(" ")
                length = next((int(x.split(":")[1]) for x in lines if x.lower().startswith("content-length:")), 0)
                body = await reader.readexactly(length)
                status, found = self._answer(method, address, body)
                data = json.dumps(found).encode()
                head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
                writer.write(head.encode() + data)
                await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _answer(self, method: str, address: str, body: bytes) -> tuple[int, Any]:
        self.calls += 1
        parts = urlsplit(address)
        path = re.sub(r"^/api(/spaces)?/Spaces-1/", "/api/", parts.path, flags=re.IGNORECASE)
        query = {name.lower(): values[0] for name, values in parse_qs(parts.query).items()}
        for pattern, handler in self._routes():
            if match := re.fullmatch(pattern, f"{method} {path}", re.IGNORECASE):
                found = handler(query, json.loads(body or b"{}"), *match.groups())
                return (404, {"ErrorMessage": "not found"}) if found is None else (200, found)
        self.unknown.add(f"{method} {path}")
        return 404, {"ErrorMessage": f"{path} is not here"}

    def _routes(self) -> list[tuple[str, Callable[..., Any]]]:
        return [
            (r"GET /api/tasks", self._list_tasks),
            (r"GET /api/tasks/(ServerTasks-\d+)", lambda q, b, task: self._shown(task)),
            (r"GET /api/events", self._list_events),
            (r"GET /api/events/categories", lambda q, b: [{"Id": name, "Name": name} for name in CATEGORIES]),
            (r"GET /api/interruptions", self._list_interruptions),
            (r"GET /api/interruptions/Interruptions-(\d+)-\d+", lambda q, b, n: _interruption(self._numbered(n))),
            (r"PUT /api/interruptions/Interruptions-(\d+)-\d+/responsible", self._take),
            (r"POST /api/interruptions/Interruptions-(\d+)-\d+/submit", self._submit),
            (r"GET /api/deployments/Deployments-(\d+)", lambda q, b, n: _deployment(self._numbered(n))),
            (r"GET /api/deployments", self._list_deployments),
            (r"GET /api/deploymentprocesses/process-(\w+)", lambda q, b, name: _process(name)),
            (r"GET /api/releases/Releases-(\d+)/deployments/preview/.*", lambda q, b, n: _preview(self._numbered(n))),
            (r"GET /api/releases/Releases-(\d+)", lambda q, b, n: {"Id": f"Releases-{n}", "Version": f"1.0.{n}"}),
            (r"GET /api/(projects|environments)/(\S+)", lambda q, b, kind, i: {"Id": i, "Name": f"the {i}"}),
            (r"GET /api/(machines|projects|environments|releases)", _named),
            (r"GET /api/users/me", lambda q, b: {"Id": "Users-1", "Username": "octowait"}),
            (r"GET /api/spaces(/all)?", lambda q, b, _: _page([{"Id": "Spaces-1", "Name": "Default"}])),
        ]  # fmt: skip

    def _numbered(self, number: str) -> Task | None:
        return self._tasks.get(f"servertasks-{number}")

    def _shown(self, task_id: str) -> dict[str, Any] | None:
        task = self._tasks.get(task_id.lower())
        return _task(task) if task else None

    def _list_tasks(self, query: dict[str, str], body: object) -> dict[str, Any]:
        if "ids" in query:
            found = [self._tasks[i] for i in query["ids"].lower().split(",") if i in self._tasks]
        else:
            found = list(reversed(self._active.values()))
        return _page([_task(task) for task in found], query)

    def _list_deployments(self, query: dict[str, str], body: object) -> dict[str, Any]:
        asked = (self._numbered(each.split("-")[-1]) for each in query.get("ids", "").split(","))
        return _page([_deployment(task) for task in asked if task], query)

    def _list_events(self, query: dict[str, str], body: object) -> dict[str, Any]:
        first, last = _ms(query["from"]), _ms(query["to"])
        return _page([e for e in self._events if first <= _ms(e["Occurred"]) < last], query)

    def _list_interruptions(self, query: dict[str, str], body: object) -> dict[str, Any]:
        if "regarding" in query:
            task = self._tasks.get(query["regarding"].lower())
            tasks = [task] if task else []
        else:
            tasks = list(self._active.values())
        is_pending_only = query.get("pendingonly") == "true"
        found = [t for t in tasks if t.result is not None and (t.is_pending or not is_pending_only)]
        return _page([_interruption(task) for task in found], query)

    def _take(self, query: object, body: object, number: str) -> dict[str, Any] | None:
        task = self._numbered(number)
        if task is None:
            return None
        task.responsible = "Users-1"
        return {"Id": "Users-1"}

    def _submit(self, query: object, body: dict[str, Any], number: str) -> dict[str, Any] | None:
        task = self._numbered(number)
        if task is None or not task.is_pending:
            return None
        task.result, task.state = str(body.get("Result")), "Executing"
        self._history.note(Kind.PROCEEDS, task.id, task.turn, word=task.result)
        task.answered.set()
        return _interruption(task)


def _page(items: list[Any], query: dict[str, str] | None = None) -> dict[str, Any]:
    skip, take = int((query or {}).get("skip", 0)), int((query or {}).get("take", 30))
    links = {"Page.Next": "next"} if skip + take < len(items) else {}
    return {"Items": items[skip : skip + take], "TotalResults": len(items), "ItemsPerPage": take, "Links": links}


def _task(task: Task) -> dict[str, Any]:
    return {
        "Id": task.id, "Name": "Deploy", "State": task.state, "IsCompleted": not task.is_active, "SpaceId": "Spaces-1",
        "Arguments": {"DeploymentId": f"Deployments-{task.number}"}, "ProjectId": task.project,
        "QueueTime": _iso(task.started_ms), "StartTime": _iso(task.started_ms),
        "CompletedTime": _iso(task.completed_ms) if task.completed_ms else None,
        "HasPendingInterruptions": task.is_pending, "HasBeenPickedUpByProcessor": True,
        "PendingInterruptionTypes": ["ManualIntervention"] if task.is_pending else [],
        "FinishedSuccessfully": task.state == "Success", "Links": {"Self": f"/api/tasks/{task.id}"},
    }  # fmt: skip


def _interruption(task: Task | None) -> dict[str, Any] | None:
    if task is None or task.result is None:
        return None
    text = TERMS.format(parent=task.parent, priority=task.priority)
    return {
        "Id": f"Interruptions-{task.number}-{task.turn}", "Title": "Wait for machines", "Type": "ManualIntervention",
        "IsPending": task.is_pending, "Created": _iso(task.raised_ms), "TaskId": task.id, "SpaceId": "Spaces-1",
        "ResponsibleUserId": task.responsible, "CanTakeResponsibility": True, "IsLinkedToOtherInterruption": False,
        "HasResponsibility": task.responsible is not None,
        "Form": {"Values": {"Result": task.result or None},
                 "Elements": [{"Name": "Instructions", "Control": {"Type": "Paragraph", "Text": text}}]},
    }  # fmt: skip


def _deployment(task: Task | None) -> dict[str, Any] | None:
    if task is None:
        return None
    return {
        "Id": f"Deployments-{task.number}", "TaskId": task.id, "SpaceId": "Spaces-1", "ProjectId": task.project,
        "ReleaseId": f"Releases-{task.number}", "EnvironmentId": "Environments-1", "TenantId": None,
        "SpecificMachineIds": [], "ExcludedMachineIds": [], "DeployedToMachineIds": [],
        "DeploymentProcessId": f"process-{task.process}",
    }  # fmt: skip


def _preview(task: Task | None) -> dict[str, Any] | None:
    if task is None:
        return None
    machines = [{"Id": machine, "Name": machine} for machine in task.machines]
    return {"StepsToExecute": [{"ActionName": "Deploy", "Machines": machines}]}


def _named(query: dict[str, str], body: object, kind: str) -> dict[str, Any]:
    asked = filter(None, query.get("ids", "").split(","))
    return _page([{"Id": each, "Name": f"the {each}", "Version": "1.0"} for each in asked], query)


def _process(name: str) -> dict[str, Any]:
    """Its steps, as they stand in the project: nothing is filled in."""
    work = {"Name": "Deploy", "ActionType": "Octopus.Script", "Properties": {}}
    script = {"Octopus.Action.Script.ScriptBody": f"# {'claim' if name == CLAIMS else 'wait'}.py: of octowait"}
    first = {"Name": "Ask", "ActionType": "Octopus.Script", "Properties": script}
    manual = {"Name": "Wait for machines", "ActionType": "Octopus.Manual",
              "Properties": {"Octopus.Action.Manual.Instructions": TERMS_LINE}}  # fmt: skip
    actions = {PLAIN: [work], WAITS: [first, work], CLAIMS: [first, manual, work]}[name]
    steps = [{"Name": action["Name"], "Condition": "Success", "Actions": [action]} for action in actions]
    return {"Id": f"process-{name}", "Steps": steps}


def _iso(at_ms: float) -> str:
    return datetime.fromtimestamp(int(at_ms) / 1000, UTC).isoformat(timespec="milliseconds")


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
