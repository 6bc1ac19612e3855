"""What somebody can do to a web process who has no secret, or too much of one, and what comes of it."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.web.api.joins_in_turn import MOST_AT_ONCE
from tests.conftest import TOKENS, WEBHOOK_SECRET, Service, a_delivery, eventually

SHORT = "shorty-1"


class Connection:
    """A client that says just what a test has it say."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=30)

    def send(self, head: str, body: bytes = b"") -> None:
        text = "\r\n".join([*head.strip().splitlines(), "Host: octowait", "", ""])
        self.socket.sendall(text.encode() + body)

    def answer(self) -> tuple[int, str]:
        """The next answer, whole: its status, and its head and body."""
        text = b""
        while b"\r\n\r\n" not in text:
            text += self._more()
        head, _, body = text.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-len"))
        while len(body) < length:
            body += self._more()
        return int(head.split()[1]), (head + b"\n\n" + body).decode()

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        assert data, "the connection was cut"
        return data

    def ends(self) -> bool:
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        return True


@pytest.fixture
def connect() -> Iterator[Callable[[Service], Connection]]:
    made: list[Connection] = []

    def make(service: Service) -> Connection:
        made.append(Connection(service))
        return made[-1]

    yield make
    for connection in made:
        connection.socket.close()


SIGNED = f"Authorization: Bearer {TOKENS['admin']}\nContent-Type: application/json"
HALF_SENT = [
    f"PUT /api/waits/ServerTasks-1 HTTP/1.1\n{SIGNED}\nContent-Length: 100",
    f"PUT /api/waits/ServerTasks-1 HTTP/1.1\n{SIGNED}\nTransfer-Encoding: chunked",
    f"POST /webhooks/octopus HTTP/1.1\nX-Octowait-Secret: {WEBHOOK_SECRET}\nContent-Length: 100",
    "POST /webhooks/octopus HTTP/1.1\nContent-Length: 100",
    "POST /sign-in HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 100",
    "GET /healthz HTTP/1.1\nContent-Length: 100",
]


def test_half_sent_body_keeps_no_connection(make_service, connect):
    """All at once: the server waits for the rest of each as long as it keeps a connection that is idle."""
    service = make_service(OCTOWAIT_BODY_SECONDS="1")
    connections = {head: connect(service) for head in HALF_SENT}

    for head, connection in connections.items():
        connection.send(head, b"{")

    for head, connection in connections.items():
        status, text = connection.answer()
        assert status in (200, 401, 408) and (status != 408 or "OCTOWAIT_BODY_SECONDS" in text), head
    for head, connection in connections.items():
        assert connection.ends(), head


def test_half_sent_bodies_keep_no_other_from_joining(make_service, connect):
    service = make_service()
    for _ in range(MOST_AT_ONCE):
        connect(service).send(HALF_SENT[0], b"{")

    status, answer = service.call("PUT", "/api/waits/ServerTasks-2", {"machines": ["Machines-7"]}, timeout=5)

    assert (status, answer["state"]) == (201, "granted")


def body_of(size: int, chunked: bool) -> tuple[str, bytes]:
    body = json.dumps({"machines": ["Machines-7"], "x": "x" * size}).encode()
    if chunked:
        return "Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return f"Content-Length: {len(body)}", body


@pytest.mark.parametrize("size", [300 << 10, 7 << 20])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (f"PUT /api/waits/ServerTasks-1 HTTP/1.1\n{SIGNED}", {413}),
        (f"POST /webhooks/octopus HTTP/1.1\nX-Octowait-Secret: {WEBHOOK_SECRET}", {413}),
        ("POST /webhooks/octopus HTTP/1.1\nX-Octowait-Secret: wrong", {401}),
        # Of a form in chunks, which no browser sends, there is nothing behind the limit.
        ("POST /sign-in HTTP/1.1\nContent-Type: application/x-www-form-urlencoded", {413, 403}),
        ("POST /nothing HTTP/1.1", {404}),
    ],
)
def test_body_over_the_limit_is_answered_and_not_cut(service, connect, head, expected, size, chunked):
    connection, (length, body) = connect(service), body_of(size, chunked)

    connection.send(f"{head}\n{length}\nConnection: close", body)

    assert connection.answer()[0] in expected
    assert connection.ends()


