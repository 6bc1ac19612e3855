"""P2: from the release request to the answer of the blocked GET, with 1 to 5,000 blocked, beside the peers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import timedelta

from app.coordination.board import Board
from tests.bench.blocked import block_http, block_redis, get_with_claim
from tests.bench.open_loop import open_loop
from tests.bench.polling import polling_loops
from tests.bench.report import Report, both
from tests.bench.server_time import SCRIPT_COLUMNS, script_rows, script_times
from tests.bench.waiting import PEERS, peer_hand_offs
from tests.bench.webhook import peer
from tests.bench.wire import Line, close_all, resp, seen_in, step_http
from tests.bench.world import board_on, directory, embedded, fill, new_namespace, new_step_run, new_task, web
from tests.conftest import Service
from tests.open_board import OpenBoard

SECTION = (
    "Hand-off over HTTP (P2)",
    """Of octowait: from the release request to the answer of the blocked `GET` of the next one in the line.
There are two web processes; steps send claims, and confirm each grant before they go on.
*On Redis itself* is the same gate with a waiter that blocks on Redis, and *the limit* a push that wakes one `BLPOP`.
*A view that does nothing* is one of Flask on the same server: a request to it, and its answer.
Of the lock libraries: from the call that releases to the return of the next one's call, in threads of one process.
A holder keeps what it has for 10 ms in all of them.
The polling loop asks Redis every five seconds whether it is its turn.
Closed loop: the next release comes when the hand-off before it is over.
Open loop: releases come at a fixed rate, whatever is not over yet, and count from when they were due.""",
)

#: Long enough that nobody in the line expires while others are measured.
TTL = timedelta(minutes=10)

#: Seconds in which one that asked again is blocked again. For as long a holder of a lock library keeps the lock, since
#: what has just run runs faster.
SETTLE = 0.01

#: Releases a second in the open loop.
RATE = 100

#: What the ratios are to.
PEER = "python-redis-lock"


class Chain:
    """A line in which the granted one confirms, releases next, and a new one blocks: the number stays.

    Args:
        ask: What a waiter sends to block for a task, with what it has seen.
        open_lines: Opens a connection for each task and blocks on it.
    """

    def __init__(
        self, board: Board, service: Service, blocked: int,
        ask: Callable[[str, str], bytes], open_lines: Callable[[list[str]], list[Line]],
    ) -> None:  # fmt: skip
        self._board, self._service, self._ask = board, service, ask
        self._machine = f"Machines-{new_namespace()}"
        runs = [new_step_run() for _ in range(blocked + 1)]
        fill(board, ((run, [self._machine]) for run in runs), ttl=TTL)
        self._holder, *tasks = [run.task_id for run in runs]
        self._line = deque(zip(tasks, open_lines(tasks), strict=True))
        # Not before: one that is silent for 15 s is closed by the server.
        self._control = Line(service.port)
        self._seen = ""

    def hand_off(self) -> float:
        """Milliseconds from the release to the next one's answer."""
        token = self._service.tokens["step"]
        task, line = self._line.popleft()
        began = time.perf_counter()
        self._control.send(step_http("DELETE", self._holder, token))
        self._seen = seen_in(line.receive()) or self._seen
        took = time.perf_counter() - began
        self._control.receive()
        # The second call of a step, which collects the grant.
        self._control.send(step_http("GET", task, token, "?block_seconds=0", seen=self._seen))
        self._seen = seen_in(self._control.receive()) or self._seen
        self._holder = task
        self._block_again(line)
        return 1000 * took

    def _block_again(self, line: Line) -> None:
        run = new_step_run()
        self._board.join(run, [self._machine], ttl=TTL)
        line.send(self._ask(run.task_id, self._seen))
        self._line.append((run.task_id, line))
        time.sleep(SETTLE)

    def close(self) -> None:
        close_all([self._control, *(line for _, line in self._line)])


