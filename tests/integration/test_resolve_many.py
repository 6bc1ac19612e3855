"""Many starts at once: shared requests, within the budget, names last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app.coordination.board import Board, Policy
from app.coordination.budget import Budget
from app.domain.events import parse_event
from app.domain.run_info import Document
from app.octopus.client import OctopusClient
from tests.conftest import an_event, services_on
from tests.integration.octopus_stand_in import OctopusStandIn
from workers.context import Context
from workers.resolve import GATHER, resolve_all
from workers.resolving.facts import MOST_PROCESSES

PREVIEW = "releases/Releases-90/deployments/preview/Environments-2"

#: Requests that others make in a minute meanwhile: a watch each five seconds, and two passes of reconcile.
OF_OTHERS = 14


@pytest.fixture
def board(make_board: Callable[..., Board]) -> Board:
    return make_board(Policy(has_key=True))


@pytest.fixture
def octopus(httpserver: HTTPServer) -> OctopusStandIn:
    return OctopusStandIn(httpserver)


@pytest.fixture
def budget(board: Board) -> Budget:
    return Budget(board.client, board.keys, 60)


@pytest.fixture
def context(board: Board, redis_url: str, httpserver: HTTPServer, budget: Budget) -> Iterator[Context]:
    def sleep(seconds: float) -> None:
        budget.offset_ms += round(seconds * 1000)

    client = OctopusClient(httpserver.url_for("/"), "API-KEY", sleep=sleep, budget=budget)
    yield Context(services_on(board, redis_url), client)
    client.close()


def start(board: Board, number: int, **fields: Any) -> None:
    related = [f"Deployments-{number}", "Projects-7", "Environments-2"]
    board.deliver(parse_event(an_event(number=number, task=number, related=related, **fields)))


def machines_of(board: Board, number: int) -> set[str]:
    place = board.place(f"ServerTasks-{number}")
    return {machine.id for machine in place.machines} if place and place.state == "observed" else set()


def is_first(lines: list[str], what: tuple[str, ...], before: tuple[str, ...]) -> bool:
    """Whether all requests about *what* come before any about *before*."""
    last = max(number for number, line in enumerate(lines) if line.split(" ")[1].startswith(what))
    return all(number > last for number, line in enumerate(lines) if line.split(" ")[1].startswith(before))


NAMES = ("projects", "environments", "tenants", "releases?", "machines", "deploymentprocesses")
MACHINES = ("tasks", "deployments?", "deployments/", "releases/Releases-90/deployments", "releases/Releases-1")


@pytest.mark.parametrize("apart", ["tenants", "projects"])
def test_thirty_starts_in_a_second_are_known_within_a_minute(board, octopus, context, budget, apart):
    for number in range(100, 130):
        octopus.has_task(number)
        fields = ({"TenantId": f"Tenants-{number}"} if apart == "tenants"
                  else {"ProjectId": f"Projects-{number}", "ReleaseId": f"Releases-{number}"})  # fmt: skip
        octopus.has_deployment(number, DeploymentProcessId=f"deploymentprocess-{number}", **fields)
        path = f"{PREVIEW}/Tenants-{number}" if apart == "tenants" else PREVIEW.replace("-90", f"-{number}")
        octopus.previews(path, f"Machines-{number}")
        start(board, number)
    for _ in range(OF_OTHERS):
        budget.take(urgent=True)

    resolve_all(context)

    assert all(machines_of(board, number) == {f"Machines-{number}"} for number in range(100, 130))
    assert budget.offset_ms == 0, "it had to wait for its turn"
    asked = [line for line in octopus.asked if line.split(" ")[1].startswith(MACHINES)]
    assert len(asked) == 2 + 30
    assert is_first(octopus.asked, MACHINES, NAMES)


def test_runs_of_one_release_environment_and_tenant_share_a_preview(board, octopus, context):
    octopus.previews(PREVIEW, "Machines-7")
    for number in range(1, 6):
        octopus.has_task(number)
        octopus.has_deployment(number)
        start(board, number)

    resolve_all(context)

    assert all(machines_of(board, number) == {"Machines-7"} for number in range(1, 6))
    assert octopus.count(PREVIEW) == 1


def test_preview_that_fails_for_many_runs_is_one_failure(board, octopus, context):
    for number in range(1, 7):
        octopus.has_task(number)
        octopus.has_deployment(number)
        start(board, number)
    octopus.knows(**{PREVIEW: 500})
    octopus.has_deployment(6, TenantId="Tenants-6")
    octopus.previews(f"{PREVIEW}/Tenants-6", "Machines-6")

    resolve_all(context)

    assert machines_of(board, 6) == {"Machines-6"}
    assert octopus.count(PREVIEW) == 2, "one request, tried once more"


def test_more_runs_than_a_list_has_room_for_are_all_resolved(board, octopus, context, budget):
    octopus.previews(PREVIEW, "Machines-7")
    for number in range(1, 61):
        octopus.has_task(number)
        octopus.has_deployment(number)
        start(board, number)

    resolve_all(context)

    assert context.unresolved.tasks() == []
    assert octopus.count("tasks") == octopus.count("deployments") == 2


def test_where_the_budget_is_spent_machines_go_before_names(board, octopus, context, budget):
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.previews(PREVIEW, "Machines-7")
    octopus.knows(**{"projects/Projects-7": {"Name": "Web"}})
    start(board, 1)
    for _ in range(57):
        budget.take(urgent=True)

    resolve_all(context)
    assert machines_of(board, 1) == {"Machines-7"}
    assert not any(line.startswith("GET projects") for line in octopus.asked)

    budget.offset_ms += 61_000
    resolve_all(context)
    assert board.place("ServerTasks-1").run.info.project == Document("Projects-7", "Web")


def test_names_of_many_runs_are_asked_for_in_lists(board, octopus, context):
    for number in range(1, 6):
        octopus.has_task(number)
        octopus.has_deployment(number, ProjectId=f"Projects-{number}", TenantId="Tenants-1",
                               SpecificMachineIds=[f"Machines-{number}"])  # fmt: skip
        octopus.knows(**{
            f"projects/Projects-{number}": {"Id": f"Projects-{number}", "Name": f"project {number}"},
            f"machines/Machines-{number}": {"Id": f"Machines-{number}", "Name": f"web-{number}"},
        })  # fmt: skip
        start(board, number)
    octopus.knows(**{"environments/Environments-2": {"Name": "Production"}, "tenants/Tenants-1": {"Name": "ACME"},
                     "releases/Releases-90": {"Version": "1.4.0"}})  # fmt: skip

    resolve_all(context)

    for number in range(1, 6):
        place = board.place(f"ServerTasks-{number}")
        assert place.machines[0].name == f"web-{number}"
        assert place.run.info.project.name == f"project {number}"
        assert place.run.info.release == Document("Releases-90", "1.4.0")
        assert place.run.info.tenant.name == "ACME"
    assert octopus.count("projects") == octopus.count("machines") == 1
    assert octopus.count("environments/Environments-2") == octopus.count("tenants/Tenants-1") == 1
    assert not context.unresolved.any()


def test_names_that_are_known_cost_no_request(board, octopus, context):
    octopus.previews(PREVIEW, "Machines-7")
    octopus.knows(**{"projects/Projects-7": {"Name": "Web"}})
    for number in (1, 2):
        octopus.has_task(number)
        octopus.has_deployment(number)
    start(board, 1)
    resolve_all(context)
    start(board, 2)

    resolve_all(context)

    assert board.place("ServerTasks-2").run.info.project.name == "Web"
    assert octopus.count("projects/Projects-7") == octopus.count("environments/Environments-2") == 1


def test_names_do_not_replace_those_of_another_document(board, octopus, context):
    octopus.has_task(1)
    octopus.has_deployment(1, SpecificMachineIds=["Machines-7"])
    start(board, 1)
    resolve_all(context)

    assert board.name("ServerTasks-1", {"project": {"id": "Projects-8", "name": "other"}}, []) == "named"
    assert board.name("SERVERTASKS-1", {"project": {"id": "projects-7", "name": "Web"}}, []) == "named"
    assert board.name("ServerTasks-9", {}, []) == "unknown"

    assert board.place("ServerTasks-1").run.info.project.name == "Web"


def test_naming_a_run_leaves_its_version(board, octopus, context):
    octopus.has_task(1)
    octopus.has_deployment(1, SpecificMachineIds=["Machines-7"])
    start(board, 1)
    resolve_all(context)
    seen = board.place("ServerTasks-1")

    board.name("ServerTasks-1", {"project": {"id": "Projects-7", "name": "Web"}}, [{"id": "Machines-7", "name": "w"}])

    assert board.release("ServerTasks-1", cause="reconciled", seen=seen) == "released"
    assert board.place("ServerTasks-1").machines[0].name == "w"


def test_unnamed_machine_keeps_the_name_that_was_known(board, octopus, context):
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.previews(PREVIEW, "Machines-7")
    start(board, 1)
    resolve_all(context)
    octopus.has_task(2)
    octopus.has_deployment(2, SpecificMachineIds=["Machines-7"])
    start(board, 2)

    resolve_all(context)

    assert board.place("ServerTasks-2").machines[0].name == "name-of-Machines-7"


def test_run_without_names_is_given_up_after_a_while(board, context):
    now_ms = board.now_ms()
    context.unresolved.to_name("ServerTasks-1", now_ms=now_ms)

    assert context.unresolved.any()
    assert context.unresolved.unnamed(now_ms=now_ms + 1) == ["ServerTasks-1"]
    assert context.unresolved.unnamed(now_ms=now_ms + 3_600_000) == []
    assert not context.unresolved.any()


def test_first_of_a_burst_is_asked_about_at_once_and_the_others_together(context):
    assert context.unresolved.gather(timedelta(hours=1)) == 0.0
    assert 3590 < context.unresolved.gather(timedelta(hours=1)) <= 3600
    assert timedelta(milliseconds=100) < GATHER <= timedelta(seconds=1)


OURS = {"Id": "ours", "ActionType": "Octopus.Script", "Properties": {"Octowait.Url": "#{Octowait.Url}"}}
WAIT = {"Id": "process", "Steps": [{"Name": "wait", "Actions": [OURS]}, {"Name": "deploy", "Actions": [{"Id": "b"}]}]}


def test_run_whose_process_begins_with_our_step_is_expected_once_that_is_known(board, octopus, context):
    octopus.previews(PREVIEW, "Machines-7")
    octopus.knows(**{"deploymentprocesses/process-s-1": WAIT})
    for number, skipped in ((1, []), (2, []), (3, ["ours"])):
        octopus.has_task(number)
        octopus.has_deployment(number, DeploymentProcessId="process-s-1", SkipActions=skipped)
        start(board, number)
        resolve_all(context)

    assert machines_of(board, 1) == {"Machines-7"}
    assert board.place("ServerTasks-2").run.state == "started"
    assert board.place("ServerTasks-2").run.planned == ("Machines-7",)
    assert machines_of(board, 3) == {"Machines-7"}
    assert octopus.count("deploymentprocesses/process-s-1") == 1


def test_run_that_began_long_ago_is_not_about_to_ask(board, octopus, context):
    octopus.previews(PREVIEW, "Machines-7")
    octopus.knows(**{"deploymentprocesses/process-s-1": WAIT})
    for number, occurred in ((1, None), (2, "2026-01-01T00:00:00.000+00:00")):
        octopus.has_task(number)
        octopus.has_deployment(number, DeploymentProcessId="process-s-1")
        start(board, number, occurred=occurred)
        resolve_all(context)

    assert machines_of(board, 2) == {"Machines-7"}


def test_few_processes_are_read_in_a_pass_and_a_hidden_one_is_read_once(board, octopus, context):
    octopus.previews(PREVIEW, "Machines-7")
    for number in range(1, 6):
        octopus.has_task(number)
        octopus.has_deployment(number, DeploymentProcessId=f"process-s-{number}")
        octopus.knows(**{f"deploymentprocesses/process-s-{number}": 403})
        start(board, number)

    resolve_all(context)
    read = [line for line in octopus.asked if "deploymentprocesses" in line]
    assert len(read) == MOST_PROCESSES
    octopus.has_task(9)
    octopus.has_deployment(9, DeploymentProcessId=read[0].rpartition("/")[2])
    start(board, 9)
    resolve_all(context)

    assert [line for line in octopus.asked if "deploymentprocesses" in line] == read
