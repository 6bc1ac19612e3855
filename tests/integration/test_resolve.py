"""Runs that only events told of get their machines from Octopus, or are kept for later."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from structlog.testing import capture_logs
from werkzeug import Response

from app.coordination.board import Board
from app.domain.events import parse_event
from app.domain.run_info import Document
from app.octopus.client import OctopusClient
from tests.conftest import an_event, services_on
from workers import resolve
from workers.context import Context
from workers.resolve import resolve_all

TASK, DEPLOYMENT = "ServerTasks-4711", "Deployments-51"
RUNBOOK_RUN = ["RunbookRuns-5", "Projects-7", "Environments-2"]


class Octopus:
    """An Octopus Server that knows what it is told; it answers 404 to all else."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        server.no_handler_status_code = 404
        server.expect_request("/api/Spaces-1/projects/Projects-7").respond_with_json({"Name": "Web"})
        server.expect_request("/api/Spaces-1/environments/Environments-2").respond_with_json({"Name": "Production"})
        server.expect_request("/api/Spaces-1/releases/Releases-90").respond_with_json({"Version": "1.4.0"})

    def has_task(
        self, task_id: str = TASK, *, state: str = "Executing", completed: str | None = None, **arguments: str
    ) -> None:
        body = {"Id": task_id, "SpaceId": "Spaces-1", "State": state, "Arguments": arguments,
                "CompletedTime": completed, "IsCompleted": state in ("Success", "Failed", "Canceled")}  # fmt: skip
        self._answer(f"tasks/{task_id}", body)

    def has_deployment(self, deployment_id: str = DEPLOYMENT, **fields: Any) -> None:
        body = {"Id": deployment_id, "ProjectId": "Projects-7", "ReleaseId": "Releases-90",
                "EnvironmentId": "Environments-2", "TenantId": None, "SpecificMachineIds": [],
                "ExcludedMachineIds": [], "DeployedToMachineIds": [], **fields}  # fmt: skip
        self._answer(f"deployments/{deployment_id}", body)

    def has_runbook_run(self, **fields: Any) -> None:
        body = {"Id": "RunbookRuns-5", "ProjectId": "Projects-7", "EnvironmentId": "Environments-2", **fields}
        self._answer("runbookRuns/RunbookRuns-5", body)

    def previews(self, *machine_ids: str) -> None:
        machines = [{"Id": machine_id, "Name": f"web-{machine_id}"} for machine_id in machine_ids]
        steps = [{"ActionId": "1", "Machines": machines}, {"ActionId": "2", "Machines": machines[:1]}]
        self._answer("releases/Releases-90/deployments/preview/Environments-2", {"StepsToExecute": steps})

    def has_machines(self, **names: str) -> None:
        items = [{"Id": f"Machines-{key.removeprefix('m')}", "Name": name} for key, name in names.items()]
        self._answer("machines", {"Items": items, "Links": {}})

    def fails(self, path: str, status: int) -> None:
        self.server.expect_request(f"/api/Spaces-1/{path}").respond_with_data("", status=status)

    def asked(self, path: str) -> int:
        return sum(request.path == f"/api/Spaces-1/{path}" for request, _ in self.server.log)

    def _answer(self, path: str, body: dict[str, Any]) -> None:
        self.server.expect_request(f"/api/Spaces-1/{path}").respond_with_json(body)


@pytest.fixture
def octopus(httpserver: HTTPServer) -> Octopus:
    return Octopus(httpserver)


@pytest.fixture
def make_context(board: Board, redis_url: str) -> Iterator[Callable[[str | None], Context]]:
    clients = []

    def make(url: str | None) -> Context:
        client = OctopusClient(url, "API-KEY", sleep=lambda seconds: None, attempts=2) if url else None
        clients.append(client)
        return Context(services_on(board, redis_url), client)

    yield make
    for client in filter(None, clients):
        client.close()


@pytest.fixture
def context(make_context: Callable[[str | None], Context], httpserver: HTTPServer) -> Context:
    return make_context(httpserver.url_for("/"))


@pytest.fixture
def make_impatient(context: Context) -> Callable[[], None]:
    """Ends all pauses, which Redis counts by its own clock."""

    def end_pauses() -> None:
        for key in context.board.client.scan_iter(context.board.keys.named("resolving:", "*"), count=10_000):
            context.board.client.delete(key)

    return end_pauses


