"""An Octopus Server that knows what it is told, lists it by ``ids``, and answers 404 to all else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

Answer = dict[str, Any] | list[Any] | int | Callable[[Request], Response]


class OctopusStandIn:
    """*documents* are bodies, statuses or handlers by ``METHOD path`` below the space, as they come in.

    Args:
        budget: Told of each request, if given.
    """

    def __init__(self, server: HTTPServer, *, space: str = "Spaces-1") -> None:
        self.documents: dict[str, Answer] = {}
        self.asked: list[str] = []
        self._space = space
        server.expect_request(re.compile("/api/.*")).respond_with_handler(self._answer)

    def knows(self, **documents: Answer) -> None:
        """Add documents of their own, e.g. ``knows(**{"tasks/ServerTasks-1": {...}})``."""
        self.documents |= {(path if " " in path else f"GET {path}"): body for path, body in documents.items()}

    def has_task(self, number: int, **fields: Any) -> None:
        arguments = fields.pop("Arguments", {"DeploymentId": f"Deployments-{number}"})
        self.knows(**{f"tasks/ServerTasks-{number}": {
            "Id": f"ServerTasks-{number}", "SpaceId": self._space, "State": "Executing", "IsCompleted": False,
            "Arguments": arguments, **fields,
        }})  # fmt: skip

    def has_deployment(self, number: int, **fields: Any) -> None:
        self.knows(**{f"deployments/Deployments-{number}": {
            "Id": f"Deployments-{number}", "ProjectId": "Projects-7", "ReleaseId": "Releases-90",
            "EnvironmentId": "Environments-2", "TenantId": None, "SpecificMachineIds": [], "ExcludedMachineIds": [],
            "DeployedToMachineIds": [], **fields,
        }})  # fmt: skip

    def has_runbook_run(self, number: int = 1, **fields: Any) -> None:
        self.knows(**{f"runbookRuns/RunbookRuns-{number}": {
            "Id": f"RunbookRuns-{number}", "SpaceId": self._space, "ProjectId": "Projects-7", "RunbookId": "Runbooks-1",
            "RunbookSnapshotId": "RunbookSnapshots-1", "EnvironmentId": "Environments-2", "TenantId": None,
            "TaskId": f"ServerTasks-{number}", "SpecificMachineIds": [], "ExcludedMachineIds": [],
            "DeployedToMachineIds": [], **fields,
        }})  # fmt: skip

    def previews(self, path: str, *machine_ids: str) -> None:
        self.knows(**{path: {"StepsToExecute": [{"ActionId": "a", "Machines": [
            {"Id": machine_id, "Name": f"name-of-{machine_id}"} for machine_id in machine_ids
        ]}]}})  # fmt: skip

    def count(self, path: str) -> int:
        """How often it was asked for this path, its query left out."""
        return sum(line.split("?")[0] == f"GET {path}" for line in self.asked)

    def _answer(self, request: Request) -> Response:
        path = str(request.environ["REQUEST_URI"]).removeprefix("/api/").removeprefix(f"{self._space}/")
        self.asked.append(f"{request.method} {path}")
        known = self.documents.get(f"{request.method} {path.split('?')[0]}")
        if callable(known):
            return known(request)
        if isinstance(known, int):
            return Response("", status=known)
        if known is None and "ids" in request.args:
            known = self._list(path.split("?")[0], request.args["ids"].split(","))
        if known is None:
            return Response("{}", status=404)
        return Response(json.dumps(known), content_type="application/json")

    def _list(self, kind: str, ids: list[str]) -> Answer | None:
        wanted = {f"get {kind}/{each}".lower() for each in ids}
        items = [body for path, body in self.documents.items() if path.lower() in wanted and isinstance(body, dict)]
        return {"Items": items, "Links": {}}
