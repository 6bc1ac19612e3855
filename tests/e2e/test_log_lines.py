"""What the log of real processes says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.settings import Settings
from tests.conftest import TOKENS, WEBHOOK_SECRET, Service, a_delivery, eventually


def lines(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log.read_text().splitlines()]


def requests(service: Service, path: str) -> list[dict[str, Any]]:
    return [line for line in lines(service) if line["event"] == "request" and line["path"] == path]


@pytest.fixture
def verbose(make_service: Callable[..., Service]) -> Service:
    return make_service(OCTOWAIT_LOG_FORMAT="json", OCTOWAIT_LOG_LEVEL="debug")


def test_each_request_is_a_line_that_names_its_run_and_machines(verbose: Service) -> None:
    verbose.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7", "Machines-8"]})
    verbose.call(
        "PUT",
        "/api/machines/Machines-9/reservation",
        {"note": "disk", "create": True},
        headers={"X-Request-ID": "from-proxy"},
    )
    verbose.deliver(a_delivery(task=4711, number=5))

    [wait] = eventually(lambda: requests(verbose, "/api/waits/ServerTasks-1"))
    [reserved] = eventually(lambda: requests(verbose, "/api/machines/Machines-9/reservation"))
    [webhook] = eventually(lambda: requests(verbose, "/webhooks/octopus"))

    assert (wait["task"], wait["machines"], wait["status"]) == ("ServerTasks-1", ["Machines-7", "Machines-8"], 201)
    assert (reserved["machines"], reserved["request_id"]) == (["Machines-9"], "from-proxy")
    assert (webhook["task"], webhook["event_id"]) == ("ServerTasks-4711", "Events-5")
    assert len({line["request_id"] for line in (wait, reserved, webhook)}) == 3
    assert "task" not in reserved, "nothing is left of the request before"


def test_what_is_asked_about_a_run_names_its_machines(verbose: Service) -> None:
    for task in ("ServerTasks-1", "ServerTasks-2"):
        verbose.call("PUT", f"/api/waits/{task}", {"machines": ["Machines-7"]})
    verbose.call("GET", "/api/waits/servertasks-2")
    verbose.call("POST", "/api/waits/servertasks-2/priority", {"priority": 5, "reason": "hotfix"})
    verbose.call("POST", "/api/waits/servertasks-2/force-release", {"reason": "stuck"})

    for path in ("", "/priority", "/force-release"):
        [line] = eventually(lambda path=path: requests(verbose, f"/api/waits/servertasks-2{path}"))
        assert (line["task"], line["machines"], line["status"]) == ("ServerTasks-2", ["Machines-7"], 200)


def test_requests_are_not_told_at_the_usual_level(make_service: Callable[..., Service]) -> None:
    service = make_service(OCTOWAIT_LOG_FORMAT="json")
    service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]})

    assert not any(line["event"] == "request" for line in lines(service))


def test_no_secret_is_in_the_log(verbose: Service) -> None:
    for role in ("step", "viewer", "admin"):
        verbose.call("GET", f"/api/waits?token={TOKENS[role]}", role=role)
    verbose.call("GET", f"/api/runs/{TOKENS['admin']}")
    verbose.call("GET", f"/nowhere/{WEBHOOK_SECRET}", role=None, headers={"X-Request-ID": "x" * 65})
    verbose.deliver(a_delivery(), secret="wrong")
    verbose.deliver(b'{"Payload": ' + WEBHOOK_SECRET.encode())
    eventually(lambda: len(requests(verbose, "/webhooks/octopus")) == 2)

    text = verbose.log.read_text()
    assert "[redacted]" in text
    assert not any(secret in text for secret in (*TOKENS.values(), WEBHOOK_SECRET))


def test_lines_of_a_job_name_it(make_service: Callable[..., Service], board: Any, redis_url: str) -> None:
    from app.domain.events import parse_event
    from app.jobs import RESOLVE, enqueue
    from tests.conftest import an_event

    service = make_service(
        OCTOWAIT_LOG_FORMAT="json", OCTOWAIT_OCTOPUS_URL="http://127.0.0.1:9", OCTOWAIT_OCTOPUS_API_KEY="API-HIDDEN"
    )
    worker = service.spawn("worker")
    try:
        board.deliver(parse_event(an_event(task=4711)))
        enqueue(board.client, Settings(redis_url=redis_url, namespace=board.keys.namespace), RESOLVE)
        [told] = eventually(
            lambda: [line for line in lines(service) if line.get("task") == "ServerTasks-4711"], timeout=30
        )
    finally:
        worker.terminate()
        worker.wait(20)

    assert told["job"] == "resolve"
    assert "-resolve-" in told["job_id"]
    assert "API-HIDDEN" not in service.log.read_text()