def run(report: Report) -> None:
    """Print both ways to block, a bare Redis wake as the limit, the lock libraries and the polling loop."""
    sizes = (1, 10, 100) if report.quick else (1, 2, 10, 100, 1000, 5000)
    samples, seconds = int(report.pick(60, 400)), report.pick(1.0, 4.0)
    rows: list[tuple[str, int, list[float]]] = []
    with directory() as where, embedded(where) as url, board_on(url) as board:
        board.client.config_set("maxclients", 15_000)
        path = url.removeprefix("unix://")
        with web(url, board.keys.namespace, where) as service:
            for blocked in sizes:
                rows += [
                    ("octowait, blocked GET", blocked, _over_http(board, service, blocked, samples)),
                    ("octowait, on Redis itself", blocked, _over_redis(board, service, path, blocked, samples)),
                    ("the limit: RPUSH to BLPOP", blocked, _bare(board, path, blocked, samples)),
                    *((name, blocked, peer_hand_offs(name, url, blocked, seconds, SETTLE)) for name in PEERS),
                ]
            rows.append(("a view that does nothing", 0, _nothing(url, samples)))
            _own_time(report, board, service, samples)
            _open(report, board, service, dict(_of(rows, "octowait, blocked GET")))
        rows += [("polling loop, 5 s", *one) for one in polling_loops(path, sizes, report.pick(6, 30)).items()]
    rows.sort(key=lambda row: str(row[0]))
    report.table(
        "Release to the next one's answer, ms", ("", "blocked", "hand-offs", "p50", "p99", "max"),
        [[name, blocked or None, len(took), *both(took), max(took, default=None)] for name, blocked, took in rows],
    )  # fmt: skip
    _judge(report, dict(_of(rows, "octowait, blocked GET")), dict(_of(rows, PEER)))


def _of(rows: Iterable[tuple[str, int, list[float]]], name: str) -> Iterable[tuple[int, list[float]]]:
    return ((blocked, took) for who, blocked, took in rows if who == name)


def _judge(report: Report, ours: dict[int, list[float]], peer: dict[int, list[float]]) -> None:
    for blocked, took in ours.items():
        for name, mine, other in zip(("p50", "p99"), both(took), both(peer[blocked]), strict=True):
            report.measured(f"P2.{name}", mine / other, blocked=blocked)
    report.measured("P2.growth", both(ours[max(ours)])[0] / both(ours[min(ours)])[0], blocked=max(ours))


def _over_http(board: Board, service: Service, blocked: int, samples: int) -> list[float]:
    chain = Chain(
        board, service, blocked,
        lambda task, seen: get_with_claim(task, service.tokens["step"], seen),
        lambda tasks: block_http(board, service, tasks),
    )  # fmt: skip
    return _measured(chain, samples)


def _over_redis(board: Board, service: Service, path: str, blocked: int, samples: int) -> list[float]:
    chain = Chain(
        board, service, blocked,
        lambda task, _: resp("BLPOP", board.keys.wake(task), 0),
        lambda tasks: block_redis(board, path, [board.keys.wake(task) for task in tasks]),
    )  # fmt: skip
    return _measured(chain, samples)


def _measured(chain: Chain, samples: int) -> list[float]:
    try:
        return [chain.hand_off() for _ in range(samples + 5)][5:]
    finally:
        chain.close()


def _own_time(report: Report, board: OpenBoard, service: Service, samples: int) -> None:
    with script_times(board.client) as took:
        client_side = [1000 * value for value in _over_http(board, service, 100, samples)]
    rows = [
        *script_rows(took),
        ["(the client: release → answer)", len(client_side), *both(client_side), max(client_side)],
    ]
    report.table("Scripts of a hand-off over HTTP, 100 blocked", SCRIPT_COLUMNS, rows)


def _open(report: Report, board: OpenBoard, service: Service, closed: dict[int, list[float]]) -> None:
    rows: list[list[object]] = []
    for blocked in [size for size in closed if size >= 100]:
        took = open_loop(board, service, blocked=blocked, rate=RATE, seconds=report.pick(1, 5))
        rows.append(
            [f"{blocked:,} blocked", "closed", len(closed[blocked]), *both(closed[blocked]), max(closed[blocked])]
        )
        rows.append([f"{blocked:,} blocked", f"open, {RATE} a second", len(took), *both(took), max(took)])
    report.table("Closed loop and open loop, ms", ("", "loop", "hand-offs", "p50", "p99", "max"), rows)


def _nothing(url: str, samples: int) -> list[float]:
    """A request that does nothing, as a release is sent, and its answer."""
    took = []
    with peer("noop", url) as (port, _):
        line = Line(port)
        for _ in range(samples):
            began = time.perf_counter()
            line.send(step_http("DELETE", new_task(), "none"))
            line.receive()
            took.append(1000 * (time.perf_counter() - began))
            time.sleep(SETTLE)
        line.close()
    return took


def _bare(board: Board, path: str, blocked: int, samples: int) -> list[float]:
    """One push into Redis wakes one blocked read; no gate, no HTTP."""
    keys = [f"bare:{new_task()}" for _ in range(blocked)]
    lines = block_redis(board, path, keys)
    control = Line(path)
    took = []
    for at in range(samples):
        line, key = lines[at % blocked], keys[at % blocked]
        began = time.perf_counter()
        control.send(resp("RPUSH", key, "x"))
        line.receive()
        took.append(1000 * (time.perf_counter() - began))
        control.receive()
        line.send(resp("BLPOP", key, 0))
        time.sleep(0.001)
    close_all([control, *lines])
    return took
