"""Every check of ``octowait doctor``: what makes it fail, and what makes it pass.

octowait is the real one on a real Redis; Octopus is an HTTP server that answers what the test says.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from rq import SimpleWorker
from werkzeug import Request, Response

from app.coordination.condition import Condition, read_condition
from app.coordination.connection import connect
from app.doctor import on_octopus, on_octowait, on_projects, on_subscription
from app.doctor.case import Case
from app.doctor.examination import examine, open_case
from app.doctor.findings import Level, has_error, summary
from app.domain.events import parse_event
from app.domain.run import Run
from app.gate import DirectGate, HttpGate
from app.jobs import queues_of
from app.octopus.client import OctopusClient
from app.settings import Settings
from tests.conftest import ROOT, a_delivery, an_event, eventually

SECRET = "webhook-secret-for-tests"
URL = "https://octowait.example.com/webhooks/octopus"
CATEGORIES = ["DeploymentStarted", "DeploymentSucceeded", "TaskCanceled"]
PERMISSIONS = [*on_octopus.READING, *on_octopus.OPTIONAL]


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


class Octopus:
    """Resources by address; a list is a collection. What a test does not set is as it should be."""

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("/").rstrip("/")
        self.space: dict[str, Any] = {"Id": "Spaces-1", "Name": "Default"}
        self.granted: dict[str, Any] = {name: [{"SpaceId": "Spaces-1"}] for name in PERMISSIONS}
        self.complete = True
        self.tasks: list[Any] = []
        self.events: list[Any] = []
        self.interruptions: list[Any] = []
        self.statuses: dict[str, int] = {}
        self.found: dict[str, Any] = {
            "/api": {"Application": "Octopus Deploy", "Version": "2026.3.1"},
            "/api/users/me": {"Id": "Users-9", "Username": "octowait"},
            "/api/octopusservernodes": [{"Name": "node-1", "MaxConcurrentTasks": 5}],
            "/api/events/categories": [{"Id": name} for name in CATEGORIES],
            "/api/Spaces-1/subscriptions": [self.subscription()],
            "/api/Spaces-1/deployments": [],
            "/api/Spaces-1/projects": [],
            "/api/Spaces-1/actiontemplates": [],
            "/api/Spaces-1/machines": [{"Id": "Machines-7", "Name": "web-01"}],
        }
        server.expect_request(re.compile("^/api")).respond_with_handler(self._answer)

    @staticmethod
    def subscription(*, webhook: Any = None, **fields: Any) -> dict[str, Any]:
        return {
            "Id": "Subscriptions-21", "Name": "octowait", "SpaceId": "Spaces-1", "IsDisabled": False,
            "EventNotificationSubscription": {
                "Filter": {"EventCategories": CATEGORIES, "DocumentTypes": []}, "WebhookURI": URL, "WebhookTeams": [],
                "WebhookTimeout": "00:00:30", "WebhookHeaderKey": "X-Octowait-Secret", "WebhookHeaderValue": SECRET,
                "WebhookLastProcessed": ago(20), **(webhook or {}),
            },
            **fields,
        }  # fmt: skip

    def subscribe(self, **fields: Any) -> None:
        self.found["/api/Spaces-1/subscriptions"] = [self.subscription(**fields)]

    def _answer(self, request: Request) -> Response:
        if request.path in self.statuses:
            return Response("", status=self.statuses[request.path])
        if request.path == "/api/spaces":
            return self._page([self.space])
        if request.path == "/api/users/Users-9/permissions":
            return self._json({"SpacePermissions": self.granted, "IsPermissionsComplete": self.complete})
        if request.path == "/api/tasks":
            ids = request.args["ids"].lower().split(",")
            return self._page([task for task in self.tasks if task["Id"].lower() in ids])
        if request.path.endswith("/events"):
            inside = [e for e in self.events if request.args["from"] <= e["Occurred"] < request.args["to"]]
            return self._page(inside)
        if request.path.endswith("/interruptions"):
            return self._page(self.interruptions)
        body = self.found.get(request.path)
        if body is None:
            return Response("", status=404)
        return self._page(body) if isinstance(body, list) and "categories" not in request.path else self._json(body)

    def _page(self, items: list[Any]) -> Response:
        return self._json({"Items": items, "Links": {}})

    @staticmethod
    def _json(body: Any) -> Response:
        return Response(json.dumps(body), content_type="application/json")


@pytest.fixture
def octopus(httpserver: HTTPServer) -> Octopus:
    return Octopus(httpserver)


@pytest.fixture
def settings(redis_url: str, namespace: str, tmp_path) -> Settings:
    return Settings(
        redis_url=redis_url, namespace=namespace, public_url="https://octowait.example.com", webhook_secret=SECRET,
        data_dir=tmp_path,
    )  # fmt: skip


GOOD = Condition("7.2.4", True, "always", False, 0, "noeviction")


@pytest.fixture
def case(octopus: Octopus, settings: Settings, namespace: str) -> Iterator[Case]:
    # The subscription of a namespace has the namespace in its name.
    octopus.subscribe(Name=f"octowait-{namespace}")
    client = OctopusClient(octopus.url, "API-KEY", sleep=lambda seconds: None, attempts=1)
    gate = DirectGate(settings)
    # Two hours old: what happened since is its to know.
    gate.services.board.script.offset_ms = -7_200_000
    gate.services.board.open("test")
    gate.services.board.script.offset_ms = 0
    yield Case(settings, gate, client, lambda: GOOD, list)
    client.close()
    gate.services.close()


@pytest.fixture
def board(case: Case) -> Any:
    return case.gate.services.board


def found(check: Callable[[Case], Any], case: Case) -> list[tuple[str, Level]]:
    """Codes and levels of what a check finds, each of which says what to do unless it is fine."""
    findings = list(check(replace(case)))
    assert all(bool(finding.do) == (finding.level is not Level.OK) for finding in findings)
    return [(finding.code, finding.level) for finding in findings]


def levels(check: Callable[[Case], Any], case: Case) -> dict[str, Level]:
    return dict(found(check, case))


OK, WARNING, ERROR, UNKNOWN = Level.OK, Level.WARNING, Level.ERROR, Level.UNKNOWN

# octowait and Redis


def test_octowait_that_is_not_there(case):
    gone = replace(case, gate=HttpGate("http://127.0.0.1:1", "token"))

    assert found(on_octowait.reachable, gone) == [("octowait_unreachable", ERROR)]


def test_octowait_without_a_worker(case):
    assert found(on_octowait.reachable, case) == [("octowait_not_ready", ERROR)]


def test_octowait_with_a_worker(case, settings, redis_url):
    client = connect(redis_url, blocking=True)
    worker = SimpleWorker(queues_of(client, settings), connection=client)
    worker.register_birth()

    assert found(on_octowait.reachable, case) == [("octowait_ready", OK)]
    worker.register_death()
    client.close()


@pytest.mark.parametrize(("version", "level"), [("5.0.14", ERROR), ("6.0.20", ERROR), ("", ERROR), ("6.2.0", OK),
                                                ("7.2.4", OK), ("10.0.1", OK)])  # fmt: skip
def test_version_of_redis(case, version, level):
    condition = replace(GOOD, version=version)

    assert found(on_octowait.redis_version, replace(case, condition=lambda: condition)) == [("redis_version", level)]


@pytest.mark.parametrize(
    ("condition", "code", "level"),
    [
        (GOOD, "redis_persistence", OK),
        (replace(GOOD, append_only=False), "redis_persistence", ERROR),
        (replace(GOOD, append_only=False, snapshots=True), "redis_persistence", ERROR),
        (replace(GOOD, fsync="everysec"), "redis_fsync", WARNING),
        (replace(GOOD, fsync=None), "redis_fsync", UNKNOWN),
    ],
)
def test_persistence_of_redis(case, condition, code, level):
    assert found(on_octowait.redis_persistence, replace(case, condition=lambda: condition)) == [(code, level)]


@pytest.mark.parametrize(
    ("maxmemory", "eviction", "level"),
    [(0, "noeviction", OK), (1 << 30, "noeviction", OK), (0, "allkeys-lru", OK), (1 << 30, "allkeys-lru", ERROR)],
)
def test_eviction_of_redis(case, maxmemory, eviction, level):
    condition = replace(GOOD, maxmemory=maxmemory, eviction=eviction)

    assert levels(on_octowait.redis_eviction, replace(case, condition=lambda: condition)) == {"redis_eviction": level}


def test_condition_is_that_of_the_server(redis_url):
    client = connect(redis_url)
    found = read_condition(client)
    client.close()

    # The embedded server, as app/coordination/embedded.py configures it.
    assert (found.append_only, found.fsync, found.snapshots, found.eviction) == (True, "always", False, "noeviction")
    assert found.version.count(".") == 2


def test_condition_of_a_server_that_may_not_be_configured(redis_url):
    admin = connect(redis_url)
    admin.acl_setuser("doctor-test", enabled=True, nopass=True, keys="*", commands=["+@all", "-config"])
    try:
        client = connect(redis_url.replace("unix://", "unix://doctor-test:any@"))
        found = read_condition(client)
        client.close()
    finally:
        admin.acl_deluser("doctor-test")
        admin.close()

    assert found.fsync is None and found.append_only


def test_kept_deliveries(case):
    assert levels(on_octowait.kept_deliveries, case) == {"kept_deliveries": OK}

    case.gate.call("POST", "/webhooks/octopus", body=b"no JSON")
    assert levels(on_octowait.kept_deliveries, case) == {"kept_deliveries": WARNING}


def test_unresolved_runs(case):
    assert levels(on_octowait.unresolved_runs, case) == {"unresolved_runs": OK}

    deliver(case, "DeploymentStarted")
    assert levels(on_octowait.unresolved_runs, case) == {"unresolved_runs": WARNING}


def test_dead_letters(case):
    assert levels(on_octowait.failed_jobs, case) == {"dead_letters": OK}

    letters = [{"id": "1-1", "at_ms": 1, "job": "reconcile", "error": "KeyError: 'x'"}]
    assert levels(on_octowait.failed_jobs, replace(case, dead_letters=lambda: letters)) == {"dead_letters": WARNING}


def test_dead_letters_are_those_of_octowait(case, settings):
    case.gate.services.dead.keep(job="reconcile", error="KeyError: 'x'")

    with open_case(settings, case.gate, is_here=False) as opened_case:
        (finding,) = on_octowait.failed_jobs(opened_case)

    assert finding.level is WARNING and "reconcile, KeyError: 'x'" in finding.what


def test_waits_are_told(case, board):
    board.join(Run("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(minutes=9))
    assert [finding.what for finding in on_octowait.longest_wait(case)] == ["Nobody waits."]

    board.join(Run("ServerTasks-2"), {"Machines-7"}, ttl=timedelta(minutes=9))
    (finding,) = on_octowait.longest_wait(replace(case))
    assert "1 run waits" in finding.what and "ServerTasks-1" in finding.what


# Octopus and the key


def test_octopus_that_is_not_there(case):
    gone = replace(case, octopus=OctopusClient("http://127.0.0.1:1", "API-KEY", attempts=1))

    assert levels(on_octopus.reachable, gone) == {"octopus_unreachable": ERROR}


def test_something_else_at_the_address_of_octopus(case, octopus):
    assert levels(on_octopus.reachable, case) == {"octopus_version": OK}

    octopus.found["/api"] = {"hello": "world"}
    assert levels(on_octopus.reachable, case) == {"octopus_version": ERROR}


def test_key_that_octopus_does_not_take(case, octopus):
    octopus.statuses["/api/users/me"] = 401

    assert levels(on_octopus.api_key, case) == {"api_key": ERROR}


def test_key_with_all_permissions(case):
    assert set(found(on_octopus.api_key, case)) == {("api_key", OK), ("permission", OK)}
    assert len(found(on_octopus.api_key, case)) == 1 + len(PERMISSIONS)


@pytest.mark.parametrize("name", PERMISSIONS)
def test_each_missing_permission_is_named(case, octopus, name):
    octopus.granted[name] = [{"SpaceId": "Spaces-2"}]

    wrong = [finding for finding in on_octopus.api_key(case) if finding.level is not OK]

    assert [finding.level for finding in wrong] == [ERROR if name in on_octopus.READING else WARNING]
    assert f"lacks {name} in Default" in wrong[0].what and name in wrong[0].do


def test_restricted_permission_is_a_warning(case, octopus):
    octopus.granted["EventView"] = [{"SpaceId": "Spaces-1", "RestrictedToProjectIds": ["Projects-1"]}]
    assert ("permission_restricted", WARNING) in found(on_octopus.api_key, case)

    octopus.granted["EventView"].append({"SpaceId": "Spaces-1"})
    assert ("permission_restricted", WARNING) not in found(on_octopus.api_key, case)


def test_permissions_that_may_not_all_be_seen(case, octopus):
    octopus.granted.pop("TaskView")
    octopus.complete = False

    assert ("permission", UNKNOWN) in found(on_octopus.api_key, case)


def test_key_of_an_administrator(case, octopus):
    octopus.granted = {"AdministerSystem": [{}]}

    assert levels(on_octopus.api_key, case) == {"api_key": OK, "permissions": WARNING}


@pytest.mark.parametrize(("offset", "level"), [(0, OK), (4, OK), (-4, OK), (30, ERROR), (-30, ERROR)])
def test_clocks(case, board, offset, level):
    board.script.offset_ms = offset * 1000

    assert levels(on_octopus.clocks, case) == {"clocks": level}


@pytest.mark.parametrize(("stopped", "codes"), [(False, []), (True, [("queue_stopped", ERROR)])])
def test_queue_of_a_space(case, octopus, stopped, codes):
    octopus.space["TaskQueueStopped"] = stopped

    assert found(on_octopus.queues, case) == codes


def capped(case: Case, cap: int | None) -> Case:
    return replace(case, settings=case.settings.model_copy(update={"task_cap": cap}))


def wait_in_steps(board: Any, octopus: Octopus, count: int, **task: Any) -> None:
    board.join(Run("ServerTasks-100"), {"Machines-7"}, ttl=timedelta(minutes=9))
    for number in range(count):
        board.join(Run(f"ServerTasks-{number}"), {"Machines-7"}, ttl=timedelta(minutes=9))
        octopus.tasks.append({"Id": f"ServerTasks-{number}", "State": "Executing", **task})


def test_task_cap_that_nobody_set(case):
    assert levels(on_octopus.task_cap, capped(case, None)) == {"task_cap_unset": WARNING, "task_cap": OK}


def test_task_cap_that_is_right(case):
    assert levels(on_octopus.task_cap, capped(case, 5)) == {"task_cap": OK}


def test_task_cap_that_is_too_high(case):
    assert found(on_octopus.task_cap, capped(case, 6))[0] == ("task_cap", ERROR)


def test_task_cap_that_nobody_may_see(case, octopus):
    octopus.statuses["/api/octopusservernodes"] = 403

    assert found(on_octopus.task_cap, capped(case, None)) == [("task_cap_unset", WARNING)]
    assert found(on_octopus.task_cap, capped(case, 5)) == [("task_cap", OK)]


def test_task_cap_full_of_waiters(case, board, octopus):
    wait_in_steps(board, octopus, 3)

    assert found(on_octopus.task_cap, capped(case, 5)) == [("task_cap_full", ERROR)]


def test_waiters_that_use_no_slot_do_not_count(case, board, octopus):
    wait_in_steps(board, octopus, 3, State="Queued", HasPendingInterruptions=True)

    assert found(on_octopus.task_cap, capped(case, 5)) == [("task_cap", OK)]


def test_holder_that_octopus_does_not_know(case, board):
    board.join(Run("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(minutes=9))

    (finding,) = on_octopus.holders(case)

    assert (finding.code, finding.level) == ("unknown_task", WARNING)
    assert "ServerTasks-1 holds Machines-7" in finding.what and "force-release ServerTasks-1" in finding.do


@pytest.mark.parametrize(
    ("state", "ended_seconds_ago", "expected"),
    [
        ("Executing", None, ("holders", OK)),
        ("Success", 30, ("holders", OK)),
        ("Success", 3600, ("ended_task", ERROR)),
        ("Canceled", None, ("ended_task", ERROR)),
    ],
)
def test_holder_that_runs_or_has_ended(case, board, octopus, state, ended_seconds_ago, expected):
    board.join(Run("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(minutes=9))
    completed = ago(ended_seconds_ago) if ended_seconds_ago else None
    octopus.tasks = [{"Id": "ServerTasks-1", "State": state, "CompletedTime": completed}]

    assert found(on_octopus.holders, case) == [expected]


@pytest.mark.parametrize(
    ("interruption", "expected"),
    [
        ({"Title": "octowait", "CanTakeResponsibility": True}, ("intervention", OK)),
        ({"Title": "Wait", "Form": {"Elements": [{"Control": {"Text": "for OCTOWAIT"}}]}, "HasResponsibility": True},
         ("intervention", OK)),
        ({"Title": "Approve", "CanTakeResponsibility": True}, ("intervention", ERROR)),
        ({"Title": "octowait"}, ("intervention_team", ERROR)),
    ],
)  # fmt: skip
def test_intervention_of_a_parked_wait(case, board, octopus, interruption, expected):
    wait_in_steps(board, octopus, 1, State="Queued", HasPendingInterruptions=True, SpaceId="Spaces-1")
    octopus.interruptions = [{"Id": "Interruptions-1", "TaskId": "ServerTasks-0", "IsPending": True, **interruption}]

    assert found(on_octopus.interventions, case) == [expected]


def test_wait_in_a_step_has_no_intervention(case, board, octopus):
    wait_in_steps(board, octopus, 1)

    assert found(on_octopus.interventions, case) == []


# the subscription


def test_subscription_that_is_right(case):
    assert found(on_subscription.present, case) == [("subscription", OK)]


def test_subscription_that_is_missing(case, octopus):
    octopus.found["/api/Spaces-1/subscriptions"] = []

    assert found(on_subscription.present, case) == [("subscription_missing", ERROR)]


def test_subscription_that_was_made_by_hand_counts(case, octopus):
    octopus.subscribe(Name="gate")

    assert found(on_subscription.present, case) == [("subscription", OK)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"IsDisabled": True}, "subscription_enabled"),
        ({"webhook": {"WebhookURI": "https://old.example.com/"}}, "subscription_url"),
        ({"webhook": {"WebhookHeaderKey": "X-Old"}}, "subscription_header"),
        ({"webhook": {"WebhookHeaderValue": "another-secret"}}, "subscription_header_value"),
        ({"webhook": {"WebhookHeaderValue": None}}, "subscription_header_value"),
        ({"webhook": {"Filter": {"EventCategories": CATEGORIES[:1]}}}, "subscription_categories"),
        ({"webhook": {"Filter": {"EventCategories": CATEGORIES, "Projects": ["Projects-1"]}}},
         "subscription_other_filters"),
        ({"webhook": {"WebhookTeams": ["teams-1"]}}, "subscription_teams"),
    ],
)  # fmt: skip
def test_each_fault_of_a_subscription_is_named_alone(case, octopus, namespace, fields, code):
    octopus.subscribe(Name=f"octowait-{namespace}", **fields)

    (finding,) = on_subscription.present(case)

    assert (finding.code, finding.level) == (code, ERROR)
    assert SECRET not in finding.what and "another-secret" not in finding.what


def test_secret_that_octopus_does_not_show(case, octopus, namespace):
    octopus.subscribe(Name=f"octowait-{namespace}", webhook={"WebhookHeaderValue": {"HasValue": True}})

    assert found(on_subscription.present, case) == [("subscription", OK), ("subscription_secret", UNKNOWN)]


def test_address_that_nobody_says(case):
    silent = replace(case, settings=case.settings.model_copy(update={"public_url": None}))

    assert levels(on_subscription.present, silent) == {"subscription": OK, "subscription_url": UNKNOWN}


def test_subscription_that_octopus_works_on(case, octopus):
    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}

    # Too young to have been sent for certain, and told before the last look.
    octopus.events = [an_event(number=2, occurred=ago(10)), an_event(number=1, occurred=ago(600))]
    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}


@pytest.mark.parametrize("seconds", [900, None])
def test_subscription_that_octopus_has_left_behind(case, octopus, namespace, seconds):
    last = ago(seconds) if seconds else None
    octopus.subscribe(Name=f"octowait-{namespace}", webhook={"WebhookLastProcessed": last})
    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}

    octopus.events = [an_event(number=1, occurred=ago(600))]
    assert levels(on_subscription.fresh, case) == {"subscription_stale": ERROR}


def test_event_of_another_category_waits_for_nobody(case, octopus, namespace):
    octopus.subscribe(Name=f"octowait-{namespace}", webhook={"WebhookLastProcessed": ago(900)})
    octopus.events = [an_event("MachineAdded", number=1, occurred=ago(600))]

    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}


def deliver(case: Case, category: str = "DeploymentStarted", **event: Any) -> None:
    case.gate.call("POST", "/webhooks/octopus", body=a_delivery(category, **event))


def test_events_that_came_by_webhook(case, octopus):
    octopus.events = [an_event(number=number, task=number, occurred=ago(300)) for number in (1, 2)]
    for number in (1, 2):
        deliver(case, number=number, task=number, occurred=ago(300))

    assert levels(on_subscription.arriving, case) == {"events": OK}


def test_events_of_which_some_are_lost(case, octopus):
    octopus.events = [an_event(number=number, task=number, occurred=ago(300)) for number in (1, 2)]
    deliver(case, number=1, task=1, occurred=ago(300))

    assert levels(on_subscription.arriving, case) == {"events_lost": WARNING}


def test_events_that_never_come(case, octopus):
    octopus.events = [an_event(number=number, task=number, occurred=ago(300)) for number in (1, 2)]

    assert levels(on_subscription.arriving, case) == {"events_missing": ERROR}


def test_events_that_had_to_be_asked_for_did_not_come(case, octopus, board):
    event = an_event(number=1, task=1, occurred=ago(300))
    octopus.events = [event]
    board.deliver(parse_event(event), via="catch_up")

    assert levels(on_subscription.arriving, case) == {"events_missing": ERROR}


def test_events_from_before_octowait_are_not_missing(case, octopus, board):
    board.client.delete(board.keys.timeline)
    board.join(Run("ServerTasks-9"), {"Machines-7"}, ttl=timedelta(minutes=9))
    octopus.events = [an_event(number=1, task=1, occurred=ago(300))]

    assert levels(on_subscription.arriving, case) == {"events": UNKNOWN}


def test_nothing_that_could_have_come(case):
    assert levels(on_subscription.arriving, case) == {"events": UNKNOWN}


# projects


def a_process(*steps: Any) -> dict[str, Any]:
    return {"Steps": list(steps)}


def a_step(name: str, script: str = "", *, condition: str = "Success", roles: str = "") -> dict[str, Any]:
    return {
        "Name": name, "Condition": condition, "PackageRequirement": "BeforePackageAcquisition",
        "Properties": {"Octopus.Action.TargetRoles": roles},
        "Actions": [{
            "Name": name, "ActionType": "Octopus.Script", "Properties": {
                "Octopus.Action.Script.ScriptBody": script, "Octopus.Action.RunOnServer": str(not roles).lower(),
            },
        }],
    }  # fmt: skip


WORK = a_step("Deploy", "echo work", roles="web")


def share(octopus: Octopus) -> None:
    octopus.found["/api/Spaces-1/projects"] = [
        {"Id": f"Projects-{n}", "Name": name, "DeploymentProcessId": f"deploymentprocess-Projects-{n}"}
        for n, name in ((1, "Web"), (2, "Api"))
    ]
    octopus.found["/api/Spaces-1/deployments"] = [
        {"Id": f"Deployments-{n}", "ProjectId": f"Projects-{n}", "DeployedToMachineIds": ["Machines-7"]} for n in (1, 2)
    ]
    wait, release = ((ROOT / "steps" / f"{name}.sh").read_text() for name in ("wait", "release"))
    octopus.found["/api/Spaces-1/deploymentprocesses/deploymentprocess-Projects-1"] = a_process(
        a_step("Wait", wait), WORK, a_step("Release", release, condition="Always")
    )
    octopus.found["/api/Spaces-1/deploymentprocesses/deploymentprocess-Projects-2"] = a_process(WORK)


def test_projects_that_share_nothing(case):
    assert found(on_projects.coverage, case) == [("coverage", OK)]


def test_projects_that_share_a_machine(case, octopus):
    share(octopus)

    findings = list(on_projects.coverage(case))

    assert [(each.code, each.level) for each in findings] == [("coverage", OK), ("no_wait_step", ERROR)]
    assert findings[0].what == "Web waits for web-01, which Api also uses."
    assert "Api deploys to web-01, which Web also uses" in findings[1].what


def test_machines_without_names_are_told_by_their_ids(case, octopus):
    share(octopus)
    octopus.statuses["/api/Spaces-1/machines"] = 403

    assert [each.what for each in on_projects.coverage(case)][0] == "Web waits for Machines-7, which Api also uses."


def test_process_that_cannot_be_read(case, octopus):
    share(octopus)
    octopus.statuses["/api/Spaces-1/deploymentprocesses/deploymentprocess-Projects-2"] = 403

    assert ("coverage", UNKNOWN) in found(on_projects.coverage, case)


# the whole


def test_examination_looks_at_everything(case, octopus):
    share(octopus)

    findings = list(examine(case))

    codes = {finding.code for finding in findings}
    assert {"redis_version", "redis_persistence", "redis_eviction", "octowait_not_ready", "kept_deliveries", "api_key",
            "unresolved_runs", "dead_letters", "octopus_version", "permission", "clocks", "task_cap", "holders",
            "subscription", "subscription_fresh", "events", "no_wait_step"} <= codes  # fmt: skip
    assert has_error(findings)


def test_check_that_cannot_be_made_is_a_finding_and_stops_no_other(case, octopus):
    octopus.statuses["/api/Spaces-1/projects"] = 403
    octopus.statuses["/api/Spaces-1/deployments"] = 403

    findings = [finding for finding in examine(case) if finding.code == "coverage"]

    assert [finding.level for finding in findings] == [UNKNOWN] and "403" in findings[0].what


def test_octowait_that_does_not_answer_leaves_octopus_to_be_looked_at(case):
    gone = replace(case, gate=HttpGate("http://127.0.0.1:1", "token"))

    codes = [finding.code for finding in examine(gone)]

    assert "octowait_unreachable" in codes and "subscription" in codes and "clocks" not in codes


def test_octopus_that_does_not_answer_is_asked_once(case, httpserver):
    gone = replace(case, octopus=OctopusClient("http://127.0.0.1:1", "API-KEY", attempts=1))

    codes = [finding.code for finding in examine(gone)]

    assert codes[-1] == "octopus_unreachable"


def test_without_a_key_octopus_is_a_warning(case):
    codes = {finding.code: finding.level for finding in examine(replace(case, octopus=None))}

    assert codes["octopus_not_set"] is WARNING and "api_key" not in codes


def test_no_redis_is_looked_at_where_its_address_is_unknown(case, settings):
    elsewhere = settings.model_copy(update={"redis_url": ""})

    with open_case(elsewhere, case.gate, is_here=True) as opened:
        assert opened.condition is None and opened.octopus is None
    with open_case(settings, case.gate, is_here=False) as opened:
        assert opened.condition and opened.condition().append_only


def test_summary_counts_levels(case):
    findings = list(examine(replace(case, octopus=None)))

    assert summary(findings).startswith("1 error, 1 warning, ")


def test_command_tells_by_its_status_whether_there_is_an_error(octopus, service, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("OCTOWAIT_")} | {
        "OCTOWAIT_URL": service.url, "OCTOWAIT_TOKEN": service.tokens["admin"], "PYTHONPATH": str(ROOT),
        "OCTOWAIT_OCTOPUS_URL": octopus.url, "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY", "OCTOWAIT_WEBHOOK_SECRET": SECRET,
    }  # fmt: skip

    def doctor(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "app", "doctor", *words], env=env, cwd=tmp_path, text=True,
                              capture_output=True, timeout=60)  # fmt: skip

    ill = doctor()
    assert ill.returncode == 1 and "ERROR   octowait is not ready" in ill.stdout and ill.stderr == ""
    assert "1 error, " in ill.stdout

    worker = service.spawn("worker")
    try:
        eventually(lambda: service.call("GET", "/readyz", role=None)[0] == 200)
        well = doctor("--json")
    finally:
        worker.terminate()
        worker.wait(30)
    findings = json.loads(well.stdout)
    assert well.returncode == 0, well.stdout
    assert {"level", "code", "what", "do"} == set(findings[0])
