"""The HTTP contract of a real server."""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.conftest import Service, a_delivery, eventually

WAIT = {
    "space_id": "Spaces-1", "machines": ["Machines-7", "Machines-12"], "deployment_id": "Deployments-51",
    "runbook_run_id": None, "project": {"id": "Projects-7", "name": "Web"},
    "environment": {"id": "Environments-2", "name": "Production"}, "release": {"id": "Releases-90", "version": "1.4.0"},
    "tenant": None, "url": "https://octopus.example.com/app#/Spaces-1/tasks/ServerTasks-1", "priority": 0,
    "timeout_seconds": 7200, "on_behalf_of": None, "parked": False,
}  # fmt: skip


def join(service: Service, number: int, *machines: str, **more: Any) -> dict[str, Any]:
    status, answer = service.call(
        "PUT", f"/api/waits/ServerTasks-{number}", {"machines": machines, **more}, role="step"
    )
    assert status in (200, 201), answer
    return dict(answer)


def test_the_whole_body_of_the_contract_is_taken_and_asking_again_is_free(service: Service) -> None:
    first = service.call("PUT", "/api/waits/ServerTasks-1", WAIT, role="step")
    second = service.call("PUT", "/api/waits/servertasks-1", WAIT, role="step")

    assert (first[0], second[0]) == (201, 200)
    assert first[1]["state"] == "granted"
    assert first[1]["fencing_token"] == second[1]["fencing_token"]
    assert first[1]["wake_key"].endswith(":wake:ServerTasks-1")


def test_a_waiter_is_told_who_holds_what_and_since_when(service: Service) -> None:
    service.call("PUT", "/api/waits/ServerTasks-1", WAIT)

    answer = join(service, 2, "Machines-7")

    assert (answer["state"], answer["place"], answer["fencing_token"]) == ("waiting", 1, None)
    holder = answer["machines"][0]["holders"][0]
    assert (holder["task_id"], holder["kind"], holder["project"]) == ("ServerTasks-1", "lease", "Web")
    assert answer["message"].startswith(
        "Waiting for Machines-7, place 1: ServerTasks-1 (Web 1.4.0 to Production) has held it for"
    )


def test_a_blocking_get_answers_at_the_release(service: Service) -> None:
    join(service, 1, "Machines-7")
    join(service, 2, "Machines-7")
    answers: list[Any] = []
    waiter = threading.Thread(
        target=lambda: answers.append(service.call("GET", "/api/waits/ServerTasks-2?block_seconds=30", role="step"))
    )
    waiter.start()
    eventually(lambda: "octowait_blocked_requests 1.0" in service.call("GET", "/metrics", role="viewer")[1])

    released_at = time.monotonic()
    service.call("DELETE", "/api/waits/ServerTasks-1", role="step")
    waiter.join(30)

    assert time.monotonic() - released_at < 5
    assert answers[0][1]["state"] == "granted"


def test_a_blocking_get_says_waiting_when_its_time_is_over(service: Service) -> None:
    join(service, 1, "Machines-7")
    join(service, 2, "Machines-7")

    status, answer = service.call("GET", "/api/waits/ServerTasks-2?block_seconds=0.2", role="step")

    assert (status, answer["state"]) == (200, "waiting")


def test_an_open_blocking_poll_is_a_sign_of_life(make_service: Callable[..., Service]) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="1")
    join(service, 1, "Machines-7")
    join(service, 2, "Machines-7")

    answer = service.call("GET", "/api/waits/ServerTasks-2?block_seconds=4", role="step")[1]

    assert answer["state"] == "waiting"


def test_a_waiter_that_hangs_up_while_it_blocks_leaves_the_line(make_service: Callable[..., Service]) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="1")
    join(service, 1, "Machines-7")
    join(service, 2, "Machines-7")
    with pytest.raises(OSError):
        service.call("GET", "/api/waits/ServerTasks-2?block_seconds=50", role="step", timeout=0.1)

    state = eventually(lambda: service.call("GET", "/api/runs/ServerTasks-2")[1]["state"] == "expired")

    assert state


