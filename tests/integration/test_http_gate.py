"""What commands make of an octowait that breaks off in the middle of an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from pytest_httpserver import HTTPServer

from app.client.api import CannotReach, Refused
from app.client.http import HttpGate

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TEXT = "web-01 – ü\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], HttpGate]]:
    """A gate whose server says just that to the first who asks, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer(said: bytes) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        def start(said: bytes) -> HttpGate:
            threading.Thread(target=answer, args=(said,), daemon=True).start()
            return HttpGate(f"http://127.0.0.1:{server.getsockname()[1]}", "a-token-for-tests")

        yield start


@pytest.fixture
def elsewhere() -> Iterator[HTTPServer]:
    with HTTPServer(port=0) as other:
        other.expect_request("/api/machines").respond_with_json({"machines": []})
        yield other


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_token_follows_no_redirect_to_another_origin(
    httpserver: HTTPServer, elsewhere: HTTPServer, status: int, method: str
) -> None:
    headers = {"Location": elsewhere.url_for("/api/machines")}
    httpserver.expect_request("/api/machines").respond_with_data("", status=status, headers=headers)

    with pytest.raises(Refused):
        HttpGate(httpserver.url_for(""), "a-token-for-tests").call(method, "/api/machines", body=None)

    assert elsewhere.log == []


def test_redirect_within_the_own_origin_is_followed(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/old/api/machines").respond_with_data("", status=302, headers={"Location": "/api/new"})
    httpserver.expect_request("/api/new", headers={"Authorization": "Bearer a-token-for-tests"}).respond_with_json({})

    assert HttpGate(httpserver.url_for("/old"), "a-token-for-tests").call("GET", "/api/machines") == {}


def test_stream_is_read_as_it_was_sent(answering: Callable[[bytes], HttpGate]) -> None:
    text = TEXT.encode()
    gate = answering(CHUNKED + chunk(text[:9]) + chunk(text[9:]) + chunk(b""))

    assert "".join(gate.lines("/api/timeline", query={})) == TEXT


@pytest.mark.parametrize(
    "said",
    [
        CHUNKED + chunk(TEXT.encode()),
        CHUNKED + chunk(TEXT.encode()) + b"ff\r\n" + TEXT.encode(),
        HEAD + b"Content-Length: 999\r\n\r\n" + TEXT.encode(),
    ],
    ids=["between two pieces", "in a piece", "before its length"],
)
def test_stream_that_breaks_off_is_not_taken_for_a_whole_one(
    answering: Callable[[bytes], HttpGate], said: bytes
) -> None:
    """An export or a report that lacks its end must not look like one that has it."""
    gate, came = answering(said), []

    with pytest.raises(CannotReach, match="broke off"):
        came.extend(gate.lines("/api/timeline", query={}))

    assert "".join(came).startswith(TEXT)


def test_answer_that_breaks_off_is_said_to(answering: Callable[[bytes], HttpGate]) -> None:
    gate = answering(HEAD + b'Content-Length: 999\r\n\r\n{"records": [')

    with pytest.raises(CannotReach, match="broke off"):
        gate.call("GET", "/api/timeline")
