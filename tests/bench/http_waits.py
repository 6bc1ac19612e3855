"""P2: from the release request to the answer of the blocked GET, with 1 to 5,000 blocked in one line."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from app.coordination.board import Board
from tests.bench.blocked import block_http, block_redis, get
from tests.bench.report import Report, percentile
from tests.bench.wire import Line, close_all, http, resp
from tests.bench.world import board_on, directory, embedded, fill, new_namespace, new_run, new_task, web
from tests.conftest import Service

#: Long enough that nobody in the line expires while others are measured.
TTL = timedelta(minutes=10)

#: Seconds in which one that asked again is blocked again.
SETTLE = 0.01


class Chain:
    """A line in which the granted one releases next and a new one blocks on its connection: the number stays.

    Args:
        ask: What a waiter sends to block for a task.
        open_lines: Opens a connection for each task and blocks on it.
    """

    def __init__(
        self, board: Board, service: Service, blocked: int,
        ask: Callable[[str], bytes], open_lines: Callable[[list[str]], list[Line]],
    ) -> None:  # fmt: skip
        self._board, self._service, self._ask = board, service, ask
        self._machine = f"Machines-{new_namespace()}"
        self._control = Line(service.port)
        runs = [new_run() for _ in range(blocked + 1)]
        fill(board, ((run, [self._machine]) for run in runs), ttl=TTL)
        self._holder, *tasks = [run.task_id for run in runs]
        self._line = deque(zip(tasks, open_lines(tasks), strict=True))

    def hand_off(self) -> float:
        """Milliseconds from the release to the next one's answer."""
        request = http("DELETE", f"/api/waits/{self._holder}", self._service.tokens["step"])
        task, line = self._line.popleft()
        began = time.perf_counter()
        self._control.send(request)
        line.receive()
        took = time.perf_counter() - began
        self._control.receive()
        self._holder = task
        self._block_again(line)
        return 1000 * took

    def _block_again(self, line: Line) -> None:
        run = new_run()
        self._board.join(run, [self._machine], ttl=TTL)
        line.send(self._ask(run.task_id))
        self._line.append((run.task_id, line))
        time.sleep(SETTLE)

    def close(self) -> None:
        close_all([self._control, *(line for _, line in self._line)])


def run(report: Report) -> None:
    """Print both ways to block, and a bare Redis wake as the limit."""
    sizes = (1, 100, 1000) if report.quick else (1, 100, 1000, 5000)
    samples = int(report.pick(60, 400))
    rows = []
    figures: dict[int, tuple[float, float]] = {}
    with directory() as where, embedded(where) as url, board_on(url) as board:
        path = url.removeprefix("unix://")
        with web(url, board.keys.namespace, where) as service:
            for blocked in sizes:
                measured = {
                    "blocked GET": _over_http(board, service, blocked, samples),
                    "BLPOP on wake_key": _over_redis(board, service, path, blocked, samples),
                    "the limit: RPUSH to BLPOP": _bare(board, path, blocked, samples),
                }
                figures[blocked] = _both(measured["blocked GET"])
                rows.extend([how, blocked, *_both(took), max(took)] for how, took in measured.items())
    rows.sort(key=lambda row: str(row[0]))
    report.table("Release request to the waiter's answer, ms", ("", "blocked", "p50", "p99", "max"), rows)
    for blocked, (p50, p99) in figures.items():
        report.check("P2", f"release → blocked GET, p50, {blocked:,} blocked", p50, 1.5, unit="ms")
        report.check("P2", f"release → blocked GET, p99, {blocked:,} blocked", p99, 6, unit="ms")
    ratio = figures[sizes[-1]][0] / figures[1][0]
    report.check("P2", f"p50 with {sizes[-1]:,} blocked ÷ with 1", ratio, 1.5)


def _both(took: list[float]) -> tuple[float, float]:
    return percentile(took, 0.5), percentile(took, 0.99)


def _over_http(board: Board, service: Service, blocked: int, samples: int) -> list[float]:
    chain = Chain(
        board, service, blocked,
        lambda task: get(task, service.tokens["step"]), lambda tasks: block_http(board, service, tasks),
    )  # fmt: skip
    return _measured(chain, samples)


def _over_redis(board: Board, service: Service, path: str, blocked: int, samples: int) -> list[float]:
    chain = Chain(
        board, service, blocked,
        lambda task: resp("BLPOP", board.keys.wake(task), 0),
        lambda tasks: block_redis(board, path, [board.keys.wake(task) for task in tasks]),
    )  # fmt: skip
    return _measured(chain, samples)


def _measured(chain: Chain, samples: int) -> list[float]:
    try:
        return [chain.hand_off() for _ in range(samples + 5)][5:]
    finally:
        chain.close()


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