def test_streams_leave_connections_for_steps(make_service, connect, board):
    """A process may have so few descriptors here that a quarter of them are a handful of streams."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    service = make_service()
    [worker] = _children(service)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (240, hard))

    streams = []
    for _ in range(40):
        connection = connect(service)
        connection.send(f"GET /api/stream HTTP/1.1\nAuthorization: Bearer {TOKENS['viewer']}")
        streams.append(connection.socket.recv(4096).split()[1])

    # Half of 240 can be connections that stay, and a quarter of those streams.
    assert streams == [b"200"] * 30 + [b"503"] * 10
    assert service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]})[0] == 201


def _children(service: Service) -> list[int]:
    assert service._process and service._process.pid
    path = Path(f"/proc/{service._process.pid}/task/{service._process.pid}/children")
    return eventually(lambda: [int(pid) for pid in path.read_text().split()])


def test_peer_on_this_machine_sets_no_prefix_no_scheme_and_no_address(service, connect):
    connection = connect(service)

    connection.send("GET / HTTP/1.1\nSCRIPT_NAME: /evil\nPATH_INFO: /health\nX-Forwarded-Proto: https\n"
                    "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Prefix: /evil")  # fmt: skip

    status, text = connection.answer()
    assert status == 303 and "evil" not in text and "/sign-in?next=/" in text
    assert "Strict-Transport-Security" not in text


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"OCTOWAIT_PUBLIC_URL": "https://octowait.example.com"}, ""),
        ({"OCTOWAIT_TRUSTED_PROXIES": "127.0.0.1"}, "\nX-Forwarded-Proto: https"),
    ],
)
@pytest.mark.parametrize("path", ["/healthz", "/sign-in", "/api/waits", "/openapi.json"])
def test_browser_stays_on_tls(make_service, connect, settings, headers, path):
    connection = connect(make_service(**settings))

    connection.send(f"GET {path} HTTP/1.1{headers}")

    assert "Strict-Transport-Security: max-age=31536000" in connection.answer()[1]


def guess(service: Service, number: int, *, address: str | None = None, secret: str = "") -> int:
    headers = {"Authorization": f"Bearer {secret or f'guess-{number}'}"}
    headers |= {"X-Forwarded-For": address} if address else {}
    return service.call("GET", "/api/waits", role=None, headers=headers)[0]


def test_tokens_cannot_be_guessed_one_after_the_other(make_service):
    tokens = ",".join([*(f"{role}:test:{token}" for role, token in TOKENS.items()), f"viewer:old:{SHORT}"])
    service = make_service(OCTOWAIT_TOKENS=tokens)
    assert guess(service, 0, secret=SHORT) == 200

    statuses = [guess(service, number) for number in range(70)]

    assert statuses == [401] * 60 + [429] * 10
    # Right or wrong is not told any more of what could be guessed; a token that nobody guesses goes on being let in.
    assert guess(service, 0, secret=SHORT) == 429
    assert service.call("GET", "/api/waits", role="viewer")[0] == 200


def test_behind_a_proxy_each_client_has_tries_of_its_own(make_service):
    service = make_service(OCTOWAIT_TRUSTED_PROXIES="127.0.0.0/8")

    for number in range(61):
        last = guess(service, number, address="203.0.113.66, 198.51.100.1")

    assert last == 429
    assert guess(service, 0, address="203.0.113.66, 198.51.100.2") == 401
    assert guess(service, 0, address="198.51.100.2, 198.51.100.1") == 429  # what stands before it is anybody's word


def test_without_a_trusted_proxy_nobody_chooses_an_address(service):
    statuses = [guess(service, number, address=f"198.51.100.{number}") for number in range(62)]

    assert statuses[-1] == 429


def sign_in(service: Service, address: str, token: str = "wrong") -> int:
    headers = {"X-Forwarded-For": address, "Content-Type": "application/x-www-form-urlencoded"}
    return service.call("POST", "/sign-in", f"token={token}".encode(), role=None, headers=headers)[0]


def test_sign_in_behind_a_proxy_is_limited_by_client(make_service):
    service = make_service(OCTOWAIT_TRUSTED_PROXIES="127.0.0.1")

    statuses = [sign_in(service, "2001:db8::1") for _ in range(21)]

    assert statuses == [403] * 20 + [429]
    assert sign_in(service, "2001:db8::2") == 429  # of the same network, which one client has as a whole
    assert sign_in(service, "2001:db8:1::1") == 403


def test_refused_calls_are_counted_logged_and_listed(service):
    refused: list[tuple[Any, ...]] = [
        ("GET", "/api/waits", None, {}),
        ("GET", "/api/waits", None, {"Authorization": "Bearer wrong-token-of-somebody"}),
        ("GET", "/api/kept", "viewer", {}),
        ("PUT", "/api/waits/ServerTasks-1", "viewer", {}),
    ]
    for method, path, role, headers in refused:
        for _ in range(2):
            body = {} if method == "PUT" else None
            status, answer = service.call(method, path, body, role=role, headers=headers)
            assert status in (401, 403)
            assert ("expected one of OCTOWAIT_TOKENS" in answer["detail"]) == bool(headers), (
                "a wrong token is no missing one"
            )
    service.deliver(a_delivery(), secret="wrong")

    # The first was said at once, what came within a minute of it is counted together.
    assert "calls refused" in service.log.read_text()
    [listed] = service.call("GET", "/api/refusals")[1]["refusals"]
    assert (listed["who"], listed["address"], listed["count"]) == ("nobody", "127.0.0.1", 1)
    assert "with a token of role viewer" in listed["why"]
    metrics = eventually(
        lambda: _if_in('octowait_refusals_total{reason="forbidden"} 4.0', service.call("GET", "/metrics")[1])
    )
    assert 'octowait_refusals_total{reason="unauthorized"} 5.0' in metrics
    assert "wrong-token-of-somebody" not in service.log.read_text()


def _if_in(part: str, text: str) -> str:
    return text if part in text else ""
