"""Which machines become busy, for every kind of run that Octopus knows (rule 18)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.coordination.board import Board, Policy
from app.domain.events import parse_event
from app.domain.run_info import Document
from app.octopus.client import OctopusClient
from app.web import create_app
from tests.conftest import TOKENS, WEBHOOK_SECRET, Clock, an_event, services_on
from tests.integration.octopus_stand_in import OctopusStandIn
from workers.context import Context
from workers.resolve import PERMANENT_PAUSES, resolve_all

PREVIEW = "releases/Releases-90/deployments/preview/Environments-2"
RUNBOOK_PREVIEW = "runbooks/Runbooks-1/runbookRuns/preview/Environments-2"
OF_RUNBOOK = {"RunbookRunId": "RunbookRuns-1"}


@pytest.fixture
def octopus(httpserver: HTTPServer) -> OctopusStandIn:
    return OctopusStandIn(httpserver)


@pytest.fixture
def board(make_board: Callable[..., Board]) -> Board:
    return make_board(Policy(has_key=True))


@pytest.fixture
def context(board: Board, redis_url: str, httpserver: HTTPServer) -> Iterator[Context]:
    client = OctopusClient(httpserver.url_for("/"), "API-KEY", sleep=lambda seconds: None, attempts=2)
    yield Context(services_on(board, redis_url), client)
    client.close()


@pytest.fixture
def starts(board: Board) -> Callable[..., str]:
    numbers = iter(range(1, 1000))

    def deliver(
        task: int = 1, *, deployment: int | None = None, category: str = "DeploymentStarted", **fields: Any
    ) -> str:
        kind = "RunbookRuns" if category.startswith("Runbook") else "Deployments"
        ids = [f"{kind}-{deployment or task}", "Projects-7", "Environments-2"]
        event = an_event(category, number=next(numbers), task=task, related=ids, **fields)
        return board.deliver(parse_event(event))

    return deliver


@pytest.fixture
def make_impatient(board: Board) -> Callable[[], None]:
    """Ends all pauses, which Redis counts by its own clock."""

    def end_pauses() -> None:
        for key in board.client.scan_iter(board.keys.named("resolving:", "*"), count=10_000):
            board.client.delete(key)

    return end_pauses


def machines_of(board: Board, task: int = 1) -> set[str]:
    """Those that the run makes busy."""
    place = board.place(f"ServerTasks-{task}")
    assert place is not None
    return {machine.id for machine in place.machines} if place.state == "observed" else set()


def pause_of(board: Board, task: int = 1) -> int:
    """Seconds until the run is asked about again."""
    return round(board.client.pttl(board.keys.named("resolving:", f"servertasks-{task}")) / 1000)


def test_runbook_run_of_a_tenant_uses_the_machines_of_that_tenant(board, octopus, context, starts):
    octopus.has_task(1, Arguments=OF_RUNBOOK)
    octopus.has_runbook_run(TenantId="Tenants-5")
    octopus.previews(RUNBOOK_PREVIEW)
    octopus.previews(f"{RUNBOOK_PREVIEW}/Tenants-5", "Machines-31")
    starts(category="RunbookRunStarted")

    resolve_all(context)

    assert machines_of(board) == {"Machines-31"}


@pytest.mark.parametrize("tenant", [None, "Tenants-5"])
def test_run_of_a_runbook_in_git_is_known(board, octopus, context, starts, tenant):
    octopus.has_task(1, Arguments=OF_RUNBOOK)
    octopus.has_runbook_run(RunbookId="restart-iis", TenantId=tenant,
                            GitReference={"GitRef": "refs/heads/main", "GitCommit": "0" * 40})  # fmt: skip
    runs = "projects/Projects-7/refs%2Fheads%2Fmain/runbooks/restart-iis/runbookRuns"
    plan = {"StepsToExecute": [{"Machines": [{"Id": "Machines-41"}]}]}
    octopus.knows(**({f"POST {runs}/previews": [plan]} if tenant else {f"{runs}/preview/Environments-2": plan}))
    starts(category="RunbookRunStarted")

    resolve_all(context)

    assert machines_of(board) == {"Machines-41"}


def test_machines_reached_so_far_do_not_replace_the_plan(board, octopus, context, starts):
    octopus.has_task(1, Arguments=OF_RUNBOOK)
    octopus.has_runbook_run(DeployedToMachineIds=["Machines-1"])
    octopus.previews(RUNBOOK_PREVIEW, "Machines-1", "Machines-2", "Machines-3")
    starts(category="RunbookRunStarted")

    resolve_all(context)

    assert machines_of(board) == {"Machines-1", "Machines-2", "Machines-3"}


def test_targets_with_the_tag_are_used_where_octopus_says_which_have_it(board, octopus, context, starts):
    octopus.has_task(1)
    octopus.has_deployment(1, SpecificTargetTagIds=["TagSets-1/Tags-9"])
    octopus.previews(PREVIEW, "Machines-51", "Machines-52")
    octopus.knows(**{
        "machines/Machines-51": {"Id": "Machines-51", "TargetTagIds": ["TagSets-1/Tags-9"]},
        "machines/Machines-52": {"Id": "Machines-52", "TargetTagIds": ["TagSets-1/Tags-1"]},
    })  # fmt: skip
    starts()

    resolve_all(context)

    assert machines_of(board) == {"Machines-51"}
    assert board.place("ServerTasks-1").run.info.machines_note is None


def test_where_tags_are_not_told_all_targets_are_busy_and_the_run_says_why(board, octopus, context, starts):
    octopus.has_task(1)
    octopus.has_deployment(1, SpecificTargetTagIds=["TagSets-1/Tags-9"])
    octopus.previews(PREVIEW, "Machines-51", "Machines-52")
    starts()

    resolve_all(context)

    assert machines_of(board) == {"Machines-51", "Machines-52"}
    note = board.place("ServerTasks-1").run.info.machines_note
    assert note == ("target tags of name-of-Machines-51, name-of-Machines-52 are not known: "
                    "all targets of the plan are busy")  # fmt: skip


def test_machine_with_skipped_actions_only_stays_free(board, octopus, context, starts):
    octopus.has_task(1)
    octopus.has_deployment(1, SkipActions=["a"])
    octopus.knows(**{PREVIEW: {"StepsToExecute": [
        {"ActionId": "a", "Machines": [{"Id": "Machines-1"}, {"Id": "Machines-2"}]},
        {"ActionId": "b", "Machines": [{"Id": "Machines-2"}]},
    ]}})  # fmt: skip
    starts()

    resolve_all(context)

    assert machines_of(board) == {"Machines-2"}


def test_deployment_that_is_started_again_uses_the_machine_that_was_excluded_before(
    board, octopus, context, starts, make_impatient
):
    octopus.has_deployment(10, ExcludedMachineIds=["Machines-12"])
    octopus.previews(PREVIEW, "Machines-11", "Machines-12")
    octopus.has_task(10)
    starts(10)
    resolve_all(context)
    assert machines_of(board, 10) == {"Machines-11"}

    octopus.has_task(11, Arguments={"DeploymentId": "Deployments-10"})
    starts(11, deployment=10)
    resolve_all(context)

    assert machines_of(board, 11) == {"Machines-11", "Machines-12"}
    assert "started again" in board.place("ServerTasks-11").run.info.machines_note


def test_names_in_a_plan_stand_for_the_machines_that_are_called_so(board, octopus, context, starts):
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.knows(**{
        PREVIEW: {"StepsToExecute": [{"MachineNames": ["web-02"]}]},
        "machines": {"Items": [{"Id": "Machines-1", "Name": "web-01"}, {"Id": "Machines-2", "Name": "Web-02"}],
                     "Links": {}},
    })  # fmt: skip
    starts()

    resolve_all(context)

    assert machines_of(board) == {"Machines-2"}


def test_name_that_no_machine_has_keeps_the_run_unresolved(board, octopus, context, starts, make_impatient):
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.knows(**{PREVIEW: {"StepsToExecute": [{"MachineNames": ["web-02"]}]},
                     "machines": {"Items": [], "Links": {}}})  # fmt: skip
    starts()

    for _ in range(8):
        resolve_all(context)
        make_impatient()
    resolve_all(context)

    assert context.unresolved.tasks() == ["ServerTasks-1"]
    assert pause_of(board) == PERMANENT_PAUSES[1].total_seconds() == 600


def remembered(board: Board, octopus: OctopusStandIn, context: Context, starts: Callable[..., str]) -> None:
    """Have a run end of whose process is remembered that it uses Machines-7."""
    octopus.has_task(99)
    octopus.has_deployment(99)
    octopus.previews(PREVIEW, "Machines-7")
    starts(99)
    resolve_all(context)
    assert machines_of(board, 99) == {"Machines-7"}
    del octopus.documents[f"GET {PREVIEW}"]
    later = time.strftime("%Y-%m-%dT%H:%M:%S.000+00:00", time.gmtime(time.time() + 1))
    board.deliver(parse_event(an_event("DeploymentSucceeded", number=999, task=99, occurred=later,
                                       related=["Deployments-99", "Projects-7", "Environments-2"])))  # fmt: skip


def kinds_at(board: Board, a_run: Callable[..., Any], machine: str) -> list[str]:
    run = a_run(task_id="ServerTasks-5000")
    place = board.join(run, {machine})
    board.release(run.task_id, cause="forced")
    return [holder.kind for holder in place.machines[0].holders]


@pytest.mark.parametrize("status", [403, 404])
def test_final_refusal_ends_what_is_presumed_after_a_minute(board, clock, octopus, context, starts, a_run, status):
    remembered(board, octopus, context, starts)
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.knows(**{PREVIEW: status, "POST releases/Releases-90/deployments/previews": status})
    starts()
    assert kinds_at(board, a_run, "Machines-7") == ["provisional"]

    resolve_all(context)
    assert kinds_at(board, a_run, "Machines-7") == ["provisional"]
    clock.advance(board.policy.provisional)

    assert kinds_at(board, a_run, "Machines-7") == []


PART = {
    "reached so far, no preview": ({"DeployedToMachineIds": ["Machines-7"]}, 503),
    "reached so far, preview refused": ({"DeployedToMachineIds": ["Machines-7"]}, 403),
    "chosen by hand, tags not told": (
        {"SpecificMachineIds": ["Machines-7"], "SpecificTargetTagIds": ["TagSets-1/Tags-9"]}, 500,
    ),
    "named in part": ({}, {"StepsToExecute": [{"Machines": [{"Id": "Machines-7"}]}, {"MachineNames": ["nobody"]}]}),
}  # fmt: skip


@pytest.mark.parametrize("deployment, preview", PART.values(), ids=PART)
def test_machines_that_are_certain_are_busy_while_the_others_are_not_known(
    board, octopus, context, starts, a_run, deployment, preview
):
    octopus.has_task(1)
    octopus.has_deployment(1, **deployment)
    octopus.knows(**{PREVIEW: preview, "POST releases/Releases-90/deployments/previews": preview,
                     "machines": {"Items": [], "Links": {}}})  # fmt: skip
    starts()
    assert kinds_at(board, a_run, "Machines-7") == []

    resolve_all(context)

    assert kinds_at(board, a_run, "Machines-7") == ["provisional"]
    assert context.unresolved.tasks() == ["ServerTasks-1"]


@pytest.mark.parametrize("status", [401, 500, 503])
def test_failure_that_is_no_refusal_ends_nothing(board, clock, octopus, context, starts, a_run, status):
    remembered(board, octopus, context, starts)
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.knows(**{PREVIEW: status})
    starts()

    resolve_all(context)
    clock.advance(10 * board.policy.provisional)

    assert kinds_at(board, a_run, "Machines-7") == ["provisional"]
    assert pause_of(board) <= 5, "a key that is accepted again, or a server that is back, is asked soon"


def test_run_whose_task_is_hidden_is_known_by_its_deployment(board, octopus, context, starts):
    octopus.knows(**{"tasks/ServerTasks-1": 403})
    octopus.has_deployment(1)
    octopus.previews(PREVIEW, "Machines-7")
    starts()

    resolve_all(context)

    assert machines_of(board) == {"Machines-7"}


def test_pause_that_octopus_asks_for_is_at_most_a_minute(board, octopus, context, starts, make_impatient):
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.knows(**{PREVIEW: lambda request: Response("", status=503, headers={"Retry-After": "172800"})})
    starts()

    resolve_all(context)

    assert 55 <= pause_of(board) <= 60
    make_impatient()
    octopus.previews(PREVIEW, "Machines-7")
    resolve_all(context)
    assert machines_of(board) == {"Machines-7"}


TROUBLE = {
    "task is hidden": {"tasks/ServerTasks-1": 403, "deployments/Deployments-1": 403},
    "task is gone": {"tasks/ServerTasks-1": 404, "deployments/Deployments-1": 404},
    "task is no task": {"tasks/ServerTasks-1": {"Id": "ServerTasks-1", "State": 7}},
    "task is a list": {"tasks/ServerTasks-1": []},
    "deployment is no deployment": {"deployments/Deployments-1": {"Id": "Deployments-1", "SkipActions": "a"}},
    "deployment has ids of no kind": {"deployments/Deployments-1": {
        "Id": "Deployments-1", "ReleaseId": "../x", "EnvironmentId": "Environments-2"}},
    "preview is no preview": {f"{PREVIEW}/Tenants-1": {"StepsToExecute": [{"Machines": 5}]}},
    "preview fails": {f"{PREVIEW}/Tenants-1": 500},
    "preview wants days": {f"{PREVIEW}/Tenants-1": lambda request: Response("", 429, {"Retry-After": "172800"})},
    "preview is HTML": {f"{PREVIEW}/Tenants-1": lambda request: Response("<html>", 200)},
    "names nobody": {f"{PREVIEW}/Tenants-1": {"StepsToExecute": [{"MachineNames": ["nobody"]}]}},
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_with_one_run_is_no_trouble_of_the_others(board, octopus, context, starts, trouble):
    for number in (1, 2, 3):
        octopus.has_task(number)
        octopus.has_deployment(number, TenantId=f"Tenants-{number}")
        octopus.previews(f"{PREVIEW}/Tenants-{number}", f"Machines-{number}")
        starts(number)
    octopus.knows(**TROUBLE[trouble])

    resolve_all(context)

    assert context.unresolved.tasks() == ["ServerTasks-1"]
    assert (machines_of(board, 2), machines_of(board, 3)) == ({"Machines-2"}, {"Machines-3"})
    assert 0 < pause_of(board) <= 60


@pytest.mark.parametrize("space", ["Spaces-9", "Spaces-404"])
def test_space_that_the_key_may_not_see_is_one_runs_trouble(board, octopus, context, starts, space):
    for number in (1, 2, 3):
        octopus.has_task(number)
        octopus.has_deployment(number, TenantId=f"Tenants-{number}")
        octopus.previews(f"{PREVIEW}/Tenants-{number}", f"Machines-{number}")
    octopus.documents[f"GET {space}/tasks"] = 403
    starts(1, SpaceId=space)
    starts(4, SpaceId=space)
    starts(5, SpaceId=space)
    starts(2)
    starts(3)

    resolve_all(context)

    assert (machines_of(board, 2), machines_of(board, 3)) == ({"Machines-2"}, {"Machines-3"})
    assert context.unresolved.tasks() == ["ServerTasks-1", "ServerTasks-4", "ServerTasks-5"]


def test_list_without_some_of_the_runs_is_completed_singly(board, octopus, context, starts):
    for number in (1, 2, 3):
        octopus.has_task(number)
        octopus.has_deployment(number, TenantId=f"Tenants-{number}")
        octopus.previews(f"{PREVIEW}/Tenants-{number}", f"Machines-{number}")
        starts(number)
    octopus.knows(tasks={"Items": [octopus.documents["GET tasks/ServerTasks-2"]], "Links": {}}, deployments=404)

    resolve_all(context)

    assert [machines_of(board, number) for number in (1, 2, 3)] == [{"Machines-1"}, {"Machines-2"}, {"Machines-3"}]
    assert octopus.count("tasks/ServerTasks-2") == 0 and octopus.count("tasks/ServerTasks-1") == 1


def test_server_that_knows_no_ids_filter_is_read_one_page_of(board, octopus, context, starts):
    def everything(request: Request) -> Response:
        items = [{"Id": f"ServerTasks-{number}", "State": "Success"} for number in range(1000, 1050)]
        return Response(json.dumps({"Items": items, "Links": {"Page.Next": "/api/next"}}))

    for number in (1, 2):
        octopus.has_task(number)
        octopus.has_deployment(number, SpecificMachineIds=[f"Machines-{number}"])
        starts(number)
    octopus.knows(tasks=everything)

    resolve_all(context)

    assert (machines_of(board, 1), machines_of(board, 2)) == ({"Machines-1"}, {"Machines-2"})
    assert octopus.count("tasks") == 1


def test_run_that_failed_before_keeps_nobody_waiting(board, octopus, context, starts, make_impatient):
    for number in (1, 2, 3):
        octopus.knows(**{f"tasks/ServerTasks-{number}": 500, "tasks": 500})
        starts(number)
    resolve_all(context)
    make_impatient()
    octopus.has_task(4)
    octopus.has_deployment(4, SpecificMachineIds=["Machines-4"])
    starts(4)

    resolve_all(context)

    assert machines_of(board, 4) == {"Machines-4"}


@pytest.fixture
def went_on(board: Board, clock: Clock, a_run: Callable[..., Any]) -> None:
    """A run of which nothing was heard while it waited; its step may have gone on without octowait."""
    info = {"space_id": "Spaces-1", "deployment_id": "Deployments-1", "project": {"id": "Projects-7", "name": "Web"},
            "environment": {"id": "Environments-2"}}  # fmt: skip
    board.join(a_run(task_id="ServerTasks-2"), {"Machines-7"}, ttl=timedelta(hours=1))
    board.join(a_run(task_id="ServerTasks-1", info=info), {"Machines-7"})
    clock.advance(timedelta(minutes=5))
    board.sweep()


def test_run_that_went_on_after_its_wait_is_observed_on_its_plan(board, octopus, context, went_on):
    octopus.has_task(1)
    octopus.has_deployment(1)
    octopus.previews(PREVIEW, "Machines-7", "Machines-8")

    resolve_all(context)

    assert machines_of(board) == {"Machines-7", "Machines-8"}
    assert board.place("ServerTasks-1").run.info.project == Document("Projects-7", "Web")


def test_run_whose_wait_was_over_with_its_task_is_done(board, octopus, context, went_on):
    octopus.has_task(1, State="Success", IsCompleted=True)

    resolve_all(context)

    assert context.unresolved.tasks() == []
    assert machines_of(board) == set()


def test_page_of_the_run_says_what_is_not_known_of_its_machines(board, octopus, context, starts, redis_url):
    octopus.has_task(1)
    octopus.has_deployment(1, ExcludedTargetTagIds=["TagSets-1/Tags-9"])
    octopus.previews(PREVIEW, "Machines-51")
    starts()
    resolve_all(context)
    services = services_on(board, redis_url, tokens=f"viewer:test:{TOKENS['viewer']}", webhook_secret=WEBHOOK_SECRET)
    client = create_app(services).test_client()
    client.post("/sign-in", data={"token": TOKENS["viewer"]})

    note = "target tags of name-of-Machines-51 are not known: all targets of the plan are busy"
    assert client.get("/api/runs/ServerTasks-1").json["info"]["machines_note"] == note
    assert note in client.get("/runs/ServerTasks-1").text
