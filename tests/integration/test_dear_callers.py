"""A token whose calls take long in Redis stands before others with one of them, and not with one a connection."""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.coordination.board import Board
from app.domain.run import RunRequest
from app.store.connection import connect
from app.store.fairness import serve, served
from app.web import create_app
from tests.conftest import TOKENS, WEBHOOK_SECRET, a_delivery, eventually, services_on

#: Callers of the dear token, machines of each of its runs, and calls of the other token.
CALLERS, MACHINES, CALLS = 8, 4_000, 8

#: Connections of the process.
CONNECTIONS = 3


class Order:
    """In which order the server begins calls, by a word in them. Source: ``MONITOR``."""

    def __init__(self, client, *words):
        self._client, self._words = client, words
        self.seen = []
        self._is_listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self):
        with self._client.monitor() as monitor:
            self._is_listening.set()
            for command in monitor.listen():
                text = command["command"]
                if text == "ECHO end":
                    return
                if command["client_type"] != "lua":
                    self.seen += [word for word in self._words if word in text][:1]

    def __enter__(self):
        self._thread.start()
        assert self._is_listening.wait(10)
        return self

    def __exit__(self, *_):
        self._client.echo("end")
        self._thread.join(10)


@pytest.fixture
def process(redis_url, board):
    """The board in a process with few connections, which are there."""
    client = connect(redis_url, max_connections=CONNECTIONS)
    other = Board(client, namespace=board.keys.namespace)
    other.place("ServerTasks-small")
    yield other
    client.close()


@pytest.fixture
def wide(process, board):
    """The token "wide" asks for places with many machines each, as fast as it is answered, while the test runs.

    Yields how often each of its callers was answered.
    """
    is_over, done = threading.Event(), Counter()

    def call(number):
        serve("token wide")
        machines = [f"Machines-{number}-{at}" for at in range(MACHINES)]
        while not is_over.is_set():
            process.join(RunRequest(f"ServerTasks-wide-{number}"), machines)
            done[number] += 1

    with ThreadPoolExecutor(CALLERS) as threads:
        calling = [threads.submit(call, number) for number in range(CALLERS)]
        try:
            yield done
        finally:
            is_over.set()
    for each in calling:
        each.result()


def test_call_of_another_token_finds_one_dear_call_in_front_of_it(process, board, wide):
    eventually(lambda: process.script.dear.is_dear("token wide"), timeout=30)
    serve("token small")

    with Order(board.client, "asks now", "ServerTasks-small", "ServerTasks-wide") as order:
        for _ in range(CALLS):
            board.client.echo("asks now")
            process.place("ServerTasks-small")

    calls = " ".join(order.seen).split("asks now")[1:]
    before = [call.partition("ServerTasks-small")[0].count("ServerTasks-wide") for call in calls]
    # One that Redis has just begun, and hardly ever a second; where all connections are taken, there are two to four.
    assert len(before) == CALLS and sum(before) <= 1.25 * CALLS


def test_each_call_of_the_dear_token_has_its_turn(process, board, wide):
    eventually(lambda: process.script.dear.is_dear("token wide"), timeout=30)
    done = Counter(wide)

    eventually(lambda: all(wide[number] >= done[number] + 2 for number in range(CALLERS)), timeout=30)


@pytest.mark.parametrize(
    ("method", "path", "options", "group"),
    [
        ("PUT", "/api/waits/ServerTasks-1", {"token": "step", "json": {"machines": ["Machines-1"]}}, "token test"),
        ("GET", "/api/waits/ServerTasks-1?block_seconds=1", {"token": "step"}, "token test"),
        ("DELETE", "/api/waits/ServerTasks-1", {"token": "step"}, "token test"),
        ("POST", "/webhooks/octopus", {"json": a_delivery("DeploymentStarted")}, "deliveries"),
        ("POST", "/webhooks/octopus", {"data": b"unreadable"}, "deliveries"),
        ("POST", "/webhooks/octopus", {"json": a_delivery("DeploymentStarted"), "secret": "wrong"}, "others"),
        ("GET", "/healthz", {}, "others"),
    ],
)
def test_request_is_that_of_its_token_or_of_all_like_it(board, redis_url, method, path, options, group):
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    app = create_app(services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens))
    groups = set()
    board.script.before = lambda: groups.update(served())
    token = options.get("token")
    headers = {"X-Octowait-Secret": options.get("secret", WEBHOOK_SECRET)}
    if token:
        headers["Authorization"] = f"Bearer {TOKENS[token]}"

    def ask():
        # What was served before on the same connection is somebody else's.
        serve("token of before")
        body = {name: options[name] for name in ("json", "data") if name in options}
        app.test_client().open(path, method=method, **body, headers=headers)
        groups.update(served())

    contextvars.copy_context().run(ask)

    assert groups == {group}
