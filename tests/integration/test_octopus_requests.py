"""How requests are sent: budget, patience, writes, and what Octopus says about its limits."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.coordination.budget import Budget
from app.octopus.ask import make_client as client_of
from app.octopus.ask import objection_to_release
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusBusy, OctopusDenied, OctopusRejected, OctopusUnreachable
from app.octopus.subscriptions import SubscriptionSpec
from app.settings import Settings
from app.store.connection import connect
from app.store.errors import StoreError
from app.store.keys import Keys

TASK = {"Id": "ServerTasks-4711", "State": "Executing"}
TASK_PATH = "/api/tasks/ServerTasks-4711"
SPEC = SubscriptionSpec("octowait", "https://octowait.example.com/webhooks/octopus", "X-Octowait-Secret", "the-secret")
CREATED = {"Id": "Subscriptions-1", "Name": "octowait", "EventNotificationSubscription": {"Filter": {}}}
SUBSCRIPTIONS = "/api/Spaces-1/subscriptions"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def budget(redis_url: str, namespace: str, pauses: list[float]) -> Iterator[Budget]:
    client = connect(redis_url)
    yield Budget(client, Keys(namespace), 8)
    client.close()


@pytest.fixture
def make_client(httpserver: HTTPServer, budget: Budget, pauses: list[float]) -> Iterator[Callable[..., OctopusClient]]:
    """Clients whose pauses take no time of ours but of the budget's clock."""
    made = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        budget.offset_ms += int(seconds * 1000) + 1

    def make(**options: Any) -> OctopusClient:
        given = {"sleep": sleep, "budget": budget, **options}
        made.append(OctopusClient(httpserver.url_for("/"), "API-KEY", **given))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_every_attempt_takes_a_permit(httpserver, make_client, budget):
    httpserver.expect_ordered_request(TASK_PATH).respond_with_data("", status=500)
    httpserver.expect_ordered_request(TASK_PATH).respond_with_json(TASK)

    make_client().task("ServerTasks-4711")

    assert budget.calls() == {"tasks": 2}


def test_redirect_takes_a_permit_too(httpserver, make_client, budget):
    httpserver.expect_request(TASK_PATH).respond_with_data("", status=302, headers={"Location": "/elsewhere"})
    httpserver.expect_request("/elsewhere").respond_with_json(TASK)

    make_client().task("ServerTasks-4711")

    assert budget.calls() == {"tasks": 2}


def test_patient_caller_waits_for_its_turn(httpserver, make_client, pauses):
    httpserver.expect_request(TASK_PATH).respond_with_json(TASK)
    client = make_client(patience=90)

    for _ in range(7):
        client.task("ServerTasks-4711")

    # Six of eight, since two are kept for those who are urgent.
    assert len(pauses) == 1 and 50 < pauses[0] <= 61
    assert len(httpserver.log) == 7


def test_impatient_caller_is_told_when_to_come_back(httpserver, make_client, pauses):
    httpserver.expect_request(TASK_PATH).respond_with_json(TASK)
    client = make_client(patience=5)
    for _ in range(6):
        client.task("ServerTasks-4711")

    with pytest.raises(OctopusBusy, match="request budget") as caught:
        client.task("ServerTasks-4711")

    assert 50 < caught.value.retry_after <= 61
    assert pauses == [] and len(httpserver.log) == 6


def test_urgent_caller_goes_where_others_wait(httpserver, make_client):
    httpserver.expect_request(TASK_PATH).respond_with_json(TASK)
    client = make_client(patience=0)
    for _ in range(6):
        client.task("ServerTasks-4711")

    urgent = client.asking(urgent=True, patience=0)
    for _ in range(2):
        urgent.task("ServerTasks-4711")

    with pytest.raises(OctopusBusy):
        urgent.task("ServerTasks-4711")
    with pytest.raises(OctopusBusy):
        client.task("ServerTasks-4711")
    assert len(httpserver.log) == 8


def test_answer_that_asks_for_a_pause_holds_every_process_back(httpserver, make_client, budget, pauses):
    httpserver.expect_ordered_request(TASK_PATH).respond_with_data("", status=429, headers={"Retry-After": "20"})
    httpserver.expect_ordered_request(TASK_PATH).respond_with_json(TASK)

    with pytest.raises(OctopusBusy) as caught:
        make_client(patience=3).task("ServerTasks-4711")
    assert caught.value.retry_after == 20

    with pytest.raises(OctopusBusy, match="request budget"):
        make_client(patience=3, urgent=True).task("ServerTasks-4711")
    assert len(httpserver.log) == 1

    assert make_client(patience=30).task("ServerTasks-4711").id == "ServerTasks-4711"
    assert pauses and 15 < pauses[0] <= 20


