"""Who may ask what, how often, and how the question must be put."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from email.message import Message

import pytest

from tests.e2e.simulated.helpers import Receiver, status_of
from tests.simulator.control import SimulatedOctopus, SimulatorError
from tests.simulator.steps import work


def headers_of(octopus: SimulatedOctopus, path: str, key: str) -> tuple[int, Message]:
    request = urllib.request.Request(octopus.url + path, headers={"X-Octopus-ApiKey": key})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def test_every_answer_tells_of_the_bucket_of_its_user(octopus: SimulatedOctopus) -> None:
    found = [
        headers_of(octopus, path, octopus.api_key) for path in ("/api/tasks", "/api/nothing", "/api/tasks?states=No")
    ]
    wrong_key = headers_of(octopus, "/api/tasks", "API-WRONG")

    assert [status for status, _ in found] == [200, 404, 400]
    for _, headers in (*found, wrong_key):
        assert headers["Octopus-RateLimit-Policy"] == "l=200;rpm=4000"
        assert re.fullmatch(r"r=\d+;t=\d+", headers["Octopus-RateLimit"])


@pytest.mark.parametrize("retry_after", [1, None])
def test_an_empty_bucket_is_told_of_with_or_without_a_time(octopus: SimulatedOctopus, retry_after: int | None) -> None:
    octopus.faults(retry_after=retry_after)
    answers = (headers_of(octopus, "/api/spaces", octopus.api_key) for _ in range(2_000))
    status, headers = next(answer for answer in answers if answer[0] != 200)

    assert status == 429
    assert headers["Octopus-RateLimit"].startswith("r=0;t=")
    assert headers["Retry-After"] == (None if retry_after is None else "1")
    assert headers_of(octopus, "/api/spaces", octopus.api_keys["jane"])[0] == 200


def test_a_503_may_ask_for_days_and_concern_one_kind_of_call_once(octopus: SimulatedOctopus) -> None:
    octopus.faults(unavailable=1, retry_after=172_800, only="preview", most=1)
    octopus.project("Web", steps=[])
    release = octopus.api("releases", {"ProjectId": "Projects-1", "Version": "2.0.0"})["Id"]
    preview = f"/api/Spaces-1/releases/{release}/deployments/preview/Environments-1"

    other = headers_of(octopus, "/api/tasks", octopus.api_key)
    first, second = (headers_of(octopus, preview, octopus.api_key) for _ in range(2))

    assert (other[0], first[0], second[0]) == (200, 503, 200)
    assert first[1]["Retry-After"] == "172800"


def test_one_hidden_space_fails_the_whole_question(octopus: SimulatedOctopus) -> None:
    hidden = octopus.space("Hidden")
    octopus.machine("db-01", space=hidden)
    octopus.hide(hidden)

    def status(path: str) -> int:
        return status_of(octopus, path, key=octopus.api_key)

    assert status(f"/api/tasks?spaces=Spaces-1,{hidden}") == 403
    assert status("/api/tasks?spaces=Spaces-1,Spaces-99") == 404
    assert [status(path) for path in (f"/api/{hidden}/tasks", "/api/Spaces-99/tasks", "/api/machines/Machines-2")] == [
        404
    ] * 3
    assert status("/api/tasks?spaces=Spaces-1") == 200
    assert [m["Name"] for m in octopus.api("/machines", key="octowait")["Items"]] == ["web-01"]
    assert [m["Name"] for m in octopus.api("/machines?spaces=all", key="octowait")["Items"]] == ["web-01"]
    assert [space["Id"] for space in octopus.api("/spaces/all", key="octowait")] == ["Spaces-1"]
    assert status_of(octopus, f"/api/tasks?spaces=Spaces-1,{hidden}") == 200


@pytest.mark.parametrize("task_id", ["nonsense", "ServerTasks-", "..%2Fmachines", "Deployments-1", "ServerTasks-1%00"])
def test_a_malformed_id_is_not_found(octopus: SimulatedOctopus, task_id: str) -> None:
    octopus.project("Web", steps=[])
    octopus.deploy("Web")
    assert status_of(octopus, f"/api/Spaces-1/tasks/{task_id}") == 404


def test_a_state_that_there_is_not_is_refused(octopus: SimulatedOctopus) -> None:
    with pytest.raises(SimulatorError, match="400 .*states is 'Running'"):
        octopus.api("tasks?states=Executing,Running")
    assert octopus.api("tasks?states=New,TimedOut,cancelling")["Items"] == []


def test_tasks_of_the_system_and_of_a_time_are_filtered(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url)
    octopus.project("Web", steps=[work("deploy", seconds=0.1)])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)
    octopus.wait_for(octopus.deploy("Web"))
    first, system, last = octopus.api("tasks")["Items"][::-1]

    def ids(query: str) -> list[str]:
        return [task["Id"] for task in octopus.api(f"tasks?{query}".replace("+", "%2B"))["Items"]]

    assert (system["Name"], system["SpaceId"]) == ("ProcessSubscriptions", None)
    assert ids("includeSystem=false") == [last["Id"], first["Id"]]
    assert ids("includeSystem=true") == [last["Id"], system["Id"], first["Id"]]
    assert ids(f"fromQueueDate={last['QueueTime']}") == [last["Id"]]
    assert first["Id"] in ids(f"toCompletedDate={last['QueueTime']}") and last["Id"] not in ids(
        f"toCompletedDate={last['QueueTime']}"
    )
    assert ids(f"fromStartDate={first['StartTime']}&toStartDate={last['StartTime']}&includeSystem=false") == [
        first["Id"]
    ]
    with pytest.raises(SimulatorError, match="400"):
        octopus.api("tasks?fromStartDate=yesterday")


def test_events_of_machines_and_of_the_system_are_filtered(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url)
    receiver.answers.clear()
    octopus.project("Web", steps=[])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.look_for_events()
    [sending] = octopus.api("tasks?name=ProcessSubscriptions")["Items"]
    octopus.cancel(sending["Id"])
    receiver.answers.set()
    octopus.wait_for(sending["Id"], "Canceled")

    def categories(query: str) -> set[str]:
        return {event["Category"] for event in octopus.api(f"events?{query}")["Items"]}

    deployments = {"DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"}
    assert categories("") == categories("includeSystem=true") == {*deployments, "MachineAdded", "TaskCanceled"}
    assert categories("includeSystem=false") == {*deployments, "MachineAdded"}
    assert categories("includeSystem=false&includeInternalEvents=false") == deployments


def test_only_the_summary_says_which_node_is_offline(octopus: SimulatedOctopus) -> None:
    [node] = octopus.api("/octopusservernodes")["Items"]
    [summary] = octopus.api("/octopusservernodes/summary")["Nodes"]

    assert "IsOffline" not in node and "IsOffline" not in octopus.api("/octopusservernodes/all")[0]
    assert (node["Name"], summary["IsOffline"]) == ("node-1", False)
