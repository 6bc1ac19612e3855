"""The API answers as that of Octopus does, with its faults."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.conftest import eventually
from tests.e2e.simulated.helpers import status_of
from tests.simulator.control import SimulatedOctopus, SimulatorError
from tests.simulator.steps import manual, work


def test_faults_of_the_api(octopus: SimulatedOctopus) -> None:
    octopus.faults(too_many=1, retry_after=7)
    request = urllib.request.Request(f"{octopus.url}/api/tasks", headers={"X-Octopus-ApiKey": octopus.api_key})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    refused.value.close()
    octopus.no_faults()
    octopus.faults(error=1)
    failed = status_of(octopus, "/api/tasks")
    octopus.no_faults()
    octopus.faults(is_down=True)
    with pytest.raises(OSError):
        urllib.request.urlopen(request, timeout=10)
    octopus.no_faults()

    assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "7")
    assert failed == 500
    assert status_of(octopus, "/api/tasks") == 200
    assert octopus.calls()["by_status"] == {"200": 1, "429": 1, "500": 1}


def test_collections_come_in_pages(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[])
    tasks = [octopus.deploy("Web").task_id for _ in range(5)]
    octopus.wait_idle()

    first = octopus.api("tasks?take=2&name=Deploy")
    last = octopus.api("tasks?skip=4&take=2&name=Deploy")

    assert (first["ItemType"], first["TotalResults"], first["ItemsPerPage"]) == ("Task", 5, 2)
    assert (first["NumberOfPages"], first["LastPageNumber"]) == (3, 2)
    assert [task["Id"] for task in first["Items"]] == tasks[:2:-1]
    assert first["Links"]["Page.Next"] == "/api/Spaces-1/tasks?name=Deploy&skip=2&take=2"
    assert "Page.Next" not in last["Links"]
    assert octopus.api("tasks")["ItemsPerPage"] == 30


def test_empty_ids_are_no_filter(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[])
    tasks = [octopus.deploy("Web").task_id for _ in range(3)]
    octopus.wait_idle()

    assert len(octopus.api("tasks?ids=")["Items"]) == 3
    assert [task["Id"] for task in octopus.api(f"tasks?ids={tasks[0].lower()},ServerTasks-99")["Items"]] == [tasks[0]]


def test_machine_tasks_heed_no_filter_but_the_type(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", machines=["web-01"])])
    octopus.runbook("Web", "Clean", steps=[work("clean", machines=["web-01"])])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.wait_for(octopus.run_runbook("Web", "Clean"))

    everything = octopus.api("machines/Machines-1/tasks?name=Deploy&states=Executing")["Items"]
    deployments = octopus.api("machines/Machines-1/tasks?type=Deployment")["Items"]

    assert [task["Name"] for task in everything] == ["RunbookRun", "Deploy"]
    assert [task["Name"] for task in deployments] == ["Deploy"]


def test_events_are_filtered_newest_first_from_inclusive_to_exclusive(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=0.2)])
    task = octopus.deploy("Web")
    octopus.wait_for(task)
    events = octopus.api(f"events?regarding={task.task_id}")["Items"]
    started = next(event for event in events if event["Category"] == "DeploymentStarted")
    moment = started["Occurred"].replace("+", "%2B")

    since = octopus.api(f"events?regardingAny={task.id},ServerTasks-99&from={moment}")["Items"]
    until = octopus.api(f"events?regarding={task.id}&to={moment}")["Items"]
    failed = octopus.api("events?eventCategories=DeploymentFailed,MachineAdded")["Items"]

    assert [event["Category"] for event in events] == ["DeploymentSucceeded", "DeploymentStarted", "DeploymentQueued"]
    assert started in since and started not in until and events[0] not in until
    assert [event["Category"] for event in failed] == ["MachineAdded"]
    assert octopus.api(f"events/{started['Id']}") == started
    assert {"Id": "TaskCanceled", "Name": "Task canceled", "Links": {}} in octopus.api("events/categories")
    groups = {group["Id"]: group["EventCategories"] for group in octopus.api("events/groups")}
    assert "DeploymentStarted" in groups["Deployment"]
    assert not any(document_id.startswith("Machines-") for document_id in events[0]["RelatedDocumentIds"])


def test_routes_have_three_forms_and_spaces_are_apart(octopus: SimulatedOctopus) -> None:
    other = octopus.space("Other")
    octopus.machine("db-01", space=other)

    def names(path: str) -> list[str]:
        request = urllib.request.Request(octopus.url + path, headers={"X-Octopus-ApiKey": octopus.api_key})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return [item["Name"] for item in json.load(answer)["Items"]]

    assert names("/api/Spaces-1/machines") == names("/api/spaces/default/machines") == ["web-01"]
    assert names(f"/api/{other}/machines") == names(f"/api/machines?spaces={other}") == ["db-01"]
    assert names("/api/machines") == names(f"/api/machines?spaces=Spaces-1,{other}") == ["web-01", "db-01"]
    assert status_of(octopus, f"/api/{other}/machines/Machines-1") == 404
    assert status_of(octopus, "/api/Spaces-99/machines") == 404


def test_errors_are_told_in_octopus_words(octopus: SimulatedOctopus) -> None:
    assert status_of(octopus, "/api", key=None) == 200
    assert status_of(octopus, "/api/tasks", key=None) == 401
    assert status_of(octopus, "/api/tasks", key="API-WRONG") == 401
    assert status_of(octopus, "/api/Spaces-1/tasks/ServerTasks-99") == 404
    weak = octopus.user("weak", permissions=["MachineView"])
    with pytest.raises(SimulatorError, match="403 .*Missing permission: TaskView"):
        octopus.api("tasks", key=weak)
    with pytest.raises(SimulatorError, match='400 .*"Errors": .*EnvironmentId is required'):
        octopus.api("deployments", {"ReleaseId": "Releases-1"})
    assert set(octopus.api("/users/me", key=weak)) >= {"Id", "Username", "IsService"}
    me = octopus.api("/users/me", key=weak)["Id"]
    assert list(octopus.api(f"/users/{me}/permissions", key=weak)["SpacePermissions"]) == ["MachineView"]


def test_a_preview_names_the_machines_of_each_step(octopus: SimulatedOctopus) -> None:
    octopus.machine("db-01", roles=["db"], environments=["Production"])
    octopus.machine("db-02", roles=["db"], environments=["Test"])
    octopus.project("Web", steps=[manual("Approve"), work("data", roles=["db"]), work("deploy", machines=["web-01"])])
    release = octopus.api("releases", {"ProjectId": "Projects-1", "Version": "2.0.0"})

    planned = octopus.api(f"releases/{release['Id']}/deployments/preview/Environments-1")["StepsToExecute"]
    body = {"ReleaseId": release["Id"], "EnvironmentId": "Environments-1", "ExcludedMachineIds": ["Machines-2"]}
    deployment = octopus.api("deployments", body)
    octopus.submit(eventually(lambda: octopus.pending(deployment["TaskId"]))[0]["Id"])
    octopus.wait_for(deployment["TaskId"], "Success")

    assert [[machine["Name"] for machine in step["Machines"]] for step in planned] == [[], ["db-01"], ["web-01"]]
    assert octopus.api(f"deployments/{deployment['Id']}")["DeployedToMachineIds"] == ["Machines-1"]


def test_step_templates_are_kept_and_versioned(octopus: SimulatedOctopus) -> None:
    body = {"Name": "octowait - wait", "ActionType": "Octopus.Script", "Properties": {"a": "b"}, "Parameters": []}
    made = octopus.api("actiontemplates", body)
    with pytest.raises(SimulatorError, match="already exists"):
        octopus.api("actiontemplates", body)

    changed = octopus.api(f"actiontemplates/{made['Id']}", {**made, "Properties": {"a": "c"}}, method="PUT")

    assert (made["Version"], changed["Version"]) == (1, 2)
    assert octopus.api("actiontemplates/all") == [changed]
    assert changed["Properties"] == {"a": "c"}
