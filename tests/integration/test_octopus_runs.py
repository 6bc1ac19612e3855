"""What the client reads about runs, and how it answers the questions of tasks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.domain.events import parse_event
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import OctopusDenied, OctopusError, OctopusUnreadable
from app.octopus.resources import ITEMS_A_PAGE
from tests.conftest import an_event


@pytest.fixture
def client(httpserver: HTTPServer) -> Iterator[OctopusClient]:
    client = OctopusClient(httpserver.url_for("/"), "API-KEY", sleep=lambda seconds: None)
    yield client
    client.close()


def a_task(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "Id": f"ServerTasks-{number}", "SpaceId": "Spaces-1", "Name": "Deploy", "State": "Executing",
        "IsCompleted": False, "Arguments": {"DeploymentId": f"Deployments-{number}"}, "ProjectId": "Projects-7",
        "QueueTime": "2025-05-06T07:00:00.000+00:00", "StartTime": "2025-05-06T07:00:02.0000000+00:00",
        "CompletedTime": None, "HasPendingInterruptions": False, "FinishedSuccessfully": False,
        "Links": {"Web": f"/app#/Spaces-1/tasks/ServerTasks-{number}"}, **fields,
    }  # fmt: skip


def a_page(items: list[Any], *, more: bool = False) -> dict[str, Any]:
    return {"Items": items, "Links": {"Page.Next": "/api/next"} if more else {}}


def an_interruption(**fields: Any) -> dict[str, Any]:
    return {
        "Id": "Interruptions-3", "SpaceId": "Spaces-1", "Title": "octowait", "Type": "ManualIntervention",
        "Created": "2025-05-06T07:00:03.000+00:00", "IsPending": True, "TaskId": "ServerTasks-1",
        "Form": {
            "Values": {"Instructions": None, "Notes": None, "Result": None},
            "Elements": [
                {"Name": "Instructions", "Control": {"Type": "Paragraph", "Text": "Waiting for web-01."}},
                {"Name": "Notes", "Control": {"Type": "TextArea", "Label": "Notes"}},
                {"Name": "Result", "Control": {"Type": "SubmitButtonGroup", "Buttons": [{"Text": "Proceed"}]}},
            ],
        },
        "ResponsibleTeamIds": ["teams-1"], "ResponsibleUserId": None, "CanTakeResponsibility": True,
        "HasResponsibility": False, "IsLinkedToOtherInterruption": False, **fields,
    }  # fmt: skip


def serve_pages(httpserver: HTTPServer, path: str, items: list[Any]) -> None:
    """Answer ``skip`` and ``take`` of a list that stays as it is."""

    def answer(request: Request) -> Response:
        skip, take = int(request.args["skip"]), int(request.args["take"])
        body = a_page(items[skip : skip + take], more=skip + take < len(items))
        return Response(json.dumps(body), content_type="application/json")

    httpserver.expect_request(path).respond_with_handler(answer)


def test_task_tells_its_times_and_where_people_see_it(httpserver, client):
    httpserver.expect_request("/api/tasks/ServerTasks-1").respond_with_json(a_task())

    task = client.task("ServerTasks-1")

    assert (task.name, task.project_id) == ("Deploy", "Projects-7")
    assert (task.queue_ms, task.start_ms, task.completed_ms) == (1746514800000, 1746514802000, None)
    assert task.url == httpserver.url_for("/app#/Spaces-1/tasks/ServerTasks-1")


@pytest.mark.parametrize("link", ["https://elsewhere.example.com/app", "//elsewhere.example.com/app", None, 7])
def test_link_to_another_host_is_none(httpserver, client, link):
    httpserver.expect_request("/api/tasks/ServerTasks-1").respond_with_json(a_task(Links={"Web": link}))

    assert client.task("ServerTasks-1").url is None


@pytest.mark.parametrize(
    ("fields", "running", "paused"),
    [
        ({"State": "Executing"}, True, False),
        ({"State": "Cancelling"}, True, False),
        ({"State": "Queued"}, False, False),
        ({"State": "Queued", "HasPendingInterruptions": True}, False, True),
        ({"State": "Executing", "HasPendingInterruptions": True}, True, True),
        ({"State": "Queued", "PendingInterruptionTypes": ["ManualIntervention"]}, False, True),
        ({"State": "Canceled", "IsCompleted": True, "HasPendingInterruptions": True}, False, False),
        ({"State": "Failed", "IsCompleted": True}, False, False),
        ({"State": "Success", "IsCompleted": True, "FinishedSuccessfully": True}, False, False),
    ],
)
def test_state_of_a_task_in_words(httpserver, client, fields, running, paused):
    httpserver.expect_request("/api/tasks/ServerTasks-1").respond_with_json(a_task(**fields))

    task = client.task("ServerTasks-1")

    assert (task.is_running, task.is_paused) == (running, paused)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"State": "Queued", "HasPendingPreconditions": True}, True),
        ({"State": "Queued", "PendingPreconditionTypes": ["Approval"]}, True),
        ({"State": "Queued", "HasPendingPreconditions": True, "StartTime": None}, True),
        ({"State": "Queued", "HasPendingPreconditions": False, "PendingPreconditionTypes": []}, False),
        ({"State": "Executing", "HasPendingPreconditions": True}, False),
        ({"State": "Queued", "HasPendingPreconditions": True, "HasPendingInterruptions": True}, False),
        ({"State": "Failed", "IsCompleted": True, "HasPendingPreconditions": True}, False),
    ],
)
def test_task_that_waits_for_an_approval_before_its_start(httpserver, client, fields, expected):
    httpserver.expect_request("/api/tasks/ServerTasks-1").respond_with_json(a_task(**fields))

    assert client.task("ServerTasks-1").awaits_approval is expected


def test_tasks_of_one_space_are_asked_for_there(httpserver, client):
    httpserver.expect_request("/api/Spaces-1/tasks").respond_with_json(a_page([a_task(1), a_task(2)]))

    tasks = client.tasks(["ServerTasks-1", "servertasks-2"], space="Spaces-1")

    assert {task.id for task in tasks} == {"ServerTasks-1", "ServerTasks-2"}
    query = httpserver.log[0][0].args
    assert query["ids"] == "ServerTasks-1,servertasks-2" and "spaces" not in query


def test_tasks_of_several_spaces_are_asked_for_at_once(httpserver, client):
    httpserver.expect_request("/api/tasks").respond_with_json(a_page([a_task(1)]))

    client.tasks(["ServerTasks-1"], spaces=["Spaces-1", "Spaces-2"])
    client.tasks(["ServerTasks-1"])

    assert [request.args["spaces"] for request, _ in httpserver.log] == ["Spaces-1,Spaces-2", "all"]


def test_no_task_ids_are_no_request(httpserver, client):
    httpserver.expect_request("/api/tasks").respond_with_json(a_page([a_task(1)]))

    assert client.tasks([]) == client.tasks(set(), space="Spaces-1") == ()
    assert httpserver.log == []


def test_tasks_that_were_not_asked_for_are_left_out(httpserver, client):
    httpserver.expect_request("/api/tasks").respond_with_json(a_page([a_task(1), a_task(2)]))

    assert [task.id for task in client.tasks(["SERVERTASKS-2"])] == ["ServerTasks-2"]


def test_hundreds_of_tasks_take_a_request_for_each_fifty(httpserver, client):
    def answer(request: Request) -> Response:
        items = [a_task(int(task_id.split("-")[1])) for task_id in request.args["ids"].split(",")]
        return Response(json.dumps(a_page(items)), content_type="application/json")

    httpserver.expect_request("/api/Spaces-1/tasks").respond_with_handler(answer)

    tasks = client.tasks([f"ServerTasks-{number}" for number in range(2 * IDS_A_PAGE + 1)], space="Spaces-1")

    assert len(tasks) == 2 * IDS_A_PAGE + 1 and len(httpserver.log) == 3


def test_active_tasks_are_checked_again_where_filters_are_ignored(httpserver, client):
    listed = [
        a_task(1), a_task(2, State="Success", IsCompleted=True), a_task(3, State="Queued"),
        a_task(4, Name="Health", Arguments={}), a_task(5, State="Cancelling"),
        a_task(6, Name="RunbookRun", Arguments={"RunbookRunId": "RunbookRuns-6"}),
    ]  # fmt: skip
    httpserver.expect_request("/api/Spaces-2/tasks").respond_with_json(a_page(listed))

    tasks = client.active_tasks(spaces=["Spaces-2"])

    assert [task.id for task in tasks] == ["ServerTasks-1", "ServerTasks-3", "ServerTasks-5", "ServerTasks-6"]
    assert httpserver.log[0][0].args["states"] == "Executing,Cancelling,Queued"


def test_active_tasks_of_all_spaces_are_one_list(httpserver, client):
    httpserver.expect_request("/api/tasks").respond_with_json(a_page([a_task(1)]))

    assert len(client.active_tasks()) == 1
    assert httpserver.log[0][0].args["spaces"] == "all"


def test_active_task_is_not_missed_when_others_end_between_two_pages(httpserver, client):
    tasks = [a_task(number) for number in range(ITEMS_A_PAGE + 30)]

    def answer(request: Request) -> Response:
        skip, take = int(request.args["skip"]), int(request.args["take"])
        body = a_page(tasks[skip : skip + take], more=skip + take < len(tasks))
        del tasks[:10]
        return Response(json.dumps(body), content_type="application/json")

    httpserver.expect_request("/api/tasks").respond_with_handler(answer)

    found = [task.id for task in client.active_tasks()]

    assert len(found) == len(set(found)) == ITEMS_A_PAGE + 30


def test_events_are_all_pages_of_a_fixed_range(httpserver, client):
    events = [an_event(number=number) for number in range(2 * ITEMS_A_PAGE + 5, 0, -1)]
    serve_pages(httpserver, "/api/Spaces-1/events", events)

    found = client.events(
        from_ms=1746514800123, to_ms=1746518400000, categories=["DeploymentStarted", "TaskCanceled"],
        spaces=["Spaces-1"],
    )  # fmt: skip

    assert [parse_event(event).id for event in found] == [event["Id"] for event in events]
    queries = [request.args for request, _ in httpserver.log]
    assert [query["skip"] for query in queries] == ["0", "100", "200"]
    assert {query["from"] for query in queries} == {"2025-05-06T07:00:00.123+00:00"}
    assert {query["to"] for query in queries} == {"2025-05-06T08:00:00.000+00:00"}
    assert {query["eventCategories"] for query in queries} == {"DeploymentStarted,TaskCanceled"}


def test_events_of_all_spaces_and_categories(httpserver, client):
    httpserver.expect_request("/api/events").respond_with_json(a_page([an_event()]))

    assert len(list(client.events(from_ms=0, to_ms=1))) == 1
    query = httpserver.log[0][0].args
    assert query["spaces"] == "all" and "eventCategories" not in query


def test_events_are_read_on_as_they_are_consumed(httpserver, client):
    serve_pages(httpserver, "/api/events", [an_event(number=number) for number in range(300)])

    next(client.events(from_ms=0, to_ms=1))

    assert len(httpserver.log) == 1


def test_categories_are_a_list_without_pages(httpserver, client):
    listed = [{"Id": "DeploymentStarted", "Name": "Deployment started"}, {"Id": "TaskCanceled"}]
    httpserver.expect_request("/api/events/categories").respond_with_json(listed)

    found = client.event_categories()

    assert [(category.id, category.name) for category in found] == [
        ("DeploymentStarted", "Deployment started"), ("TaskCanceled", "TaskCanceled"),
    ]  # fmt: skip


def test_categories_that_are_no_list_are_unreadable(httpserver, client):
    httpserver.expect_request("/api/events/categories").respond_with_json({"no": "list"})

    with pytest.raises(OctopusUnreadable, match="Items"):
        client.event_categories()


def test_interruptions_of_a_task_that_are_pending(httpserver, client):
    listed = [an_interruption(), an_interruption(Id="Interruptions-4", TaskId="ServerTasks-2"),
              an_interruption(Id="Interruptions-5", IsPending=False)]  # fmt: skip
    httpserver.expect_request("/api/Spaces-1/interruptions").respond_with_json(a_page(listed))

    (found,) = client.interruptions("ServerTasks-1", pending_only=True, space="Spaces-1")

    assert (found.id, found.type, found.created_ms) == ("Interruptions-3", "ManualIntervention", 1746514803000)
    assert found.can_take_responsibility and not found.has_responsibility and not found.is_linked
    assert "octowait" in found.text and "Waiting for web-01." in found.text
    assert found.result is None
    assert httpserver.log[0][0].args["regarding"] == "ServerTasks-1"
    assert httpserver.log[0][0].args["pendingOnly"] == "true"


def test_answer_of_an_interruption_is_seen(httpserver, client):
    form = {"Values": {"Notes": "by hand", "Result": "Proceed"}, "Elements": []}
    answered = an_interruption(IsPending=False, Form=form, ResponsibleUserId="Users-9")
    httpserver.expect_request("/api/interruptions").respond_with_json(a_page([answered]))

    (found,) = client.interruptions("ServerTasks-1", pending_only=False)

    assert (found.is_pending, found.result, found.responsible_user_id) == (False, "Proceed", "Users-9")


@pytest.mark.parametrize(("title", "type_"), [("Deploy requires failure guidance", "GuidedFailure"),
                                              ("Approve", "ManualIntervention")])  # fmt: skip
def test_type_of_an_interruption_where_the_server_gives_none(httpserver, client, title, type_):
    httpserver.expect_request("/api/interruptions/Interruptions-3").respond_with_json(
        an_interruption(Title=title, Type=None)
    )

    assert client.interruption("Interruptions-3").type == type_


def test_interruption_is_answered_by_who_took_responsibility(httpserver, client):
    httpserver.expect_request("/api/Spaces-1/interruptions/Interruptions-3").respond_with_json(an_interruption())
    path = "/api/Spaces-1/interruptions/Interruptions-3"
    httpserver.expect_request(f"{path}/responsible", method="PUT").respond_with_json({"Id": "Users-9"})
    httpserver.expect_request(f"{path}/submit", method="POST").respond_with_data("")
    interruption = client.interruption("Interruptions-3", space="Spaces-1")

    client.take_responsibility(interruption)
    client.submit(interruption, "Proceed", notes="web-01 is free")

    assert [request.method for request, _ in httpserver.log] == ["GET", "PUT", "POST"]
    body = json.loads(httpserver.log[-1][0].data)
    assert (body["Result"], body["Notes"]) == ("Proceed", "web-01 is free")
    assert (body["Id"], body["SpaceId"]) == ("Interruptions-3", "Spaces-1")


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([{"Name": "Instructions", "Control": {"Text": "Wait.\nNow."}}, {"Name": "Notes", "Control": {"Text": "No"}}],
         "Wait.\nNow."),
        ([{"Name": "Notes", "Control": {"Text": "No"}}], ""),
        ([{"Name": "Instructions"}], ""),
        ([{"Name": "Instructions", "Control": {"Type": "Paragraph"}}], ""),
        ([{"Name": "Instructions", "Control": {"Text": 7}}, "x", None], ""),
        (None, ""),
    ],
)  # fmt: skip
def test_instructions_of_an_interruption_are_those_of_its_form(httpserver, client, elements, expected):
    form = {"Values": {"Instructions": "typed", "Notes": "typed"}, "Elements": elements}
    httpserver.expect_request("/api/interruptions/Interruptions-3").respond_with_json(an_interruption(Form=form))

    assert client.interruption("Interruptions-3").instructions == expected


def test_everything_that_is_pending_in_a_space(httpserver, client):
    listed = [an_interruption(Id=f"Interruptions-{n}", TaskId=f"ServerTasks-{n}") for n in range(1, 4)]
    listed.append(an_interruption(Id="Interruptions-9", IsPending=False))
    httpserver.expect_request(
        "/api/Spaces-1/interruptions", query_string={"pendingOnly": "true", "skip": "0", "take": str(ITEMS_A_PAGE)}
    ).respond_with_json(a_page(listed))

    found = client.pending_interruptions(space="Spaces-1")

    assert [each.task_id for each in found] == ["ServerTasks-1", "ServerTasks-2", "ServerTasks-3"]


PROCESS = {"Id": "deploymentprocess-Projects-7-s-4-ABCDE", "ProjectId": "Projects-7", "Steps": [
    {"Name": "Wait", "Actions": [{"Name": "Wait", "ActionType": "Octopus.Manual", "Properties": {
        "Octopus.Action.Manual.Instructions": "#{Octowait.Priority}"}}]}]}  # fmt: skip
DEPLOYED = {"Id": "Deployments-1", "ProjectId": "Projects-7", "DeploymentProcessId": PROCESS["Id"]}
RAN = {"Id": "RunbookRuns-1", "ProjectId": "Projects-7", "FrozenRunbookProcessId": "RunbookProcess-Runbooks-1-s-2-XYZ"}


def a_runbook_task() -> dict[str, Any]:
    return a_task(Arguments={"RunbookRunId": "RunbookRuns-1"})


@pytest.mark.parametrize(
    ("task", "served"),
    [
        (a_task(), {"deployments/Deployments-1": DEPLOYED, f"deploymentprocesses/{PROCESS['Id']}": PROCESS}),
        (a_runbook_task(), {
            "runbookRuns/RunbookRuns-1": RAN, f"runbookProcesses/{RAN['FrozenRunbookProcessId']}": PROCESS}),
        (a_runbook_task(), {
            "runbookRuns/RunbookRuns-1": RAN,
            f"projects/Projects-7/runbookProcesses/{RAN['FrozenRunbookProcessId']}": PROCESS}),
    ],
)  # fmt: skip
def test_process_that_a_run_was_made_with(httpserver, client, task, served):
    httpserver.expect_request("/api/Spaces-1/tasks/ServerTasks-1").respond_with_json(task)
    for path, resource in served.items():
        httpserver.expect_request(f"/api/Spaces-1/{path}").respond_with_json(resource)
    httpserver.expect_request(re.compile("/api/Spaces-1/.*unbookProcesses/")).respond_with_data("", status=404)

    run = client.run_of(client.task("ServerTasks-1", space="Spaces-1"))
    [step] = client.process_snapshot(run, space="Spaces-1")

    assert [action.instructions for action in step.actions] == ["#{Octowait.Priority}"], "as it was written"


@pytest.mark.parametrize(
    ("task", "deployed", "process"),
    [
        (a_task(), {**DEPLOYED, "DeploymentProcessId": None}, PROCESS),
        (a_task(), DEPLOYED, {"ProjectId": "Projects-7"}),
        (a_task(), DEPLOYED, None),
        (a_task(Arguments={}), DEPLOYED, PROCESS),
    ],
)
def test_process_that_is_not_there_is_an_error_for_good(httpserver, client, task, deployed, process):
    httpserver.expect_request("/api/Spaces-1/tasks/ServerTasks-1").respond_with_json(task)
    httpserver.expect_request("/api/Spaces-1/deployments/Deployments-1").respond_with_json(deployed)
    answer = httpserver.expect_request(f"/api/Spaces-1/deploymentprocesses/{PROCESS['Id']}")
    answer.respond_with_json(process) if process else answer.respond_with_data("", status=404)

    with pytest.raises(OctopusError) as raised:
        client.process_snapshot(client.run_of(client.task("ServerTasks-1", space="Spaces-1")), space="Spaces-1")

    assert raised.value.permanent


def test_responsibility_that_may_not_be_taken_is_denied(httpserver, client):
    httpserver.expect_request("/api/interruptions/Interruptions-3").respond_with_json(an_interruption())
    path = "/api/Spaces-1/interruptions/Interruptions-3/responsible"
    httpserver.expect_request(path, method="PUT").respond_with_data("", status=403)

    with pytest.raises(OctopusDenied):
        client.take_responsibility(client.interruption("Interruptions-3"))


def test_recent_deployments_are_as_many_as_wanted(httpserver, client):
    listed = [{"Id": f"Deployments-{number}", "DeployedToMachineIds": ["Machines-7"]} for number in range(500)]
    serve_pages(httpserver, "/api/Spaces-1/deployments", listed)

    found = client.recent_deployments(space="Spaces-1", most=150)

    assert [each.id for each in found] == [each["Id"] for each in listed[:150]]
    assert len(httpserver.log) == 2
