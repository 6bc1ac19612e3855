"""Whatever Octopus, a payload or a step says, no page and no call fails for it afterwards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.octopus.documents import DeploymentTarget
from app.octopus.errors import OctopusUnreadable
from app.octopus.runs import Deployment
from app.octopus.tasks import Task
from app.web import create_app
from tests.conftest import TOKENS, WEBHOOK_SECRET, a_delivery, services_on
from tests.open_board import OpenBoard

#: What breaks somebody: keys are split at a NUL, half a character cannot be encoded, and Python reads no such number.
HOSTILE = [
    "a\x00b", "x\ud800y", "9" * 5000, f"web-{'7' * 5000}", "web-²٣", "\x1b[2J\u202e", "a,b;c\r\nd", " ", "</script><b>",
]  # fmt: skip

PATHS = [
    "/", "/ledger", "/timeline", "/health", "/machines/Machines-7", "/runs/ServerTasks-4711", "/machines/Machines-8",
    "/runs/ServerTasks-1", "/api/waits", "/api/machines", "/api/machines/Machines-7", "/api/runs/ServerTasks-4711",
    "/api/waits/ServerTasks-1/explain", "/api/timeline?format=csv", "/api/timeline?format=ndjson",
    "/api/ledger?by=project&format=csv", "/metrics", "/api/kept",
]  # fmt: skip


@pytest.fixture
def client(board: OpenBoard, redis_url: str) -> Iterator[FlaskClient]:
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    services = services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens)
    found = create_app(services).test_client()
    found.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKENS['admin']}"
    yield found
    services.close()


def assert_all_is_shown(client: FlaskClient) -> None:
    statuses = {path: client.get(path).status_code for path in PATHS}
    assert {path: status for path, status in statuses.items() if status not in (200, 404)} == {}


def deliver(client: FlaskClient, body: Any) -> None:
    answer = client.post("/webhooks/octopus", data=json.dumps(body), headers={"X-Octowait-Secret": WEBHOOK_SECRET})
    assert answer.status_code in (202, 413), answer.text


def test_texts_of_events_break_nothing(client):
    fields = ["Id", "Category", "SpaceId", "Message", "Occurred", "Username"]
    for number, (where, text) in enumerate(itertools.product(fields, HOSTILE)):
        deliver(client, a_delivery("DeploymentStarted", number=number, **{where: text}))

    assert_all_is_shown(client)


def test_ids_of_events_break_nothing(client):
    for number, text in enumerate(HOSTILE):
        related = [text, f"Projects-{text}", f"Deployments-{text}", "Environments-1"]
        body = a_delivery("DeploymentStarted", related=related, number=number)
        body["Payload"]["BatchId"] = body["Payload"]["ServerUri"] = text
        body["Payload"]["TotalEventsInBatch"] = text
        deliver(client, body)

    assert_all_is_shown(client)


def test_numbers_without_end_break_nothing(client):
    for number in ("9" * 5000, "-" + "9" * 5000, "1e999", "NaN", "0." + "1" * 5000):
        text = json.dumps(a_delivery()).replace('"TotalEventsInBatch": 1', f'"TotalEventsInBatch": {number}')
        client.post("/webhooks/octopus", data=text, headers={"X-Octowait-Secret": WEBHOOK_SECRET})
        for field in ("priority", "timeout_seconds"):
            body = f'{{"machines": ["Machines-7"], "{field}": {number}}}'
            assert client.put("/api/waits/ServerTasks-1", data=body, content_type="application/json").status_code < 500

    assert_all_is_shown(client)


def test_texts_of_steps_break_nothing(client):
    for number, text in enumerate(HOSTILE):
        named = {"id": "Projects-7", "name": text[:300]}
        body = {
            "project": named, "environment": {"id": text, "name": "x"}, "release": {"version": text[:300]},
            "tenant": named, "on_behalf_of": text, "space_id": text, "url": text, "machines": ["Machines-7", text],
        }  # fmt: skip
        for field in body:
            one = {"machines": ["Machines-7"], field: body[field]}
            assert client.put(f"/api/waits/ServerTasks-{number}", json=one).status_code < 500, field
        client.put("/api/machines/Machines-7/reservation", json={"note": text})

    assert_all_is_shown(client)


def test_names_of_octopus_break_nothing(client, board):
    for number, text in enumerate(HOSTILE):
        task = f"ServerTasks-{4711 + number}"
        deliver(client, a_delivery(number=number, task=4711 + number))
        name = DeploymentTarget.read({"Id": "Machines-7", "Name": text}).name
        info = {"project": {"id": "Projects-7", "name": name}, "release": {"id": "Releases-90", "version": name}}
        board.observe(task, [{"id": f"Machines-{number}", "name": name}], info=info)
        board.name(task, info, [{"id": f"Machines-{number}", "name": name}])
    # What an older version has kept is shown as well.
    long = json.dumps({"id": "Machines-9", "name": f"web-{'7' * 5000}"})
    board.client.hset(board.keys.machines, "machines-9", long)

    assert_all_is_shown(client)


@pytest.mark.parametrize("text", [*HOSTILE, "a b", "x" * 101, "../x", "Machines-7/x"])
def test_what_is_no_id_becomes_no_key(text):
    for read in (Task, DeploymentTarget, Deployment):
        with pytest.raises(OctopusUnreadable, match="expected an id|expected a text"):
            read.read({"Id": text, "State": "Queued"})
    for name in ("SpecificMachineIds", "ExcludedMachineIds", "DeployedToMachineIds"):
        with pytest.raises(OctopusUnreadable, match="expected the id of a machine"):
            Deployment.read({"Id": "Deployments-1", name: ["Machines-7", text]})
    assert Deployment.read({"Id": "Deployments-1", "TaskId": text, "EnvironmentId": text}).environment_id is None