def hears(
    board: Board, category: str = "DeploymentStarted", *, number: int = 1, seconds: int = 0, **fields: Any
) -> str:
    """Deliver an event that occurred *seconds* from now."""
    occurred = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(time.time() + seconds))
    return board.deliver(parse_event(an_event(category, number=number, occurred=occurred, **fields)))


def holders_of(board: Board, a_run: Callable[..., Any], machine: str) -> list[str]:
    """Who stands in the way of somebody who asks for *machine*."""
    run = a_run()
    place = board.join(run, {machine})
    board.release(run.task_id)
    return [holder.task_id or "" for holder in place.machines[0].holders]


def test_deployment_without_a_wait_step_holds_its_machines_until_it_ends(board, octopus, context, a_run):
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment()
    octopus.previews("Machines-7", "Machines-8")
    assert hears(board) == "unresolved"

    resolve_all(context)
    waiter = a_run()
    assert board.join(waiter, {"Machines-8"}).is_waiting
    assert hears(board, "DeploymentSucceeded", number=2, seconds=1) == "applied"

    assert board.wait(waiter.task_id, timeout=timedelta(seconds=5)).is_granted
    assert context.unresolved.tasks() == []


def test_people_see_names(board, octopus, context, a_run):
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment()
    octopus.previews("Machines-7")
    hears(board)

    resolve_all(context)

    machine = board.join(a_run(), {"Machines-7"}).machines[0]
    info = machine.holders[0].info
    assert machine.name == "web-Machines-7"
    assert info.project == Document("Projects-7", "Web")
    assert info.environment == Document("Environments-2", "Production")
    assert info.release == Document("Releases-90", "1.4.0")
    assert info.deployment_id == DEPLOYMENT


def test_lost_names_do_not_stop_it(board, httpserver, context, a_run):
    httpserver.expect_request("/api/Spaces-1/projects/Projects-7").respond_with_data("", status=403)
    octopus = Octopus(httpserver)
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment(SpecificMachineIds=["Machines-7"])
    octopus.fails("machines", 500)
    hears(board)

    resolve_all(context)

    assert holders_of(board, a_run, "Machines-7") == [TASK]


def test_server_that_asks_for_days_is_asked_again_within_a_minute(board, httpserver, octopus, context):
    """Its machines would count as free for two days."""
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment()
    httpserver.expect_request(
        "/api/Spaces-1/releases/Releases-90/deployments/preview/Environments-2"
    ).respond_with_data("", status=503, headers={"Retry-After": "172800"})
    hears(board)

    resolve_all(context)

    left_ms = board.client.pttl(board.keys.named("resolving:", "servertasks-4711"))
    assert 0 < left_ms <= 60_000


def test_run_whose_space_is_no_id_is_resolved_as_one_of_unknown_space(board, httpserver, octopus, context, a_run):
    """An older version kept what an event said."""
    httpserver.expect_request(f"/api/tasks/{TASK}").respond_with_json(
        {"Id": TASK, "SpaceId": "Spaces-1", "State": "Executing", "Arguments": {"DeploymentId": DEPLOYMENT}}
    )
    octopus.has_deployment(SpecificMachineIds=["Machines-7"])
    octopus.has_machines(m7="web-01")
    event = parse_event(an_event())
    board.deliver(replace(event, info={**event.info, "space_id": "../../x"}))

    resolve_all(context)

    assert holders_of(board, a_run, "Machines-7") == [TASK]


def test_excluded_machines_stay_free(board, octopus, context, a_run):
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment(ExcludedMachineIds=["MACHINES-8"])
    octopus.previews("Machines-7", "Machines-8")
    hears(board)

    resolve_all(context)

    assert holders_of(board, a_run, "Machines-7") == [TASK]
    assert holders_of(board, a_run, "Machines-8") == []


def test_specific_machines_are_taken_instead_of_the_preview(board, octopus, context, a_run):
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment(SpecificMachineIds=["Machines-8"])
    octopus.has_machines(m8="db-01")
    octopus.previews("Machines-7", "Machines-8")
    hears(board)

    resolve_all(context)

    machine = board.join(a_run(), {"Machines-8"}).machines[0]
    assert (machine.name, [holder.task_id for holder in machine.holders]) == ("db-01", [TASK])
    assert holders_of(board, a_run, "Machines-7") == []


def test_deployment_of_no_machine_is_done_with(board, octopus, context):
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment()
    octopus.previews()
    hears(board)

    resolve_all(context)

    assert context.unresolved.tasks() == []
    assert board.place(TASK).run.state == "observed"