@pytest.mark.parametrize(("header", "wait"), [("r=0;t=18", 18), ("r=1;t=18", 0), ("nonsense", 0), ("r=0", 0)])
def test_spent_rate_limit_of_octopus_is_a_pause(httpserver, make_client, budget, header, wait):
    httpserver.expect_request(TASK_PATH).respond_with_json(TASK, headers={"Octopus-RateLimit": header})

    make_client().task("ServerTasks-4711")

    assert wait - 3 < budget.take(urgent=True) <= wait


def test_fault_of_one_resource_is_no_pause_for_all(httpserver, make_client, budget):
    httpserver.expect_request(TASK_PATH).respond_with_data("", status=500, headers={"Retry-After": "20"})

    with pytest.raises(OctopusBusy):
        make_client(attempts=1).task("ServerTasks-4711")

    assert budget.take(urgent=True) == 0


def test_lost_redis_sends_nothing(httpserver):
    absent = Budget(connect("redis://127.0.0.1:1"), Keys("default"), 8)
    client = OctopusClient(httpserver.url_for("/"), "API-KEY", budget=absent)

    with pytest.raises(StoreError):
        client.task("ServerTasks-4711")

    assert httpserver.log == []


def test_post_that_may_have_worked_is_not_repeated(httpserver, make_client, pauses):
    httpserver.expect_request(SUBSCRIPTIONS, method="POST").respond_with_data("", status=503)

    with pytest.raises(OctopusBusy):
        make_client().create_subscription(SPEC, space="Spaces-1")

    assert len(httpserver.log) == 1 and pauses == []


def test_post_without_an_answer_is_not_repeated(httpserver, make_client, pauses):
    let_go = threading.Event()

    def silent(request: Request) -> Response:
        let_go.wait(10)
        return Response("{}")

    httpserver.expect_request(SUBSCRIPTIONS, method="POST").respond_with_handler(silent)

    with pytest.raises(OctopusUnreachable):
        make_client(timeout=(1, 0.2)).create_subscription(SPEC, space="Spaces-1")

    let_go.set()
    assert pauses == []


def test_post_that_was_refused_for_its_rate_is_repeated(httpserver, make_client, pauses):
    httpserver.expect_ordered_request(SUBSCRIPTIONS, method="POST").respond_with_data("", status=429)
    httpserver.expect_ordered_request(SUBSCRIPTIONS, method="POST").respond_with_json(CREATED, status=201)

    assert make_client().create_subscription(SPEC, space="Spaces-1").id == "Subscriptions-1"
    assert len(pauses) == 1


def test_post_that_never_left_is_repeated(budget, pauses):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = OctopusClient(address, "API-KEY", sleep=pauses.append, attempts=3, budget=budget)

        with pytest.raises(OctopusUnreachable):
            client.create_subscription(SPEC, space="Spaces-1")

    assert len(pauses) == 2


def test_put_is_repeated_whatever_happened(httpserver, make_client, pauses):
    existing = make_subscription(httpserver, make_client)
    httpserver.expect_ordered_request(f"{SUBSCRIPTIONS}/Subscriptions-1", method="PUT").respond_with_data(
        "", status=500
    )
    httpserver.expect_ordered_request(f"{SUBSCRIPTIONS}/Subscriptions-1", method="PUT").respond_with_json(CREATED)

    make_client().update_subscription(existing, SPEC, space="Spaces-1")

    assert len(pauses) == 1


def make_subscription(httpserver, make_client):
    httpserver.expect_oneshot_request(f"{SUBSCRIPTIONS}/Subscriptions-1", method="GET").respond_with_json(CREATED)
    return make_client().subscription("Subscriptions-1", space="Spaces-1")


def test_delete_that_worked_without_telling_is_done(httpserver, make_client):
    path = f"{SUBSCRIPTIONS}/Subscriptions-1"
    httpserver.expect_ordered_request(path, method="DELETE").respond_with_data("", status=502)
    httpserver.expect_ordered_request(path, method="DELETE").respond_with_data("", status=404)

    assert make_client().delete_subscription("Subscriptions-1", space="Spaces-1") is False
    assert len(httpserver.log) == 2


def test_delete_with_an_empty_answer_is_done(httpserver, make_client):
    httpserver.expect_request(f"{SUBSCRIPTIONS}/Subscriptions-1", method="DELETE").respond_with_data("", status=204)

    assert make_client().delete_subscription("Subscriptions-1", space="Spaces-1") is True


