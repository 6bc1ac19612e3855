"""What the OpenAPI document says of answers is what they are: each call is made once, and its answer held to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from app.services import make_services
from app.settings import Settings
from app.settings.values import Token
from app.web import create_app

WAIT = {
    "space_id": "Spaces-1", "machines": ["Machines-7", "Machines-12"], "deployment_id": "Deployments-51",
    "project": {"id": "Projects-7", "name": "Web"}, "environment": {"id": "Environments-2", "name": "Production"},
    "release": {"id": "Releases-90", "version": "1.4.0"}, "url": "https://octopus.example.com/app#/tasks/ServerTasks-1",
}  # fmt: skip

#: Answers that are no JSON object of a model, or that a test without a worker does not get.
WITHOUT_MODEL = {"/readyz", "/api/stream", "/api/report", "/metrics"}


class Caller:
    """Calls the API and holds each answer to the document; *called* is what has been called."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.document: dict[str, Any] = client.get("/openapi.json").json
        self.called: set[tuple[str, str, str]] = set()

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        response = self.client.open(path, method=method, json=body, headers=headers)
        assert response.status_code < 400, (method, path, response.data)
        template = next(
            known for known in sorted(self.document["paths"], key=lambda known: known.count("{"))
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path.partition("?")[0])
        )  # fmt: skip
        operation, status = method.lower(), str(response.status_code)
        schema = self.document["paths"][template][operation]["responses"][status]["content"]["application/json"][
            "schema"
        ]
        errors = [str(error) for error in Draft202012Validator({**self.strict, **schema}).iter_errors(response.json)]
        assert not errors, (method, path, errors)
        self.called.add((operation, template, status))
        return response.json

    @property
    def strict(self) -> dict[str, Any]:
        """The schemas, which take no property that they do not name."""
        schemas = json.loads(json.dumps(self.document["components"]["schemas"]))
        for schema in schemas.values():
            assert schema.setdefault("additionalProperties", False) is False
        return {"components": {"schemas": schemas}}

    @property
    def documented(self) -> set[tuple[str, str, str]]:
        return {
            (operation, path, status)
            for path, operations in self.document["paths"].items() if path not in WITHOUT_MODEL
            for operation, described in operations.items()
            for status in described["responses"] if status < "300"
        }  # fmt: skip


@pytest.fixture
def call(redis_url: str, namespace: str) -> Iterator[Caller]:
    token = Token("admin", "test", "a-token-for-tests-of-the-document")
    services = make_services(
        Settings(
            redis_url=redis_url,
            namespace=namespace,
            tokens=(token,),
            webhook_secret=SecretStr("s" * 24),
            octopus_url="http://127.0.0.1:9",
            octopus_api_key=SecretStr("API-KEY"),
        )  # fmt: skip
    )
    services.board.open("test")
    client = create_app(services).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token.secret}"
    client.environ_base["HTTP_X_OCTOWAIT_SECRET"] = "s" * 24
    yield Caller(client)
    services.close()


def test_every_answer_is_as_the_document_says(call: Caller) -> None:
    for number in (1, 1, 2, 3):
        call("PUT", f"/api/waits/ServerTasks-{number}", WAIT)
    call("PUT", "/api/machines/Machines-7/reservation", {"note": "disk swap"})
    started = {"Id": "Events-1", "Category": "DeploymentStarted", "Occurred": "2026-01-01T00:00:00Z",
               "RelatedDocumentIds": ["ServerTasks-9", "Deployments-9", "Projects-7"]}  # fmt: skip
    call("POST", "/webhooks/octopus", {"Payload": {"Event": started}})
    call("POST", "/webhooks/octopus", {"nothing": "known"})
    for path in ("", "/ServerTasks-2", "/ServerTasks-2/explain", "/ServerTasks-1/explain"):
        call("GET", f"/api/waits{path}")
    call("POST", "/api/waits/ServerTasks-3/priority", {"priority": 5, "reason": "first"})
    for path in ("/machines", "/machines/Machines-7", "/runs/ServerTasks-1", "/runs/ServerTasks-3", "/timeline"):
        call("GET", f"/api{path}")
    call("DELETE", "/api/machines/Machines-7/reservation")
    call("DELETE", "/api/waits/ServerTasks-1")
    call("POST", "/api/waits/ServerTasks-2/force-release", {"reason": "lost", "confirm": True})
    call("GET", "/api/waits/ServerTasks-2/explain")
    for by in ("machine", "project", "blocker", "environment", "week"):
        call("GET", f"/api/ledger?by={by}")
    [kept] = call("GET", "/api/kept")["kept"]
    call("DELETE", f"/api/kept/{kept['id']}")
    assert call("POST", "/api/sign-in-code")["code"]
    call.client.get("/api/kept", headers={"Authorization": "Bearer wrong"})
    assert call("GET", "/api/refusals")["refusals"]
    assert call("GET", "/healthz") == {"status": "alive"}
    for path in ("eta-report", "archive", "dead-letters"):
        call("GET", f"/api/{path}")
    call("POST", "/api/archive", {})
    call("POST", "/api/catch-up", {})
    call("POST", "/api/rebuild", {"reason": "a test"})
    call("GET", "/api/machines")
    call.client.application.extensions["octowait"].dead_jobs.keep(job="resolve", error="broken")
    [letter] = call("GET", "/api/dead-letters")["dead_letters"]
    call("DELETE", f"/api/dead-letters/{letter['id']}")

    assert call.documented - call.called == set()


def test_kind_that_there_is_not_is_named_with_those_that_there_are(call: Caller) -> None:
    problem = call.client.get("/api/timeline?kind=grant").json

    assert problem["code"] == "invalid" and "kind: expected one of joined, granted, " in problem["detail"]


def test_a_page_of_records_names_their_machines(call: Caller) -> None:
    services = call.client.application.extensions["octowait"]
    record = json.dumps({"id": "Machines-7", "name": "web-01"})
    services.client.hset(services.keys.machines, "machines-7", record)
    call("PUT", "/api/waits/ServerTasks-1", WAIT)

    page = call("GET", "/api/timeline")

    assert page["records"][-1]["machines"] == ["Machines-12", "Machines-7"]
    assert page["machine_names"] == {"machines-7": "web-01", "machines-12": "Machines-12"}


def test_an_export_says_of_each_record_what_a_page_says(call: Caller) -> None:
    """Its lines are written from what Redis has, without the model: a million of them take seconds."""
    call("PUT", "/api/waits/ServerTasks-1", {**WAIT, "project": {"id": "Projects-7", "name": "Wéb ☃"}})
    call("PUT", "/api/waits/ServerTasks-2", WAIT)
    call("PUT", "/api/machines/Machines-7/reservation", {"note": 'disk "swap" ☃'})
    call("DELETE", "/api/waits/ServerTasks-1")

    page = call("GET", "/api/timeline")["records"]
    lines = call.client.get("/api/timeline?format=ndjson").text.splitlines()

    assert [json.loads(line) for line in lines] == page
    assert [list(json.loads(line)) for line in lines] == [list(record) for record in page]