def test_runbook_run_holds_the_machines_that_octopus_names(board, octopus, context, a_run):
    octopus.has_task(RunbookRunId="RunbookRuns-5")
    octopus.has_runbook_run(SpecificMachineIds=["Machines-7"])
    octopus.has_machines(m7="web-01")
    hears(board, "RunbookRunStarted", related=RUNBOOK_RUN)

    resolve_all(context)

    assert holders_of(board, a_run, "Machines-7") == [TASK]


def test_runbook_run_is_resolved_by_the_preview_of_its_runbook(board, octopus, context):
    octopus.has_task(RunbookRunId="RunbookRuns-5")
    octopus.has_runbook_run(RunbookId="Runbooks-3", ExcludedMachineIds=["Machines-12"])
    machines = [{"Id": "Machines-7", "Name": "web-7"}, {"Id": "Machines-12", "Name": "web-12"}]
    path = "runbooks/Runbooks-3/runbookRuns/preview/Environments-2"
    # Servers whose runbooks can be in Git know them below their project only.
    octopus.fails(path, 404)
    octopus._answer(f"projects/Projects-7/{path}", {"StepsToExecute": [{"Machines": machines}]})
    hears(board, "RunbookRunStarted", related=RUNBOOK_RUN)

    resolve_all(context)

    assert octopus.asked(path) == 1
    assert [machine.id for machine in board.place(TASK).machines] == ["Machines-7"]


def test_runbook_run_whose_machines_nobody_names_stays_unresolved_and_says_so(board, octopus, context):
    octopus.has_task(RunbookRunId="RunbookRuns-5")
    octopus.has_runbook_run()
    hears(board, "RunbookRunStarted", related=RUNBOOK_RUN)

    with capture_logs() as logs:
        resolve_all(context)

    assert context.unresolved.tasks() == [TASK]
    assert [entry["task"] for entry in logs if "RunbookRuns-5 names neither machines" in entry.get("error", "")] == [
        TASK
    ]


def test_run_that_ended_meanwhile_is_ended_by_the_reconciler(board, octopus, context, timeline):
    octopus.has_task(state="Failed", DeploymentId=DEPLOYMENT)
    hears(board)

    resolve_all(context)

    assert board.place(TASK).run.state == "ended"
    assert board.place(TASK).run.cause == "reconciled"
    assert context.unresolved.tasks() == []


def test_run_anew_that_began_before_its_first_end_was_found_is_observed(board, octopus, context):
    """The first run ended a minute ago, the second began at once, and the event of that came after the look."""
    minute_ago = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(time.time() - 60))
    octopus.has_task(state="Failed", completed=minute_ago, DeploymentId=DEPLOYMENT)
    hears(board, seconds=-120)
    resolve_all(context)
    assert board.place(TASK).run.state == "ended"

    hears(board, number=2, seconds=-30)

    assert board.place(TASK).run.state == "started"


def test_run_that_joins_while_octopus_is_asked_keeps_its_place(board, httpserver, octopus, context, a_run):
    octopus.has_deployment()
    octopus.previews("Machines-7")
    run = a_run(task_id=TASK)

    def joins_now(request: Any) -> Any:
        board.join(run, {"Machines-9"})
        return Response(json.dumps(JSON_TASK))

    httpserver.expect_request(f"/api/Spaces-1/tasks/{TASK}").respond_with_handler(joins_now)
    hears(board)

    resolve_all(context)

    assert board.place(TASK).is_granted
    assert board.place(TASK).run.machines == ("Machines-9",)
    assert holders_of(board, a_run, "Machines-7") == []


def test_re_run_that_joins_while_octopus_tells_of_the_end_is_not_ended(board, httpserver, octopus, context, a_run):
    run = a_run(task_id=TASK)

    def joins_now(request: Any) -> Any:
        board.join(run, {"Machines-9"})
        return Response(json.dumps({**JSON_TASK, "State": "Success", "IsCompleted": True}))

    httpserver.expect_request(f"/api/Spaces-1/tasks/{TASK}").respond_with_handler(joins_now)
    hears(board)

    resolve_all(context)

    assert board.place(TASK).is_granted


