"""Opens many blocked requests or blocked Redis reads, and knows when all of them block."""

from __future__ import annotations

import time
from collections.abc import Sequence

from app.coordination.board import Board
from tests.bench.wire import Line, http, resp, seen_in, step_http
from tests.bench.world import calls_of
from tests.conftest import Service, eventually

#: Connections opened at once; more would overflow the server's backlog.
BATCH = 1_000


def get(task: str, token: str) -> bytes:
    """The call with which a step of before version 2 blocks, as long as it may: without a claim."""
    return http("GET", f"/api/waits/{task}?block_seconds=55", token)


def get_with_claim(task: str, token: str, seen: str) -> bytes:
    """The call with which a step blocks, that repeats what it has *seen*."""
    return step_http("GET", task, token, "?block_seconds=50", seen=seen)


def look(service: Service, task: str) -> str:
    """What the step of a task sees that looks at it now."""
    line = Line(service.port)
    try:
        line.send(step_http("GET", task, service.tokens["step"], "?look=1"))
        return seen_in(line.receive())
    finally:
        line.close()


def block_http(board: Board, service: Service, tasks: Sequence[str]) -> list[Line]:
    """A connection for each of *tasks* on which its step blocks; each has a claim."""
    lines: list[Line] = []
    seen = look(service, tasks[0])
    for at in range(0, len(tasks), BATCH):
        batch = tasks[at : at + BATCH]
        before = calls_of(board.client, "zscore")
        for task in batch:
            line = Line(service.port)
            line.send(get_with_claim(task, service.tokens["step"], seen))
            lines.append(line)
        # Before it sleeps each has Redis look once at how long its run lives.
        wanted = before + len(batch)
        eventually(lambda wanted=wanted: calls_of(board.client, "zscore") >= wanted, timeout=60)
    time.sleep(0.3)
    return lines


def block_redis(board: Board, socket_path: str, keys: Sequence[str]) -> list[Line]:
    """A connection to Redis for each of *keys* that blocks on it."""
    lines = []
    for key in keys:
        line = Line(socket_path)
        line.send(resp("BLPOP", key, 0))
        lines.append(line)
    eventually(lambda: board.client.info("clients")["blocked_clients"] >= len(keys), timeout=60)
    return lines
