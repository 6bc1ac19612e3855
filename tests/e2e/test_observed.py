"""A deployment without a wait step, from its first webhook to its last, with every process real but Octopus."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.conftest import Service, a_delivery, eventually

TASK = {
    "Id": "ServerTasks-4711", "SpaceId": "Spaces-1", "Name": "Deploy",
    "Arguments": {"DeploymentId": "Deployments-51"}, "State": "Executing", "IsCompleted": False,
    "StartTime": "2026-05-06T07:00:02.000+00:00", "CompletedTime": None, "ProjectId": "Projects-7",
}  # fmt: skip
DEPLOYMENT = {
    "Id": "Deployments-51", "SpaceId": "Spaces-1", "ProjectId": "Projects-7", "ReleaseId": "Releases-90",
    "EnvironmentId": "Environments-2", "TenantId": None, "TaskId": "ServerTasks-4711", "Name": "Deploy to Prod",
    "SpecificMachineIds": [], "ExcludedMachineIds": ["Machines-9"], "DeployedToMachineIds": [],
}  # fmt: skip
PREVIEW = {
    "StepsToExecute": [
        {"ActionId": "1", "ActionName": "Deploy", "Roles": ["web"],
         "Machines": [{"Id": "Machines-7", "Name": "web-01"}, {"Id": "Machines-9", "Name": "web-09"}],
         "UnavailableMachines": [], "ExcludedMachines": [], "HasNoApplicableMachines": False},
    ],
}  # fmt: skip
MACHINES = {
    "ItemType": "Machine", "TotalResults": 1, "ItemsPerPage": 30, "NumberOfPages": 1, "LastPageNumber": 0,
    "Items": [{"Id": "Machines-7", "Name": "web-01", "SpaceId": "Spaces-1"}], "Links": {},
}  # fmt: skip


def an_octopus(httpserver: HTTPServer, state: dict[str, Any]) -> str:
    """A stand-in for the Octopus API that knows one deployment; *state* is merged into its task."""

    answers = {
        "/tasks/ServerTasks-4711": lambda: {**TASK, **state},
        "/deployments/Deployments-51": lambda: DEPLOYMENT,
        "/releases/Releases-90/deployments/preview/Environments-2": lambda: PREVIEW,
        "/machines": lambda: MACHINES,
        "/projects/Projects-7": lambda: {"Id": "Projects-7", "Name": "Web"},
        "/environments/Environments-2": lambda: {"Id": "Environments-2", "Name": "Production"},
        "/releases/Releases-90": lambda: {"Id": "Releases-90", "Version": "1.4.0"},
    }

    def answer(request: Request) -> Response:

        path = request.path.removeprefix("/api").removeprefix("/Spaces-1")
        if request.headers.get("X-Octopus-ApiKey") != "API-KEY-FOR-TESTS" or path not in answers:
            return Response('{"ErrorMessage": "not there"}', 404)
        return Response(json.dumps(answers[path]()), content_type="application/json")

    httpserver.expect_request(re.compile("^/api/")).respond_with_handler(answer)
    return str(httpserver.url_for("")).rstrip("/")


def test_a_waiter_waits_for_a_deployment_without_the_steps_until_its_end(
    make_service: Callable[..., Service], httpserver: HTTPServer
) -> None:
    state: dict[str, Any] = {}
    octopus = {"OCTOWAIT_OCTOPUS_URL": an_octopus(httpserver, state), "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY-FOR-TESTS"}
    service = make_service(**octopus)
    worker = service.spawn("worker")
    try:
        assert service.deliver(a_delivery("DeploymentStarted", number=1))[1]["outcome"] == "applied"
        eventually(lambda: service.call("GET", "/api/runs/ServerTasks-4711")[1]["state"] == "observed", timeout=30)
        # Names come after machines.
        eventually(lambda: service.call("GET", "/api/runs/ServerTasks-4711")[1]["info"]["project"].get("name"))
        waiting = service.call("PUT", "/api/waits/ServerTasks-2", {"machines": ["Machines-7"]}, role="step")[1]
        answers: list[Any] = []
        waiter = threading.Thread(
            target=lambda: answers.append(
                service.call("GET", "/api/waits/ServerTasks-2?block_seconds=50", role="step")
            ),
            daemon=True,
        )
        waiter.start()
        state.update({"State": "Success", "IsCompleted": True})
        service.deliver(a_delivery("DeploymentSucceeded", number=2))
        waiter.join(30)
    finally:
        worker.terminate()
        worker.wait(20)

    assert waiting["state"] == "waiting"
    holder = waiting["machines"][0]["holders"][0]
    assert (waiting["machines"][0]["name"], holder["kind"], holder["project"]) == ("web-01", "observed", "Web")
    assert answers[0][1]["state"] == "granted"
    kinds = [r["kind"] for r in service.call("GET", "/api/runs/ServerTasks-4711")[1]["timeline"]]
    assert kinds == ["event", "observed", "event", "ended"]


def test_force_is_refused_while_octopus_says_that_the_task_runs(
    make_service: Callable[..., Service], httpserver: HTTPServer
) -> None:
    state: dict[str, Any] = {}
    octopus = {"OCTOWAIT_OCTOPUS_URL": an_octopus(httpserver, state), "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY-FOR-TESTS"}
    service = make_service(**octopus)
    force = "/api/waits/ServerTasks-4711/force-release"

    def lease() -> None:
        service.call("PUT", "/api/waits/ServerTasks-4711", {"machines": ["Machines-7"], "space_id": "Spaces-1"})

    lease()
    refused = service.call("POST", force, {"reason": "impatient"})
    confirmed = service.call("POST", force, {"reason": "sure", "confirm": True})
    lease()
    state.update({"State": "Failed", "IsCompleted": True})
    free = service.call("POST", force, {"reason": "it has ended"})

    assert (refused[0], refused[1]["code"]) == (409, "still_running")
    assert confirmed == (200, {"outcome": "released"})
    assert free == (200, {"outcome": "released"})