def test_write_follows_no_redirect(httpserver, make_client):
    httpserver.expect_request(SUBSCRIPTIONS, method="POST").respond_with_data(
        "", status=307, headers={"Location": "/elsewhere"}
    )

    with pytest.raises(OctopusRejected, match="expected to write to the configured address"):
        make_client().create_subscription(SPEC, space="Spaces-1")

    assert len(httpserver.log) == 1


def test_refusal_says_what_octopus_says(httpserver, make_client):
    complaint = {"ErrorMessage": "You do not have permission.", "Errors": ["Missing permission: SubscriptionCreate"]}
    httpserver.expect_request(SUBSCRIPTIONS, method="POST").respond_with_json(complaint, status=403)

    with pytest.raises(OctopusDenied, match="Missing permission: SubscriptionCreate") as caught:
        make_client().create_subscription(SPEC, space="Spaces-1")

    assert caught.value.status == 403 and "the-secret" not in str(caught.value)


def test_client_of_the_settings_needs_address_and_key(budget):
    assert client_of(Settings(octopus_url="https://octopus.example.com"), budget) is None
    assert client_of(Settings(octopus_api_key="API-KEY"), budget) is None

    client = client_of(Settings(octopus_url="https://octopus.example.com", octopus_api_key="API-KEY"), budget)
    assert client is not None and client.url == "https://octopus.example.com"
    client.close()


def code_of(settings: Settings, budget: Budget, space: str | None = "Spaces-1") -> str | None:
    objection = objection_to_release(settings, budget, "ServerTasks-4711", space)
    assert objection is None or "ServerTasks-4711" in objection.message
    return objection and objection.code


@pytest.fixture
def settings(httpserver: HTTPServer) -> Settings:
    return Settings(octopus_url=httpserver.url_for("/"), octopus_api_key="API-KEY")


@pytest.mark.parametrize(
    ("state", "code"), [("Executing", "still_running"), ("Queued", "still_running"), ("Success", None)]
)
def test_person_is_told_whether_a_task_runs(httpserver, budget, settings, state, code):
    httpserver.expect_request("/api/Spaces-1/tasks/ServerTasks-4711").respond_with_json({**TASK, "State": state})

    assert code_of(settings, budget) == code
    assert budget.calls() == {"tasks": 1}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500, 502, 503])
def test_person_is_told_that_nobody_can_say_whether_a_task_runs(httpserver, budget, settings, status):
    httpserver.expect_request(re.compile("/api.*")).respond_with_data("<html>", status=status)

    assert code_of(settings, budget) == "cannot_ask"


@pytest.mark.parametrize("space", ["../x", "Spaces-1/../..", "Spaces 1", "", "\u0000", "Spaces-404"])
def test_space_that_is_none_does_not_skip_the_question(httpserver, budget, settings, space):
    httpserver.expect_request("/api/tasks/ServerTasks-4711").respond_with_json({**TASK, "State": "Executing"})

    assert code_of(settings, budget, space) in ("cannot_ask", "still_running")


@pytest.mark.parametrize("body", ["<html>sign in</html>", "[]", "{}", "null", '{"Id": 1}'])
def test_answer_that_says_nothing_of_the_task_is_no_answer(httpserver, budget, settings, body):
    httpserver.expect_request(re.compile("/api.*")).respond_with_data(body)

    assert code_of(settings, budget) == "cannot_ask"


@pytest.mark.parametrize("status", [403, 404])
def test_person_is_told_of_a_task_that_was_said_to_be_in_another_space(httpserver, budget, settings, status):
    """Whoever joins says in which space it is, and could keep anybody from asking about it."""
    httpserver.expect_request("/api/Spaces-99/tasks/ServerTasks-4711").respond_with_data("", status=status)
    httpserver.expect_request(TASK_PATH).respond_with_json(TASK)

    assert code_of(settings, budget, "Spaces-99") == "still_running"
    assert budget.calls() == {"tasks": 2}


def test_person_is_not_kept_waiting_for_the_budget(httpserver, budget, settings):
    for _ in range(8):
        budget.take(urgent=True)

    assert code_of(settings, budget) == "cannot_ask"
    assert httpserver.log == []


def test_without_an_api_key_nobody_is_asked(httpserver, budget):
    assert code_of(Settings(octopus_url=httpserver.url_for("/")), budget) is None
    assert httpserver.log == []


def test_body_of_a_write_is_json(httpserver, make_client):
    httpserver.expect_request(SUBSCRIPTIONS, method="POST").respond_with_json(CREATED, status=201)

    make_client().create_subscription(SPEC, space="Spaces-1")

    request = httpserver.log[0][0]
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.data)["Name"] == "octowait"
