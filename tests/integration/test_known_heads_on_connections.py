"""On a connection come polls whose heads are known, and all else between them: each is answered for itself."""

from __future__ import annotations

import json

import pytest

from tests.bench.wire import Line, http, step_http


@pytest.fixture
def service(make_service, board, a_run):
    board.join(a_run(), {"Machines-1"})
    return make_service(OCTOWAIT_WEB_PROCESSES="1")


@pytest.fixture
def line(service):
    line = Line(service.port)
    yield line
    line.close()


def poll(service, task, token=None, query="?block_seconds=1"):
    return step_http("GET", task, token or service.tokens["step"], query)


def join(service, task):
    return step_http("PUT", task, service.tokens["step"], body=json.dumps({"machines": ["Machines-1"]}))


def of(line, data):
    line.send(data)
    return line.receive().decode()


def test_polls_and_all_else_take_turns_on_a_connection(service, line):
    for number in (901, 902, 903):
        task = f"ServerTasks-{number}"
        joined, polled = of(line, join(service, task)), of(line, poll(service, task))
        assert joined.startswith("HTTP/1.1 201 ") and f"claim-of-{task}" in joined
        assert polled.startswith("HTTP/1.1 200 ") and f"claim claim-of-{task}" in polled
        assert of(line, http("GET", "/healthz", "none")).startswith("HTTP/1.1 200 ")


def test_a_known_head_opens_nothing_to_another_token(service, line):
    of(line, join(service, "ServerTasks-901"))
    answers = [of(line, poll(service, "ServerTasks-901", token)) for token in (None, "wrong" * 8, None)]

    assert [answer.split(" ", 2)[1] for answer in answers] == ["200", "401", "200"]


def test_a_head_that_comes_in_pieces_is_answered(service, line):
    of(line, join(service, "ServerTasks-901"))
    request = poll(service, "ServerTasks-901")
    for first in (1, 90, -3):
        line.send(request[:first])
        assert of(line, request[first:]).startswith("HTTP/1.1 200 ")


def test_requests_that_come_at_once_are_answered_in_their_order(service, line):
    joins = [join(service, f"ServerTasks-{number}") for number in (901, 902)]
    polls = [poll(service, f"ServerTasks-{number}") for number in (901, 902, 901)]
    line.send(b"".join([polls[0], joins[0], polls[0], joins[1], *polls]))
    data = b""
    while data.count(b" 404 ") + data.count(b" 200 OK") + data.count(b" 201 ") < 7:
        data += line.socket.recv(65536)

    states = [part.split(b" ", 1)[0].decode() for part in data.split(b"HTTP/1.1 ")[1:]]
    assert states == ["404", "201", "200", "201", "200", "200", "200"]
