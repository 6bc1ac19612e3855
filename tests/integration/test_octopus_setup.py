"""What the client reads and writes about how Octopus is set up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pytest_httpserver import HTTPServer

from app.octopus.answers import date_of
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusMissing, OctopusUnreadable
from app.octopus.server import Grant, parse_server
from app.octopus.subscriptions import SubscriptionSpec

SPEC = SubscriptionSpec(
    "octowait", "https://octowait.example.com/webhooks/octopus", "X-Octowait-Secret", "the-secret",
    ("DeploymentStarted", "TaskCanceled"),
)  # fmt: skip
SUBSCRIPTIONS = "/api/Spaces-1/subscriptions"


@pytest.fixture
def client(httpserver: HTTPServer) -> Iterator[OctopusClient]:
    client = OctopusClient(httpserver.url_for("/"), "API-KEY", sleep=lambda seconds: None)
    yield client
    client.close()


def a_page(*items: Any) -> dict[str, Any]:
    return {"Items": list(items), "Links": {}}


def a_subscription(*, header_value: Any = None, filters: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "Id": "Subscriptions-1", "Name": "octowait", "Type": "Event", "SpaceId": "Spaces-1", "IsDisabled": False,
        "Unknown": {"kept": True},
        "EventNotificationSubscription": {
            "Filter": {"EventCategories": ["DeploymentStarted"], "Projects": [], **(filters or {})},
            "WebhookURI": "https://octowait.example.com/webhooks/octopus", "WebhookTeams": [],
            "WebhookTimeout": "00:00:30", "WebhookHeaderKey": "X-Octowait-Secret",
            "WebhookHeaderValue": header_value, "WebhookLastProcessed": "2025-05-06T07:00:00.000+00:00",
            "EmailFrequencyPeriod": "01:00:00",
        },
        **fields,
    }  # fmt: skip


def read(httpserver, client, resource):
    httpserver.expect_request(f"{SUBSCRIPTIONS}/Subscriptions-1", method="GET").respond_with_json(resource)
    return client.subscription("Subscriptions-1", space="Spaces-1")


def updated(httpserver, client, resource):
    existing = read(httpserver, client, resource)
    after = a_subscription(header_value={"SensitiveValue": {"HasValue": True}})
    httpserver.expect_request(f"{SUBSCRIPTIONS}/Subscriptions-1", method="PUT").respond_with_json(after)
    client.update_subscription(existing, SPEC, space="Spaces-1")
    return json.loads(httpserver.log[-1][0].data)


def test_server_says_its_version_and_time(httpserver, client):
    httpserver.expect_request("/api").respond_with_json({"Application": "Octopus Deploy", "Version": "2025.2.7727"})

    server = client.server()

    assert (server.application, server.version) == ("Octopus Deploy", "2025.2.7727")
    assert server.clock_ms is not None and abs(server.clock_ms - time.time() * 1000) < 30_000


@pytest.mark.parametrize(
    ("date", "clock_ms"),
    [("Tue, 06 May 2025 07:00:00 GMT", 1746514800000), ("tomorrow", None), (None, None), ("", None)],
)
def test_clock_of_the_server_is_its_date(date, clock_ms):
    answer = requests.Response()
    if date is not None:
        answer.headers["Date"] = date

    assert parse_server({}, date_of(answer)).clock_ms == clock_ms


def test_spaces_with_their_queues(httpserver, client):
    httpserver.expect_request("/api/spaces").respond_with_json(
        a_page({"Id": "Spaces-1", "Name": "Default", "IsDefault": True},
               {"Id": "Spaces-2", "Name": "Ops", "TaskQueueStopped": True})
    )  # fmt: skip

    assert [(s.name, s.is_queue_stopped) for s in client.spaces()] == [("Default", False), ("Ops", True)]


def test_nodes_with_their_task_caps(httpserver, client):
    httpserver.expect_request("/api/octopusservernodes").respond_with_json(
        a_page({"Name": "node-1", "MaxConcurrentTasks": 5}, {"Name": "node-2", "IsOffline": True})
    )

    assert [(n.name, n.task_cap, n.is_offline) for n in client.server_nodes()] == [
        ("node-1", 5, False), ("node-2", None, True),
    ]  # fmt: skip


def test_user_of_the_key(httpserver, client):
    httpserver.expect_request("/api/users/me").respond_with_json({"Id": "Users-9", "Username": "octowait"})

    assert client.me().name == "octowait"


def test_permissions_of_spaces_and_of_the_system(httpserver, client):
    httpserver.expect_request("/api/users/Users-9/permissions").respond_with_json({
        "SpacePermissions": {
            "TaskView": [{"SpaceId": "Spaces-1", "RestrictedToProjectIds": []}],
            "EventView": [{"SpaceId": "Spaces-1", "RestrictedToProjectIds": ["Projects-7"]}],
        },
        "SystemPermissions": ["UserView"],
        "IsPermissionsComplete": False,
    })  # fmt: skip

    found = client.permissions("Users-9")

    assert found.grants["TaskView"] == (Grant("Spaces-1", False),)
    assert found.grants["EventView"] == (Grant("Spaces-1", True),)
    assert found.grants["UserView"] == (Grant(None, False),)
    assert not found.is_complete


def test_permissions_of_a_server_without_spaces(httpserver, client):
    httpserver.expect_request("/api/users/Users-9/permissions").respond_with_json(
        {"Permissions": {"EventView": [{"RestrictedToEnvironmentIds": ["Environments-1"]}, {}]}}
    )

    assert client.permissions("Users-9").grants["EventView"] == (Grant(None, True), Grant(None, False))


@pytest.mark.parametrize(
    ("value", "has_secret", "secret"),
    [
        (None, False, None),
        ("plain", True, "plain"),
        ({"HasValue": True, "NewValue": None, "Hint": None}, True, None),
        ({"HasValue": False, "NewValue": None}, False, None),
        ({"IsSensitive": True, "SensitiveValue": {"HasValue": True, "NewValue": None}}, True, None),
    ],
)
def test_secret_of_a_subscription_is_seen_as_far_as_the_server_shows_it(httpserver, client, value, has_secret, secret):
    found = read(httpserver, client, a_subscription(header_value=value))

    assert (found.has_secret, found.secret) == (has_secret, secret)


def test_subscription_tells_what_keeps_its_events_back(httpserver, client):
    filters = {"Projects": ["Projects-7"], "DocumentTypes": ["Deployments"], "Users": []}
    found = read(httpserver, client, a_subscription(filters=filters))

    assert found.filters == {"Projects": ("Projects-7",), "DocumentTypes": ("Deployments",)}
    assert found.categories == ("DeploymentStarted",)
    assert found.last_processed_ms == 1746514800000


def test_new_subscription_is_what_was_asked_for(httpserver, client):
    made = a_subscription(header_value={"SensitiveValue": {"HasValue": True}})
    httpserver.expect_request(SUBSCRIPTIONS, method="POST").respond_with_json(made, status=201)

    client.create_subscription(SPEC, space="Spaces-1")

    body = json.loads(httpserver.log[0][0].data)
    webhook = body["EventNotificationSubscription"]
    assert (body["Name"], body["SpaceId"], body["IsDisabled"]) == ("octowait", "Spaces-1", False)
    assert webhook["Filter"]["EventCategories"] == ["DeploymentStarted", "TaskCanceled"]
    assert webhook["Filter"]["DocumentTypes"] == webhook["Filter"]["EventGroups"] == webhook["WebhookTeams"] == []
    assert webhook["WebhookHeaderKey"] == "X-Octowait-Secret"
    value = {"HasValue": True, "NewValue": "the-secret", "Hint": None}
    assert webhook["WebhookHeaderValue"] == {"IsSensitive": True, "SensitiveValue": value}
    assert webhook["WebhookTimeout"] == "00:00:30"


def test_fields_that_nobody_knows_survive_a_correction(httpserver, client):
    body = updated(httpserver, client, a_subscription(IsDisabled=True, filters={"Projects": ["Projects-7"]}))

    assert body["Unknown"] == {"kept": True} and body["Id"] == "Subscriptions-1"
    assert body["EventNotificationSubscription"]["EmailFrequencyPeriod"] == "01:00:00"
    assert body["EventNotificationSubscription"]["Filter"]["Projects"] == []
    assert body["IsDisabled"] is False


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("old", "the-secret"),
        (None, {"IsSensitive": True, "SensitiveValue": {"HasValue": True, "NewValue": "the-secret", "Hint": None}}),
        ({"HasValue": True, "NewValue": None, "Hint": None},
         {"HasValue": True, "NewValue": "the-secret", "Hint": None}),
        ({"IsSensitive": True, "SensitiveValue": {"HasValue": False}},
         {"IsSensitive": True, "SensitiveValue": {"HasValue": True, "NewValue": "the-secret", "Hint": None}}),
    ],
)  # fmt: skip
def test_secret_is_written_in_the_shape_that_the_server_showed(httpserver, client, before, after):
    body = updated(httpserver, client, a_subscription(header_value=before))

    assert body["EventNotificationSubscription"]["WebhookHeaderValue"] == after


def test_secret_of_a_subscription_is_in_no_representation(httpserver, client):
    found = read(httpserver, client, a_subscription(header_value="plain-header-value"))

    assert "plain-header-value" not in repr(found) and "the-secret" not in repr(SPEC)


def a_step(**fields: Any) -> dict[str, Any]:
    return {
        "Name": "Wait", "Condition": "Success", "PackageRequirement": "LetOctopusDecide",
        "Properties": {"Octopus.Action.TargetRoles": "web, api"},
        "Actions": [{
            "Name": "Wait", "ActionType": "Octopus.Script", "IsDisabled": False, "Packages": [],
            "Properties": {
                "Octopus.Action.Script.ScriptBody": "wait.sh", "Octopus.Action.RunOnServer": "true",
                "Octopus.Action.Template.Id": "ActionTemplates-1", "Secret": {"HasValue": True},
            },
        }],
        **fields,
    }  # fmt: skip


def test_process_of_a_project_has_steps_and_their_scripts(httpserver, client):
    httpserver.expect_request("/api/Spaces-1/projects").respond_with_json(
        a_page({"Id": "Projects-7", "Name": "Web", "DeploymentProcessId": "deploymentprocess-Projects-7"})
    )
    httpserver.expect_request("/api/Spaces-1/deploymentprocesses/deploymentprocess-Projects-7").respond_with_json(
        {"Steps": [a_step(), a_step(Condition="Always", PackageRequirement="AfterPackageAcquisition")]}
    )

    (project,) = client.projects(space="Spaces-1")
    first, last = client.process(project, space="Spaces-1")

    assert first.roles == ("web", "api") and not first.runs_always and first.packages_first is None
    assert last.runs_always and last.packages_first is True
    action = first.actions[0]
    assert (action.script, action.template_id, action.runs_on_server) == ("wait.sh", "ActionTemplates-1", True)
    assert not action.packages and not action.is_disabled


def test_process_in_git_is_that_of_the_default_branch(httpserver, client):
    project = {"Id": "Projects-7", "Name": "Web", "DeploymentProcessId": "x",
               "PersistenceSettings": {"Type": "VersionControlled", "DefaultBranch": "trunk"}}  # fmt: skip
    httpserver.expect_request("/api/projects").respond_with_json(a_page(project))
    httpserver.expect_request("/api/projects/Projects-7/refs/heads/trunk/deploymentprocesses").respond_with_json(
        {"Steps": [a_step()]}
    )

    (found,) = client.projects()

    assert len(client.process(found)) == 1
    assert "refs%2Fheads%2Ftrunk" in httpserver.log[-1][0].environ["REQUEST_URI"]


def test_project_without_a_process_says_so(httpserver, client):
    httpserver.expect_request("/api/projects").respond_with_json(a_page({"Id": "Projects-7"}))

    with pytest.raises(OctopusMissing, match="Projects-7"):
        client.process(client.projects()[0])


def test_process_without_steps_is_not_taken_for_an_empty_one(httpserver, client):
    httpserver.expect_request("/api/projects").respond_with_json(
        a_page({"Id": "Projects-7", "DeploymentProcessId": "deploymentprocess-Projects-7"})
    )
    httpserver.expect_request("/api/deploymentprocesses/deploymentprocess-Projects-7").respond_with_json({})

    with pytest.raises(OctopusUnreadable, match="Steps"):
        client.process(client.projects()[0])


EXPORTED = {"Id": "0f6f1a52", "Name": "octowait - Wait", "Version": 3, "ActionType": "Octopus.Script",
            "Properties": {"Octopus.Action.RunOnServer": "true"}, "Parameters": [], "$Meta": {"Type": "x"},
            "LastModifiedBy": "somebody", "Category": "octopus"}  # fmt: skip


def test_template_is_created_from_an_exported_one(httpserver, client):
    created = {"Id": "ActionTemplates-1", "Name": "octowait - Wait", "Version": 1}
    httpserver.expect_request("/api/Spaces-1/actiontemplates", method="POST").respond_with_json(created, status=201)

    template = client.create_template(EXPORTED, space="Spaces-1")

    assert (template.id, template.version) == ("ActionTemplates-1", 1)
    body = json.loads(httpserver.log[0][0].data)
    assert body["Properties"] == EXPORTED["Properties"]
    assert not {"Id", "Version", "$Meta", "Category"} & body.keys()


def test_template_is_updated_in_place(httpserver, client):
    existing = {"Id": "ActionTemplates-1", "Name": "octowait - Wait", "Version": 1, "SpaceId": "Spaces-1"}
    httpserver.expect_request("/api/Spaces-1/actiontemplates", method="GET").respond_with_json(a_page(existing))
    httpserver.expect_request("/api/Spaces-1/actiontemplates/ActionTemplates-1", method="PUT").respond_with_json(
        {**existing, "Version": 2}
    )
    (template,) = client.templates(space="Spaces-1")

    assert client.update_template(template, EXPORTED, space="Spaces-1").version == 2

    body = json.loads(httpserver.log[-1][0].data)
    assert (body["Id"], body["SpaceId"]) == ("ActionTemplates-1", "Spaces-1")
    assert body["Properties"] == EXPORTED["Properties"]


def test_machines_of_a_space_are_all_listed(httpserver, client):
    httpserver.expect_request("/api/Spaces-1/machines").respond_with_json(
        a_page({"Id": "Machines-7", "Name": "web-01"})
    )

    assert [machine.name for machine in client.all_machines(space="Spaces-1")] == ["web-01"]
