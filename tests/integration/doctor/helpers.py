"""An Octopus that answers what a test says, and what a check of ``octowait doctor`` finds there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.doctor import on_octopus
from app.doctor.context import DoctorContext
from app.doctor.findings import Level
from app.store.persistence import Condition
from tests.conftest import ROOT, a_delivery

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
        #: Further spaces that the key may see.
        self.spaces: list[Any] = []
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
            return self._page([self.space, *self.spaces] if self.space else [])
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


GOOD = Condition("7.2.4", True, "always", False, 0, "noeviction")


def found(check: Callable[[DoctorContext], Any], case: DoctorContext) -> list[tuple[str, Level]]:
    """Codes and levels of what a check finds, each of which says what to do unless it is fine."""
    findings = list(check(replace(case)))
    assert all(bool(finding.do) == (finding.level is not Level.OK) for finding in findings)
    return [(finding.code, finding.level) for finding in findings]


def levels(check: Callable[[DoctorContext], Any], case: DoctorContext) -> dict[str, Level]:
    return dict(found(check, case))


OK, WARNING, ERROR, UNKNOWN = Level.OK, Level.WARNING, Level.ERROR, Level.UNKNOWN


def deliver(case: DoctorContext, category: str = "DeploymentStarted", **event: Any) -> None:
    post(case, a_delivery(category, **event))


def post(case: DoctorContext, body: Any) -> None:
    """What Octopus posts: with the secret."""
    case.gate.call("POST", "/webhooks/octopus", body=body, headers={case.settings.webhook_header: SECRET})


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