def test_text_for_shells_is_two_lines(service: Service) -> None:
    text = {"Accept": "text/plain"}

    granted = service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]}, headers=text)[1]
    waiting = service.call("PUT", "/api/waits/ServerTasks-2", {"machines": ["Machines-7"]}, headers=text)[1]
    released = service.call("DELETE", "/api/waits/ServerTasks-1", headers=text)[1]

    assert re.fullmatch(r"granted [0-9]+", granted.splitlines()[0])
    assert [answer.splitlines()[0] for answer in (waiting, released)] == ["waiting 1", "released 0"]
    assert all(len(answer.splitlines()) == 2 for answer in (granted, waiting, released))


def test_delete_says_what_it_did(service: Service) -> None:
    join(service, 1, "Machines-7")
    join(service, 2, "Machines-7")

    outcomes = [
        service.call("DELETE", f"/api/waits/ServerTasks-{n}?reason=done", role="step")[1]["outcome"]
        for n in (2, 1, 1, 9)
    ]

    assert outcomes == ["left", "released", "nothing", "nothing"]


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"{", 400, "not_json", "expected JSON"),
        (b"[]", 422, "invalid", "body"),
        ({}, 422, "invalid", "machines"),
        ({"machines": []}, 422, "invalid", "machines"),
        ({"machines": ["Mach ines"]}, 422, "invalid", "machines.0"),
        ({"machines": ["Machines-7\u0000"]}, 422, "invalid", "machines.0"),
        (
            {"machines": ["Machines-7"], "space_id": "../x"},
            422,
            "invalid",
            "space_id: expected an Octopus id such as Spa",
        ),
        ({"machines": ["Machines-7"], "tenant": {"id": "a/b"}}, 422, "invalid", "tenant.id: expected an Octopus id"),
        ({"machines": ["Machines-7"], "priority": "high"}, 422, "invalid", "priority"),
        ({"machines": ["Machines-7"], "priority": True}, 422, "invalid", "priority"),
        ({"machines": ["Machines-7"], "prioritty": 1}, 422, "invalid", "prioritty"),
        ({"machines": ["Machines-7"], "timeout_seconds": 0}, 422, "invalid", "timeout_seconds"),
        ({"machines": ["Machines-7"], "url": "javascript:alert(1)"}, 422, "invalid", "url"),
    ],
)
def test_bad_input_is_named(service: Service, body: Any, status: int, code: str, said: str) -> None:
    answer = service.call("PUT", "/api/waits/ServerTasks-1", body, role="step")

    assert (answer[0], answer[1]["code"]) == (status, code)
    assert said in answer[1]["detail"]
    assert set(answer[1]) >= {"status", "title", "detail", "code"}


@pytest.mark.parametrize("cursor", ["%D9%A3-%D9%A3", "x", "1-99999999999999999999"])
def test_a_bad_cursor_is_named(service: Service, cursor: str) -> None:
    status, problem = service.call("GET", f"/api/timeline?format=ndjson&cursor={cursor}")

    assert (status, problem["code"]) == (422, "invalid")


@pytest.mark.parametrize("last", ["\xb2-1", "99999999999999999999999999-1", "x"])
def test_a_bad_last_event_id_is_passed_over(service: Service, last: str) -> None:
    request = urllib.request.Request(f"{service.url}/api/stream")
    request.add_header("Authorization", f"Bearer {service.tokens['viewer']}")
    request.add_header("Last-Event-ID", last)

    with urllib.request.urlopen(request, timeout=10) as stream:
        assert next(iter(stream)).startswith(b": connected")
        join(service, 1, "Machines-7")
        assert next(line for line in stream if line.startswith(b"data: "))


