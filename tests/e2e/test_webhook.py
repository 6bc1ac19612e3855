"""``POST /webhooks/octopus`` of a real server."""

from __future__ import annotations

import json
import socket

import pytest

from tests.conftest import Service, a_delivery


def test_an_event_counts_once_however_often_it_comes(service: Service) -> None:
    delivery = a_delivery("DeploymentStarted", number=7)

    outcomes = [service.deliver(delivery) for _ in range(5)]

    assert outcomes[0] == (202, {"event": "Events-7", "outcome": "applied"})
    assert outcomes[1:] == [(202, {"event": "Events-7", "outcome": "duplicate"})] * 4
    run = service.call("GET", "/api/runs/ServerTasks-4711")[1]
    assert [record["kind"] for record in run["timeline"]] == ["event"]


def test_an_end_releases_the_lease_of_its_task(service: Service) -> None:
    service.call("PUT", "/api/waits/ServerTasks-4711", {"machines": ["Machines-7"]})
    service.call("PUT", "/api/waits/ServerTasks-4712", {"machines": ["Machines-7"]})

    service.deliver(a_delivery("DeploymentFailed", number=8))

    assert service.call("GET", "/api/waits/ServerTasks-4711")[1]["state"] == "released"
    assert service.call("GET", "/api/waits/ServerTasks-4712")[1]["state"] == "granted"


def test_an_unknown_category_is_kept_for_the_audit_and_ignored(service: Service) -> None:
    answer = service.deliver(a_delivery("MachineHealthy", number=9))

    assert answer == (202, {"event": "Events-9", "outcome": "ignored"})
    records = service.call("GET", "/api/timeline")[1]["records"]
    assert [record["detail"]["category"] for record in records] == ["MachineHealthy"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{not json", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1, 2]", "no Payload.Event"),
        (b'{"Payload": {"Event": "x"}}', "no Payload.Event"),
        (b'{"Payload": {"Event": {"Id": "Events-1"}}}', "Category"),
        (b'{"Payload": {"Event": {"Id": "Events-1", "Category": "DeploymentStarted"}}}', "Occurred"),
    ],
)
def test_a_body_that_cannot_be_read_is_kept_and_listed(service: Service, body: bytes, reason: str) -> None:
    status, answer = service.deliver(body)

    assert (status, answer["outcome"]) == (202, "kept")
    kept = service.call("GET", "/api/kept")[1]["kept"]
    assert len(kept) == 1 and reason in kept[0]["reason"]


def test_the_subscriptions_header_value_is_never_stored_or_logged(service: Service, namespace: str, board) -> None:  # type: ignore[no-untyped-def]
    readable = a_delivery("DeploymentStarted", number=10)
    unlinked = a_delivery("DeploymentFailed", number=11, task=None, related=["Deployments-99"])
    truncated = json.dumps(readable).encode()[:-40]

    outcomes = [service.deliver(body)[1]["outcome"] for body in (readable, unlinked, truncated)]

    assert outcomes == ["applied", "kept", "kept"]
    stored = b"".join(board.client.dump(key) or b"" for key in board.client.scan_iter(f"octowait:{{{namespace}}}:*"))
    stored += json.dumps(service.call("GET", "/api/kept")[1]).encode() + service.log.read_bytes()
    assert b"Deployments-51" in stored
    assert b"header-value-of-the-subscription" not in stored


@pytest.mark.parametrize("secret", ["", "wrong", "webhook-secret-for-tests "])
def test_a_wrong_secret_is_refused_and_nothing_is_kept(service: Service, secret: str) -> None:
    status, problem = service.deliver(a_delivery(), secret=secret + "x")

    assert (status, problem["code"]) == (401, "unauthorized")
    assert service.call("GET", "/api/kept")[1]["kept"] == []
    assert service.call("GET", "/api/timeline")[1]["records"] == []


def test_a_body_of_ten_megabytes_is_refused_before_it_is_read(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(
            b"POST /webhooks/octopus HTTP/1.1\r\nHost: x\r\nX-Octowait-Secret: webhook-secret-for-tests\r\n"
            b"Content-Length: 10485760\r\n\r\n"
        )
        answer = b""
        while b"}" not in answer:
            answer += client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"too_large"' in answer


def test_a_chunked_body_cannot_grow_past_the_limit(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(
            b"POST /webhooks/octopus HTTP/1.1\r\nHost: x\r\nX-Octowait-Secret: webhook-secret-for-tests\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(5):
                client.sendall(chunk)
            client.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # it has answered and hung up in the middle of our body
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 413")


def test_nothing_is_lost_when_redis_is_away(service: Service, make_service, tmp_path) -> None:  # type: ignore[no-untyped-def]
    cut_off = make_service(OCTOWAIT_REDIS_URL=f"unix://{tmp_path}/nobody.sock")

    status, problem = cut_off.deliver(a_delivery(number=12))

    assert (status, problem["code"]) == (503, "store_unavailable")
    assert service.deliver(a_delivery(number=12))[1]["outcome"] == "applied"


def test_an_end_whose_task_only_octopus_knows_is_kept_and_can_be_replayed(service: Service) -> None:
    lonely = a_delivery("DeploymentFailed", number=13, task=None)
    assert service.deliver(lonely)[1] == {"event": "Events-13", "outcome": "kept"}

    service.deliver(a_delivery("DeploymentStarted", number=14, occurred="2026-01-01T00:00:00Z"))

    assert service.deliver(lonely)[1] == {"event": "Events-13", "outcome": "applied"}
    assert service.call("GET", "/api/runs/ServerTasks-4711")[1]["state"] == "ended"


@pytest.mark.parametrize("chunks", [b"ZZ\r\nabc\r\n0\r\n\r\n", b"5\r\nabc\r\n0\r\n\r\n"])
def test_a_broken_chunk_is_refused_as_what_it_is(service: Service, chunks: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(
            b"POST /webhooks/octopus HTTP/1.1\r\nHost: x\r\nX-Octowait-Secret: webhook-secret-for-tests\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + chunks
        )
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400")
    assert "Traceback" not in service.log.read_text()