def test_failing_run_does_not_stop_the_others(board, octopus, context, a_run):
    hears(board, number=1, task=101, related=["Deployments-1"])
    hears(board, number=2, task=102, related=["Deployments-2"])
    hears(board, number=3, task=103, related=["Deployments-3"])
    octopus.fails("tasks/ServerTasks-101", 404)
    octopus.server.expect_request("/api/Spaces-1/tasks/ServerTasks-102").respond_with_json({"Id": 5})
    octopus.has_task("ServerTasks-103", DeploymentId="Deployments-3")
    octopus.has_deployment("Deployments-3")
    octopus.previews("Machines-7")

    with capture_logs() as logs:
        resolve_all(context)

    assert holders_of(board, a_run, "Machines-7") == ["ServerTasks-103"]
    assert context.unresolved.tasks() == ["ServerTasks-101", "ServerTasks-102"]
    failed = {entry["task"]: entry["permanent"] for entry in logs if "permanent" in entry}
    assert failed == {"ServerTasks-101": True, "ServerTasks-102": True}


def test_run_we_stumble_over_does_not_stop_the_others(board, octopus, context, a_run):
    hears(board, number=1, task=101, related=["Deployments-1"])
    hears(board, number=3, task=103, related=["Deployments-3"])
    context.board.client.hset(
        board.keys.runs, "servertasks-101", '{"id":"ServerTasks-101","run":1,"state":"started","info":[1]}'
    )
    octopus.has_task("ServerTasks-103", DeploymentId="Deployments-3")
    octopus.has_deployment("Deployments-3")
    octopus.previews("Machines-7")

    resolve_all(context)

    assert holders_of(board, a_run, "Machines-7") == ["ServerTasks-103"]


def test_hopeless_run_is_not_hammered(board, octopus, context, make_impatient):
    octopus.fails(f"tasks/{TASK}", 404)
    hears(board)

    for _ in range(5):
        resolve_all(context)
    assert octopus.asked(f"tasks/{TASK}") == 1
    first = context.board.client.pttl(board.keys.named("resolving:", "servertasks-4711"))
    make_impatient()
    resolve_all(context)

    assert octopus.asked(f"tasks/{TASK}") == 2
    assert context.board.client.pttl(board.keys.named("resolving:", "servertasks-4711")) > first + 30_000


def test_absent_octopus_keeps_it_for_later(board, octopus, context, make_context, make_impatient, a_run):
    octopus.has_task(DeploymentId=DEPLOYMENT)
    octopus.has_deployment()
    octopus.previews("Machines-7")
    hears(board)

    resolve_all(make_context("http://127.0.0.1:1"))
    assert context.unresolved.tasks() == [TASK]
    assert context.board.client.pttl(board.keys.named("resolving:", "servertasks-4711")) <= 5_000
    make_impatient()
    resolve_all(context)

    assert holders_of(board, a_run, "Machines-7") == [TASK]


def test_absent_octopus_is_not_asked_about_every_run(board, octopus, context):
    for number in range(1, 11):
        hears(board, number=number, task=number, related=[f"Deployments-{number}"])
        octopus.fails(f"tasks/ServerTasks-{number}", 503)

    resolve_all(context)

    asked = {request.path for request, _ in octopus.server.log} - {"/api/Spaces-1/tasks"}
    assert len(asked) == resolve.SERVER_FAILURES
    assert len(context.unresolved.tasks()) == 10


def test_pause_that_octopus_asks_for_is_kept_up_to_a_minute(board, octopus, context):
    octopus.server.expect_request(f"/api/Spaces-1/tasks/{TASK}").respond_with_data(
        "", status=429, headers={"Retry-After": "172800"}
    )
    hears(board)

    resolve_all(context)

    assert 50_000 < context.board.client.pttl(board.keys.named("resolving:", "servertasks-4711")) <= 60_000


def test_run_that_another_worker_asks_about_is_left_to_it(board, octopus, context):
    octopus.has_task(DeploymentId=DEPLOYMENT)
    hears(board)
    assert context.claims.claim(TASK, timedelta(minutes=1))

    resolve_all(context)

    assert octopus.asked(f"tasks/{TASK}") == 0


def test_without_an_api_key_nothing_is_done(board, make_context):
    hears(board)
    context = make_context(None)

    resolve_all(context)

    assert context.unresolved.tasks() == [TASK]
    assert context.claims.claim(TASK, timedelta(minutes=1)), "the run was claimed although nobody can be asked"


JSON_TASK = {"Id": TASK, "SpaceId": "Spaces-1", "State": "Executing", "IsCompleted": False,
             "Arguments": {"DeploymentId": DEPLOYMENT}}  # fmt: skip
