"""P14: what a run costs by the number of its machines, and how long an answer to its step is at most."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.bench.acts import machine_ids
from tests.bench.report import Report, median, spread
from tests.bench.server_time import script_seconds
from tests.bench.wire import Line, step_http
from tests.bench.world import INFO, board_on, directory, embedded, fill, new_run, web
from tests.conftest import Service
from tests.open_board import OpenBoard

SECTION = (
    "Machines of a run (P14)",
    """A run joins, asks and gives back its machines while another run waits for the same ones.
µs of the client (library and way to Redis) and of all scripts in Redis, also of those that do what is left to others.
*A machine more* is what each of the machines adds in Redis between the two sizes that it names.""",
)

TTL = timedelta(hours=1)

OPERATIONS = ("join", "poll", "release")

#: Sizes between which the cost of a machine is judged.
FROM = 200

Times = dict[str, list[tuple[float, float]]]


def run(report: Report) -> None:
    """Print join, poll and release at each size, then answers to steps with the most machines."""
    sizes = (1, 10, 200, 1000) if report.quick else (1, 10, 100, 200, 1000, 3000, 10_000)
    took: dict[int, Times] = {}
    with directory() as where, embedded(where) as url, board_on(url) as board:
        for size in sizes:
            took[size] = _measure(board, size, rounds=int(report.pick(5, 40 if size < 1000 else 12)))
        with web(url, board.keys.namespace, where) as service:
            _answers(report, board, service, sizes[-1])
    rows = [[size, *(spread([pair[at] for pair in took[size][name]]) for name in OPERATIONS for at in (0, 1))]
            for size in sizes]  # fmt: skip
    columns = ("machines", *(f"{name}, {side}" for name in OPERATIONS for side in ("client", "Redis")))
    report.table("A run of so many machines, µs: p50 / p99", columns, rows)
    _slopes(report, took, sizes[-1])


def _slopes(report: Report, took: dict[int, Times], most: int) -> None:
    rows = []
    for name in OPERATIONS:
        small, large = (median([redis for _, redis in took[size][name]]) for size in (FROM, most))
        each = (large - small) / (most - FROM)
        rows.append([name, small, large, each])
        report.measured(f"P14.{name}", each, least=FROM, most=most)
    report.table("µs in Redis", ("", f"{FROM} machines", f"{most:,} machines", "a machine more"), rows)


def _measure(board: OpenBoard, size: int, *, rounds: int) -> Times:
    """µs of the client and of Redis, by operation."""
    many = machine_ids(size)
    took: Times = defaultdict(list)

    def timed(name: str, act: Callable[[], Any]) -> None:
        before, began = script_seconds(board.client), time.perf_counter()
        act()
        client = time.perf_counter() - began
        took[name].append((1e6 * client, 1e6 * (script_seconds(board.client) - before)))

    holder = new_run()
    board.join(holder, many, ttl=TTL)
    for _ in range(rounds):
        follower = new_run()
        timed("join", lambda follower=follower: board.join(follower, many, ttl=TTL))
        timed("poll", lambda follower=follower: board.poll(follower.task_id))
        timed("release", lambda holder=holder: board.release(holder.task_id))
        holder = follower
    board.release(holder.task_id)
    return took


def _answers(report: Report, board: OpenBoard, service: Service, size: int) -> None:
    """Bytes of answers to a step that waits for *size* machines, each held by a run of its own with waiters in line."""
    many, token = machine_ids(size), service.tokens["step"]
    fill(board, ((new_run(), [machine]) for machine in many), ttl=TTL)
    fill(board, ((new_run(), [machine]) for machine in many), ttl=TTL)
    rows, longest = [], 0
    for kind in ("text/plain", "application/json"):
        for name, request in _requests(many, token).items():
            length = len(_body(service, request.replace(b"text/plain", kind.encode())))
            rows.append([name, kind, length])
            longest = max(longest, length)
    report.table(f"Answers to a step with {size:,} machines, bytes", ("", "as", "bytes"), rows)
    report.measured("P14.answer", longest / 1024, most=size)


def _requests(machines: list[str], token: str) -> dict[str, bytes]:
    """What a step of its own asks, one after the other."""
    task = new_run().task_id
    return {
        "PUT, a place in line": step_http("PUT", task, token, body=json.dumps({"machines": machines, **INFO})),
        "GET, waiting": step_http("GET", task, token, "?block_seconds=1"),
        "DELETE": step_http("DELETE", task, token),
    }


def _body(service: Service, request: bytes) -> bytes:
    line = Line(service.port)
    line.send(request)
    answer = line.receive()
    line.close()
    if not answer.startswith(b"HTTP/1.1 20"):
        raise AssertionError(f"expected an answer of 200 or 201, got {answer[:500]!r}")
    return answer.partition(b"\r\n\r\n")[2]
