"""An Octopus Server with several spaces, some of which the API key may not see; it knows tasks and little else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

MAINTENANCE = "<!DOCTYPE html><html><body><h1>Down for maintenance</h1></body></html>"

_PATH = re.compile(r"^/api(?:/(Spaces-[^/]+))?/(\w+)(?:/(.+))?$", re.IGNORECASE)


def at(moment_ms: int | None) -> str | None:
    """As Octopus writes times."""
    if moment_ms is None:
        return None
    return datetime.fromtimestamp(moment_ms / 1000, UTC).isoformat(timespec="milliseconds")


class Octopus:
    """What a test sets is what Octopus says; *asked* are the addresses that were asked for, with their queries."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("/").rstrip("/")
        self.tasks: dict[str, dict[str, Any]] = {}
        #: What deployments and runbook runs have besides their ids.
        self.runs: dict[str, dict[str, Any]] = {}
        #: Ids of projects and machines that there are; all else of them is not found.
        self.projects: set[str] = set()
        self.machines: set[str] = set()
        #: Spaces, and kinds of lists, that answer with another status.
        self.statuses: dict[str, int] = {}
        #: Space and task ids that ``GET /tasks/{id}`` answers with another status.
        self.hidden_tasks: dict[str, int] = {}
        self.is_in_maintenance = False
        #: Whether ``states`` and ``includeSystem`` are known to this version.
        self.knows_filters = True
        #: Called before a list is answered, and after it was made.
        self.before_list: Callable[[], object] = lambda: None
        self.after_list: Callable[[], object] = lambda: None
        self.asked: list[str] = []
        server.expect_request(re.compile("^/api")).respond_with_handler(self._answer)

    def has(
        self, number: int, state: str = "Executing", *, space: str = "Spaces-1", start_ms: int | None = None,
        kind: str = "DeploymentId", **fields: Any,
    ) -> str:  # fmt: skip
        """Let Octopus have ``ServerTasks-<number>``; its id."""
        task_id = f"ServerTasks-{number}"
        documents = {"DeploymentId": f"Deployments-{number}", "RunbookRunId": f"RunbookRuns-{number}"}
        self.tasks[task_id.lower()] = {
            "Id": task_id, "SpaceId": space, "State": state, "StartTime": at(start_ms), "QueueTime": at(start_ms),
            "Arguments": {kind: documents[kind]} if kind else {}, **fields,
        }  # fmt: skip
        return task_id

    def lists(self) -> list[str]:
        """The requests for lists of active tasks."""
        return [asked for asked in self.asked if "states=" in asked]

    def _answer(self, request: Request) -> Response:
        self.asked.append(request.full_path.rstrip("?"))
        if self.is_in_maintenance:
            return Response(MAINTENANCE, status=503, content_type="text/html")
        match = _PATH.match(request.path)
        if match and match[2] in ("deployments", "runbookRuns") and not match[3]:
            return self._runs(request, match[2])
        if match and match[2] == "deployments" and match[3] in self.runs:
            return _json({"Id": match[3], **self.runs[match[3]]})
        if match and match[2] in ("projects", "machines"):
            return self._documents(request, match[2], match[3])
        if not match or match[2].lower() != "tasks":
            return Response("", status=404)
        space, task_id = match[1], match[3]
        if space in self.statuses:
            return Response("", status=self.statuses[space])
        if task_id:
            return self._task(space, task_id)
        wanted = [space] if space else request.args.get("spaces", "").split(",")
        for each in wanted:
            if each in self.statuses:
                return Response("", status=self.statuses[each])
        return self._list(request, wanted)

    def _runs(self, request: Request, kind: str) -> Response:
        if kind in self.statuses:
            return Response("", status=self.statuses[kind])
        found = [{"Id": run_id, **self.runs.get(run_id, {})} for run_id in request.args["ids"].split(",")]
        return _json({"Items": found, "Links": {}})

    def _documents(self, request: Request, kind: str, document_id: str | None) -> Response:
        known = self.projects if kind == "projects" else self.machines
        if document_id:
            return _json({"Id": document_id, "Name": "x"}) if document_id in known else Response("", status=404)
        ids = [each for each in request.args.get("ids", "").split(",") if each in known]
        return _json({"Items": [{"Id": each, "Name": f"the {each}"} for each in ids], "Links": {}})

    def _task(self, space: str | None, task_id: str) -> Response:
        task = self.tasks.get(task_id.lower())
        if task_id in self.hidden_tasks:
            return Response("", status=self.hidden_tasks[task_id])
        if task is None or (space and task["SpaceId"] != space) or task["SpaceId"] in self.statuses:
            return Response("", status=404)
        return _json(task)

    def _list(self, request: Request, spaces: Iterable[str]) -> Response:
        self.before_list()
        found = [task for task in self.tasks.values() if task["SpaceId"] not in self.statuses]
        if "all" not in spaces:
            found = [task for task in found if task["SpaceId"] in spaces]
        if ids := request.args.get("ids", "").lower():
            found = [task for task in found if task["Id"].lower() in ids.split(",")]
        if (states := request.args.get("states")) and self.knows_filters:
            found = [task for task in found if task["State"] in states.split(",")]
        skip, take = int(request.args["skip"]), int(request.args["take"])
        newest_first = found[::-1]
        links = {"Page.Next": "/api/next"} if skip + take < len(found) else {}
        answer = _json({"Items": newest_first[skip : skip + take], "Links": links})
        self.after_list()
        return answer


def _json(body: Any) -> Response:
    return Response(json.dumps(body), content_type="application/json")
