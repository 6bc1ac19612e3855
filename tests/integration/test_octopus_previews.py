"""The plan of a deployment or runbook run, at whatever address this server keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusDenied, OctopusMissing, OctopusUnaskable, OctopusUnreadable
from app.octopus.previews import MOST_MISSES, GitReference, PlanSource

DEPLOYMENT = PlanSource("Environments-2", release_id="Releases-90")
IN_DATABASE = PlanSource("Environments-2", runbook_id="Runbooks-1", snapshot_id="RunbookSnapshots-1",
                         project_id="Projects-7")  # fmt: skip
IN_GIT = PlanSource("Environments-2", runbook_id="restart-iis", snapshot_id="RunbookSnapshots-1",
                    project_id="Projects-7", git=GitReference("refs/heads/main", "00ff"))  # fmt: skip

ANSWER = {"StepsToExecute": [{"ActionId": "1", "Machines": [{"Id": "Machines-41", "Name": "web-41"}]}]}


def of_tenant(source: PlanSource) -> PlanSource:
    return PlanSource(**{**vars(source), "tenant_id": "Tenants-5"})


@pytest.fixture
def client(httpserver: HTTPServer) -> Iterator[OctopusClient]:
    httpserver.no_handler_status_code = 404
    client = OctopusClient(httpserver.url_for("/"), "API-KEY", sleep=lambda seconds: None)
    yield client
    client.close()


def machines_in(client: OctopusClient, source: PlanSource) -> list[str]:
    return [target.id for action in client.plan(source, space="Spaces-1") for target in action.machines]


def asked(httpserver: HTTPServer) -> list[str]:
    # As it came in: the decoded path does not tell a slash from %2F.
    return [f"{request.method} {request.environ['REQUEST_URI'].removeprefix('/api/Spaces-1/')}"
            for request, _ in httpserver.log]  # fmt: skip


RUNBOOK = "runbookRuns/preview/Environments-2"
GIT = "projects/Projects-7/refs%2Fheads%2Fmain/runbooks/restart-iis/runbookRuns"

ROUTES = [
    (DEPLOYMENT, "GET releases/Releases-90/deployments/preview/Environments-2", 1),
    (DEPLOYMENT, "POST releases/Releases-90/deployments/previews", 2),
    (of_tenant(DEPLOYMENT), "GET releases/Releases-90/deployments/preview/Environments-2/Tenants-5", 1),
    (of_tenant(DEPLOYMENT), "POST releases/Releases-90/deployments/previews", 2),
    (IN_DATABASE, f"GET runbookSnapshots/RunbookSnapshots-1/{RUNBOOK}", 1),
    (IN_DATABASE, "POST projects/Projects-7/runbookSnapshots/RunbookSnapshots-1/runbookRuns/previews", 2),
    (IN_DATABASE, f"GET runbooks/Runbooks-1/{RUNBOOK}", 3),
    (IN_DATABASE, f"GET projects/Projects-7/runbooks/Runbooks-1/{RUNBOOK}", 4),
    (of_tenant(IN_DATABASE), f"GET runbooks/Runbooks-1/{RUNBOOK}/Tenants-5", 3),
    (of_tenant(IN_DATABASE), "POST projects/Projects-7/runbooks/Runbooks-1/runbookRuns/previews", 5),
    (IN_GIT, f"GET runbookSnapshots/RunbookSnapshots-1/{RUNBOOK}", 1),
    (IN_GIT, f"GET projects/Projects-7/00ff/runbooks/restart-iis/{RUNBOOK}", 3),
    (IN_GIT, f"GET {GIT}/preview/Environments-2", 5),
    (of_tenant(IN_GIT), f"GET {GIT}/preview/Environments-2/Tenants-5", 5),
    (of_tenant(IN_GIT), f"POST {GIT}/previews", 6),
]


@pytest.mark.parametrize(("source", "route", "requests"), ROUTES)
def test_plan_is_found_where_this_server_keeps_it(httpserver, client, source, route, requests):
    method, _, path = route.partition(" ")
    answer: Any = ANSWER if method == "GET" else [ANSWER]
    httpserver.expect_request(
        f"/api/Spaces-1/{path.replace('%2F', '/')}", method=method
    ).respond_with_json(answer)  # fmt: skip

    assert machines_in(client, source) == ["Machines-41"]
    assert asked(httpserver)[-1] == route
    assert len(httpserver.log) == requests


def test_question_for_one_preview_names_environment_and_tenant(httpserver, client):
    httpserver.expect_request(
        "/api/Spaces-1/releases/Releases-90/deployments/previews", method="POST"
    ).respond_with_json([ANSWER])

    machines_in(client, of_tenant(DEPLOYMENT))

    body = json.loads(httpserver.log[-1][0].data)
    assert body == {"DeploymentPreviews": [{"EnvironmentId": "Environments-2", "TenantId": "Tenants-5"}]}


def test_plan_of_a_tenant_is_never_the_one_without(httpserver, client):
    httpserver.expect_request(f"/api/Spaces-1/runbooks/Runbooks-1/{RUNBOOK}").respond_with_json({"StepsToExecute": []})

    with pytest.raises(OctopusMissing):
        client.plan(of_tenant(IN_DATABASE), space="Spaces-1")


def test_address_that_was_never_there_is_tried_last(httpserver, client):
    httpserver.expect_request(f"/api/Spaces-1/runbooks/Runbooks-1/{RUNBOOK}").respond_with_json(ANSWER)

    for _ in range(MOST_MISSES + 1):
        httpserver.clear_log()
        machines_in(client, IN_DATABASE)

    assert asked(httpserver) == [f"GET runbooks/Runbooks-1/{RUNBOOK}"]


def test_refusal_of_one_address_is_not_the_last_word(httpserver, client):
    httpserver.expect_request(
        f"/api/Spaces-1/runbookSnapshots/RunbookSnapshots-1/{RUNBOOK}"
    ).respond_with_data("", status=403)  # fmt: skip

    with pytest.raises(OctopusDenied):
        client.plan(IN_DATABASE, space="Spaces-1")
    httpserver.expect_request(f"/api/Spaces-1/runbooks/Runbooks-1/{RUNBOOK}").respond_with_json(ANSWER)
    assert machines_in(client, IN_DATABASE) == ["Machines-41"]


def test_key_that_is_not_accepted_is_not_tried_at_every_address(httpserver, client):
    httpserver.expect_request(
        f"/api/Spaces-1/runbookSnapshots/RunbookSnapshots-1/{RUNBOOK}"
    ).respond_with_data("", status=401)  # fmt: skip

    with pytest.raises(OctopusDenied):
        client.plan(IN_DATABASE, space="Spaces-1")
    assert len(httpserver.log) == 1


def test_branch_with_a_slash_is_one_part_of_the_address(httpserver, client):
    source = PlanSource(**{**vars(IN_GIT), "snapshot_id": None, "git": GitReference("feature/x")})

    with pytest.raises(OctopusMissing):
        client.plan(source, space="Spaces-1")

    assert asked(httpserver)[0].startswith("GET projects/Projects-7/refs%2Fheads%2Ffeature%2Fx/runbooks/")


def test_id_that_is_none_is_asked_about_nowhere(httpserver, client):
    with pytest.raises(OctopusUnaskable):
        client.plan(PlanSource("../users", release_id="Releases-90"), space="Spaces-1")
    assert httpserver.log == []


def plan_of(httpserver: HTTPServer, client: OctopusClient, body: Any) -> Any:
    httpserver.expect_request(
        "/api/Spaces-1/releases/Releases-90/deployments/preview/Environments-2"
    ).respond_with_json(body)  # fmt: skip
    return client.plan(DEPLOYMENT, space="Spaces-1")


def test_plan_has_actions_with_their_machines(httpserver, client):
    one, other, third = plan_of(httpserver, client, {"StepsToExecute": [
        {"ActionId": "a", "Machines": [{"Id": "Machines-7", "Name": "web-01"}], "UnavailableMachines": []},
        {"ActionId": "b", "Machines": [{"Id": "Machines-8"}], "UnavailableMachines": [{"Id": "Machines-9"}]},
        {"ActionId": "c", "Machines": [], "IsDisabled": True, "HasNoApplicableMachines": True},
    ]})  # fmt: skip

    assert [(target.id, target.name) for target in one.machines] == [("Machines-7", "web-01")]
    assert [(target.id, target.name) for target in other.machines] == [("Machines-8", None), ("Machines-9", None)]
    assert (third.action_id, third.machines, third.is_disabled) == ("c", (), True)


@pytest.mark.parametrize(
    ("step", "ids", "names"),
    [
        ({"MachineNames": ["web-01", "web-02"]}, [], ["web-01", "web-02"]),
        ({"Machines": None, "MachineNames": ["web-01"]}, [], ["web-01"]),
        ({"Machines": [], "MachineNames": ["web-01", "web-01"]}, [], ["web-01"]),
        ({"Machines": [{"Id": "Machines-1"}], "MachineNames": ["web-01"]}, ["Machines-1"], []),
        ({"Machines": [{"Id": "Machines-1", "Name": "Web-01"}], "MachineNames": ["web-01", "web-02"]},
         ["Machines-1"], ["web-02"]),
        ({"Machines": [{"Name": "web-01"}]}, [], ["web-01"]),
        ({}, [], []),
    ],
)  # fmt: skip
def test_names_stand_where_ids_are_missing(httpserver, client, step, ids, names):
    (action,) = plan_of(httpserver, client, {"StepsToExecute": [step]})

    assert [target.id for target in action.machines] == ids
    assert list(action.names) == names


@pytest.mark.parametrize(
    "body",
    [
        {}, {"StepsToExecute": None}, {"StepsToExecute": {}}, {"StepsToExecute": [None]}, {"StepsToExecute": ["a"]},
        {"StepsToExecute": [{"Machines": {"Id": "Machines-1"}}]}, {"StepsToExecute": [{"Machines": ["Machines-1"]}]},
        {"StepsToExecute": [{"Machines": [{"Id": 7}]}]}, {"StepsToExecute": [{"Machines": [{}]}]},
        {"StepsToExecute": [{"MachineNames": "web-01"}]}, {"StepsToExecute": [{"MachineNames": [7]}]},
    ],
)  # fmt: skip
def test_plan_that_cannot_be_read_is_not_taken_for_no_machines(httpserver, client, body):
    with pytest.raises(OctopusUnreadable):
        plan_of(httpserver, client, body)


def test_target_tags_are_read_by_the_form_of_their_ids(httpserver, client):
    (action,) = plan_of(httpserver, client, {"StepsToExecute": [{"Machines": [
        {"Id": "Machines-1", "TargetTagIds": ["TagSets-1/Tags-9"], "TenantTags": ["TagSets-2/Tags-1"]},
        {"Id": "Machines-2", "TargetTagIds": [], "Roles": ["web"]},
    ]}]})  # fmt: skip

    assert [target.tags for target in action.machines] == [frozenset({"TagSets-1/Tags-9"}), None]
