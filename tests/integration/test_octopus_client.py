"""The client against a real HTTP server that answers as Octopus does."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import (
    OctopusBusy,
    OctopusDenied,
    OctopusError,
    OctopusMissing,
    OctopusRejected,
    OctopusUnreachable,
    OctopusUnreadable,
)

TASK = {"Id": "ServerTasks-4711", "SpaceId": "Spaces-1", "Name": "Deploy", "State": "Executing", "IsCompleted": False,
        "Arguments": {"DeploymentId": "Deployments-51"}}  # fmt: skip
TASK_PATH = "/api/Spaces-1/tasks/ServerTasks-4711"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def make_client(httpserver: HTTPServer, pauses: list[float]) -> Iterator[Callable[..., OctopusClient]]:
    made = []

    def make(url: str | None = None, **options: Any) -> OctopusClient:
        made.append(OctopusClient(url or httpserver.url_for("/"), "API-KEY", sleep=pauses.append, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., OctopusClient]) -> OctopusClient:
    return make_client()


def page(items: list[dict[str, Any]], *, has_next: bool) -> dict[str, Any]:
    links = {"Self": "/api/machines", "Page.Next": "https://elsewhere.example.com/api/machines?skip=2"}
    return {"Items": items, "Links": links if has_next else {"Self": "/api/machines"}}


def test_task_is_read_with_the_key_from_its_space(httpserver, client):
    httpserver.expect_request(TASK_PATH, headers={"X-Octopus-ApiKey": "API-KEY"}).respond_with_json(TASK)

    task = client.task("ServerTasks-4711", space="Spaces-1")

    assert (task.id, task.deployment_id, task.runbook_run_id) == ("ServerTasks-4711", "Deployments-51", None)
    assert not task.is_completed


def test_without_a_space_the_default_one_is_asked(httpserver, client):
    httpserver.expect_request("/api/tasks/ServerTasks-4711").respond_with_json(TASK)

    assert client.task("ServerTasks-4711").space_id == "Spaces-1"


def test_path_of_the_configured_address_is_kept(httpserver, make_client):
    httpserver.expect_request("/octopus/api/tasks/ServerTasks-4711").respond_with_json(TASK)

    assert make_client(httpserver.url_for("/octopus/")).task("ServerTasks-4711").id == "ServerTasks-4711"


@pytest.mark.parametrize(
    ("state", "is_completed"),
    [("Executing", False), ("Queued", False), ("Cancelling", False), ("Success", True), ("TimedOut", True)],
)
def test_state_tells_the_end_where_is_completed_is_missing(httpserver, client, state, is_completed):
    httpserver.expect_request(TASK_PATH).respond_with_json({"Id": "ServerTasks-4711", "State": state})

    assert client.task("ServerTasks-4711", space="Spaces-1").is_completed is is_completed


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_failure_is_tried_again(httpserver, client, pauses, status):
    httpserver.expect_ordered_request(TASK_PATH).respond_with_data("", status=status)
    httpserver.expect_ordered_request(TASK_PATH).respond_with_json(TASK)

    assert client.task("ServerTasks-4711", space="Spaces-1").id == "ServerTasks-4711"
    assert len(pauses) == 1


def test_pauses_grow_until_the_client_gives_up(httpserver, make_client, pauses):
    httpserver.expect_request(TASK_PATH).respond_with_data("", status=500)

    with pytest.raises(OctopusBusy) as caught:
        make_client(attempts=4).task("ServerTasks-4711", space="Spaces-1")

    assert not caught.value.permanent
    assert len(httpserver.log) == 4
    assert pauses == sorted(pauses) and len(pauses) == 3 and 0.5 <= pauses[0] <= 1 and 2 <= pauses[2] <= 4


def test_retry_after_in_seconds_is_honoured(httpserver, client, pauses):
    httpserver.expect_ordered_request(TASK_PATH).respond_with_data("", status=429, headers={"Retry-After": "7"})
    httpserver.expect_ordered_request(TASK_PATH).respond_with_json(TASK)

    client.task("ServerTasks-4711", space="Spaces-1")

    assert len(pauses) == 1 and 7 <= pauses[0] <= 7.5


def test_retry_after_as_a_date_is_honoured(httpserver, client, pauses):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    httpserver.expect_ordered_request(TASK_PATH).respond_with_data("", status=503, headers={"Retry-After": date})
    httpserver.expect_ordered_request(TASK_PATH).respond_with_json(TASK)

    client.task("ServerTasks-4711", space="Spaces-1")

    assert len(pauses) == 1 and 15 <= pauses[0] <= 21


def test_long_retry_after_is_left_to_the_caller(httpserver, client, pauses):
    httpserver.expect_request(TASK_PATH).respond_with_data("", status=429, headers={"Retry-After": "600"})

    with pytest.raises(OctopusBusy) as caught:
        client.task("ServerTasks-4711", space="Spaces-1")

    assert caught.value.retry_after == 600
    assert pauses == [] and len(httpserver.log) == 1


@pytest.mark.parametrize(("status", "error"), [(404, OctopusMissing), (401, OctopusDenied), (403, OctopusDenied),
                                               (400, OctopusRejected)])  # fmt: skip
def test_permanent_failure_is_not_tried_again(httpserver, client, status, error):
    httpserver.expect_request(TASK_PATH).respond_with_data("", status=status)

    with pytest.raises(error) as caught:
        client.task("ServerTasks-4711", space="Spaces-1")

    assert caught.value.permanent
    assert TASK_PATH in str(caught.value) and "API-KEY" not in str(caught.value)
    assert len(httpserver.log) == 1


def test_redirect_to_another_host_is_refused_and_never_sees_the_key(httpserver, client):
    with HTTPServer(port=0) as other:
        other.expect_request("/").respond_with_json(TASK)
        httpserver.expect_request(TASK_PATH).respond_with_data("", status=302, headers={"Location": other.url_for("/")})

        with pytest.raises(OctopusRejected, match="redirected to"):
            client.task("ServerTasks-4711", space="Spaces-1")

        assert other.log == []


class Redirecting(socketserver.ThreadingTCPServer):
    """Answers everything with a redirect to *location*, as it is: others would mend what is wrong in it."""

    location = ""
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Redirect)
        self.port = self.server_address[1]
        self.asked = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        super().__exit__(*error)


class _Redirect(socketserver.StreamRequestHandler):
    server: Redirecting

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.server.asked += 1
        head = (
            f"HTTP/1.1 302 Found\r\nLocation: {self.server.location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        self.wfile.write(head.encode())


#: Where two readers of an address find different hosts, with ``%s`` for ours and for another's.
MALFORMED = [
    "http://{other}\\@{own}/", "http://{other}\\\\@{own}/x", "http:\\\\{other}/", "/\\{other}/", "\\\\{other}/x",
    "http://{own}\\@{other}/", "http://{other}#@{own}/", "http://{other}?@{own}/", "http://{own}@{other}/",
    "http://{other}/\\@{own}/", "//{other}/", "http:///{other}/", "http://[{own}]@{other}/", "http://{other}\t@{own}/",
    "http://{other} @{own}/", "http://{own}:80@{other}/", "http://{other}%5C@{own}/",
]  # fmt: skip


@pytest.mark.parametrize("location", MALFORMED)
def test_malformed_redirect_never_takes_the_key_elsewhere(make_client, location):
    with HTTPServer(port=0) as other, Redirecting() as own:
        own.location = location.format(own=f"127.0.0.1:{own.port}", other=f"127.0.0.1:{other.port}")

        with suppress(OctopusError):  # What leads to our own address may be followed; nothing is there.
            make_client(f"http://127.0.0.1:{own.port}", attempts=1).task("ServerTasks-4711", space="Spaces-1")

        assert own.asked and other.log == []


def test_password_of_the_address_is_in_no_error(make_client):
    client = make_client("http://octowait:pass%2Fword@127.0.0.1:1", attempts=1)

    with pytest.raises(OctopusUnreachable) as caught:
        client.task("ServerTasks-4711", space="Spaces-1")

    assert "http://***@127.0.0.1:1" in str(caught.value)
    assert "word" not in f"{caught.value}{client.url}"


def test_redirect_on_the_same_host_is_followed_with_the_key(httpserver, client):
    httpserver.expect_request(TASK_PATH).respond_with_data("", status=302, headers={"Location": "/elsewhere"})
    httpserver.expect_request("/elsewhere", headers={"X-Octopus-ApiKey": "API-KEY"}).respond_with_json(TASK)

    assert client.task("ServerTasks-4711", space="Spaces-1").id == "ServerTasks-4711"


def test_redirects_in_a_circle_end(httpserver, client):
    httpserver.expect_request(TASK_PATH).respond_with_data("", status=302, headers={"Location": TASK_PATH})

    with pytest.raises(OctopusRejected, match="more than"):
        client.task("ServerTasks-4711", space="Spaces-1")


def test_silent_server_is_a_passing_failure(httpserver, make_client):
    let_go = threading.Event()

    def silent(request: Request) -> Response:
        let_go.wait(10)
        return Response("{}")

    httpserver.expect_request(TASK_PATH).respond_with_handler(silent)

    with pytest.raises(OctopusUnreachable) as caught:
        make_client(timeout=(1, 0.2), attempts=1).task("ServerTasks-4711", space="Spaces-1")

    let_go.set()
    assert not caught.value.permanent


def test_absent_server_is_a_passing_failure_after_some_attempts(make_client, pauses):
    with pytest.raises(OctopusUnreachable) as caught:
        make_client("http://127.0.0.1:1", attempts=3).task("ServerTasks-4711")

    assert not caught.value.permanent
    assert len(pauses) == 2


@pytest.mark.parametrize("body", ["<html>Sign in</html>", "[]", "{}", '{"Id": "ServerTasks-4711"}'])
def test_answer_that_is_no_task_says_what_is_missing(httpserver, client, body):
    httpserver.expect_request(TASK_PATH).respond_with_data(body, content_type="application/json")

    with pytest.raises(OctopusUnreadable, match="expected|neither"):
        client.task("ServerTasks-4711", space="Spaces-1")


def test_pages_are_read_to_the_last_and_never_by_an_address_in_a_page(httpserver, client):
    first = [{"Id": "Machines-1", "Name": "web-01"}, {"Id": "Machines-2", "Name": "web-02"}]
    at = {"ids": "Machines-1,Machines-2,Machines-3", "take": str(IDS_A_PAGE)}
    httpserver.expect_request("/api/Spaces-1/machines", query_string={**at, "skip": "0"}).respond_with_json(
        page(first, has_next=True)
    )
    httpserver.expect_request("/api/Spaces-1/machines", query_string={**at, "skip": "2"}).respond_with_json(
        page([{"Id": "Machines-3", "Name": "web-03"}], has_next=False)
    )

    machines = client.machines(["Machines-1", "Machines-2", "Machines-3"], space="Spaces-1")

    assert {(m.id, m.name) for m in machines} == {("Machines-1", "web-01"), ("Machines-2", "web-02"),
                                                  ("Machines-3", "web-03")}  # fmt: skip


def test_many_ids_are_asked_for_in_several_requests(httpserver, client):
    httpserver.expect_request("/api/machines").respond_with_json(page([], has_next=False))

    client.machines([f"Machines-{number}" for number in range(IDS_A_PAGE + 1)])

    asked = [len(request.args["ids"].split(",")) for request, _ in httpserver.log]
    assert asked == [IDS_A_PAGE, 1]


def test_no_ids_are_no_request(httpserver, client):
    httpserver.expect_request("/api/machines").respond_with_json(page([{"Id": "Machines-1"}], has_next=False))

    assert client.machines([]) == ()
    assert httpserver.log == []


def test_machines_that_were_not_asked_for_are_left_out(httpserver, client):
    listed = [{"Id": "machines-1", "Name": "web-01"}, {"Id": "Machines-9", "Name": "other"}]
    httpserver.expect_request("/api/machines").respond_with_json(page(listed, has_next=False))

    assert [m.name for m in client.machines(["Machines-1"])] == ["web-01"]


def test_empty_page_that_promises_another_ends_the_reading(httpserver, client):
    httpserver.expect_request("/api/machines").respond_with_json(page([], has_next=True))

    assert client.machines(["Machines-1"]) == ()
    assert len(httpserver.log) == 1


def test_mangled_machine_ids_are_not_taken_for_all_machines(httpserver, client):
    body = {"Id": "Deployments-51", "SpecificMachineIds": "Machines-7"}
    httpserver.expect_request("/api/deployments/Deployments-51").respond_with_json(body)

    with pytest.raises(OctopusUnreadable, match="SpecificMachineIds"):
        client.deployment("Deployments-51")


@pytest.mark.parametrize("task_id", ["..", "../users/me", "ServerTasks-1?x", ""])
def test_id_cannot_leave_its_place_in_the_address(httpserver, client, task_id):
    with pytest.raises(OctopusRejected, match="expected an Octopus id"):
        client.task(task_id)

    assert httpserver.log == []


@pytest.mark.parametrize("space", ["../x", "..", "Spaces-1/../Spaces-2", "Default Space", "Spaces-1,Spaces-2", "all"])
@pytest.mark.parametrize("ask", [
    lambda client, space: client.task("ServerTasks-1", space=space),
    lambda client, space: client.tasks(["ServerTasks-1"], space=space),
    lambda client, space: client.tasks(["ServerTasks-1"], spaces=["Spaces-1", space]),
    lambda client, space: client.active_tasks(spaces=["Spaces-1", space]),
    lambda client, space: client.interruptions("ServerTasks-1", space=space),
    lambda client, space: list(client.events(from_ms=0, to_ms=1, spaces=[space])),
])  # fmt: skip
def test_space_that_is_no_id_is_in_no_address(httpserver, client, ask, space):
    with pytest.raises(OctopusRejected, match="expected the id of a space"):
        ask(client, space)

    assert httpserver.log == []