def test_a_method_that_is_not_allowed_is_told_which_are(service: Service) -> None:
    request = urllib.request.Request(f"{service.url}/api/waits", method="PUT", data=b"{}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    refused.value.close()

    assert refused.value.code == 405
    assert "GET" in refused.value.headers["Allow"]


def test_asking_for_more_than_it_holds_is_a_conflict(service: Service) -> None:
    join(service, 1, "Machines-7")

    status, problem = service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7", "Machines-12"]})

    assert (status, problem["code"]) == (409, "holds_others")
    assert problem["detail"] == "ServerTasks-1 holds Machines-7: release before asking for Machines-12"


ROLE_OF = {
    ("PUT", "/api/waits/ServerTasks-1"): "step",
    ("GET", "/api/waits/ServerTasks-1"): "step",
    ("DELETE", "/api/waits/ServerTasks-1"): "step",
    ("GET", "/api/waits"): "viewer",
    ("GET", "/api/machines"): "viewer",
    ("GET", "/api/machines/Machines-7"): "viewer",
    ("GET", "/api/runs/ServerTasks-1"): "viewer",
    ("GET", "/api/timeline"): "viewer",
    ("GET", "/api/stream"): "viewer",
    ("PUT", "/api/machines/Machines-7/reservation"): "admin",
    ("DELETE", "/api/machines/Machines-7/reservation"): "admin",
    ("POST", "/api/waits/ServerTasks-1/force-release"): "admin",
    ("POST", "/api/waits/ServerTasks-1/priority"): "admin",
    ("GET", "/api/kept"): "admin",
}


def test_every_call_asks_for_its_role(service: Service) -> None:
    for (method, path), role in ROLE_OF.items():
        body = {} if method in ("PUT", "POST") else None
        for wrong in {"step", "viewer"} - {role}:
            assert service.call(method, path, body, role=wrong)[0] == 403, (method, path, wrong)
        assert service.call(method, path, body, role=None)[0] == 401
        assert service.call(method, path, body, role=None, headers={"Authorization": "Bearer x"})[0] == 401


def test_the_document_is_valid_and_names_every_call(service: Service) -> None:
    document = service.call("GET", "/openapi.json", role=None)[1]

    validate(document)
    assert document["openapi"].startswith("3.1")
    for method, path in ROLE_OF:
        generic = path.replace("ServerTasks-1", "{task_id}").replace("Machines-7", "{machine_id}")
        assert method.lower() in document["paths"][generic]


def test_a_reservation_holds_until_it_is_ended(service: Service) -> None:
    reserved = service.call("PUT", "/api/machines/Machines-7/reservation", {"note": "disk swap", "create": True})[1]
    waiting = join(service, 1, "Machines-7")

    ended = service.call("DELETE", "/api/machines/Machines-7/reservation")[1]

    assert (reserved["note"], reserved["by"]) == ("disk swap", "test")
    assert waiting["machines"][0]["holders"][0]["kind"] == "reservation"
    assert "disk swap" in waiting["message"]
    assert ended == {"outcome": "unreserved"}
    assert service.call("GET", "/api/waits/ServerTasks-1", role="step")[1]["state"] == "granted"


def test_a_reservation_that_has_ended_already_is_refused(service: Service) -> None:
    body = {"note": "x", "create": True, "until_ms": 1_577_836_800_000}
    status, problem = service.call("PUT", "/api/machines/Machines-7/reservation", body)

    assert (status, problem["code"]) == (422, "in_the_past")
    assert "2020-01-01 00:00:00 UTC" in problem["detail"] and "1577836800000" not in problem["detail"]


def test_a_lost_end_is_repaired_by_force_with_a_reason(service: Service) -> None:
    service.call("PUT", "/api/waits/ServerTasks-1", WAIT)
    join(service, 2, "Machines-7")

    without = service.call("POST", "/api/waits/ServerTasks-1/force-release", {})
    forced = service.call("POST", "/api/waits/ServerTasks-1/force-release", {"reason": "its server burned down"})

    assert without[0] == 422
    assert forced == (200, {"outcome": "released"})
    assert service.call("GET", "/api/waits/ServerTasks-2", role="step")[1]["state"] == "granted"
    record = service.call("GET", "/api/timeline?kind=released")[1]["records"][0]
    assert (record["cause"], record["detail"]["by"]) == ("forced", "test")
    assert record["detail"]["reason"] == "its server burned down"


def test_priority_moves_a_waiter_and_says_who_and_why(service: Service) -> None:
    for number in (1, 2, 3):
        join(service, number, "Machines-7")

    status, moved = service.call("POST", "/api/waits/ServerTasks-3/priority", {"priority": 5, "reason": "hotfix"})
    held = service.call("POST", "/api/waits/ServerTasks-1/priority", {"priority": 5, "reason": "x"})

    assert (status, moved["place"]) == (200, 1)
    assert (held[0], held[1]["code"]) == (409, "not_waiting")
    detail = service.call("GET", "/api/timeline?kind=prioritized")[1]["records"][0]["detail"]
    assert detail == {"by": "test", "reason": "hotfix", "from": 0, "to": 5}


def test_pages_of_the_timeline_cover_it_once(service: Service) -> None:
    for number in range(1, 6):
        join(service, number, "Machines-7")
    seen: list[str] = []
    cursor = ""
    while True:
        page = service.call("GET", f"/api/timeline?limit=2&machine_id=machines-7{cursor}", role="viewer")[1]
        seen += [record["id"] for record in page["records"]]
        if not page["next_cursor"]:
            break
        cursor = f"&cursor={page['next_cursor']}"

    streamed = service.call("GET", "/api/timeline?format=ndjson", role="viewer")[1].splitlines()
    table = service.call("GET", "/api/timeline?format=csv", role="viewer")[1].splitlines()
    assert len(seen) == len(set(seen)) == len(streamed) == len(table) - 1 == 6


def test_the_stream_tells_each_record_and_what_was_missed(service: Service) -> None:
    join(service, 1, "Machines-7")
    missed = service.call("GET", "/api/timeline")[1]["records"]
    request = urllib.request.Request(f"{service.url}/api/stream")
    request.add_header("Authorization", f"Bearer {service.tokens['viewer']}")
    request.add_header("Last-Event-ID", missed[0]["id"])

    with urllib.request.urlopen(request, timeout=10) as stream:
        lines = iter(stream)
        assert next(lines).startswith(b": connected")
        told = [next(line for line in lines if line.startswith(b"id: ")).decode()[4:].strip()]
        join(service, 2, "Machines-7")
        told.append(next(line for line in lines if line.startswith(b"id: ")).decode()[4:].strip())

    records = service.call("GET", "/api/timeline")[1]["records"]
    assert told == [records[1]["id"], records[2]["id"]]


def test_everyone_waiting_is_listed_in_order_with_blockers(service: Service) -> None:
    for number in (1, 2, 3):
        join(service, number, "Machines-7")

    waits = service.call("GET", "/api/waits", role="viewer")[1]["waits"]

    assert [(wait["task_id"], wait["place"]) for wait in waits] == [("ServerTasks-2", 1), ("ServerTasks-3", 2)]
    assert waits[1]["machines"][0]["ahead"] == ["ServerTasks-2"]
    assert waits[1]["machines"][0]["holders"][0]["task_id"] == "ServerTasks-1"


def test_a_machine_and_a_run_tell_their_story(service: Service) -> None:
    service.call("PUT", "/api/waits/ServerTasks-1", WAIT)
    service.deliver(a_delivery("DeploymentStarted", number=1, task=1))
    service.call("DELETE", "/api/waits/ServerTasks-1")

    run = service.call("GET", "/api/runs/servertasks-1", role="viewer")[1]
    machine = service.call("GET", "/api/machines/machines-12", role="viewer")[1]

    assert [record["kind"] for record in run["timeline"]] == ["joined", "granted", "event", "released"]
    assert run["info"]["project"]["name"] == "Web" and run["held_ms"] >= 0
    assert (machine["status"], [r["task_id"] for r in machine["last_runs"]]) == ("idle", ["ServerTasks-1"])
    assert service.call("GET", "/api/runs/ServerTasks-99")[0] == 404
    assert service.call("GET", "/api/machines/Machines-99")[0] == 404
