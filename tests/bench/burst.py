"""P17: all blocked requests woken at once, beside as many blocked reads of Redis itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from tests.bench.blocked import block_http, block_redis
from tests.bench.report import Report, both
from tests.bench.wire import Line, close_all, resp, step_http, wait_for_all
from tests.bench.world import board_on, directory, embedded, fill, new_step_run, new_task, web
from tests.conftest import Service
from tests.open_board import OpenBoard

SECTION = (
    "All woken at once (P17)",
    """One run holds a machine of each waiter, and its release grants them all.
Beside it one script pushes to as many lists, on each of which a connection to Redis itself blocks (`BLPOP`).""",
)

#: As the product's default: a blocked request shows life every half of it.
TTL = timedelta(seconds=120)

_PUSH_ALL = "for _, key in ipairs(KEYS) do redis.call('RPUSH', key, 'x') end"


def run(report: Report) -> None:
    """Print when the first, the middle and the last of them had its answer."""
    blocked = int(report.pick(1_000, 10_000))
    with directory() as where, embedded(where) as url, board_on(url) as board:
        board.client.config_set("maxclients", 15_000)
        with web(url, board.keys.namespace, where) as service:
            ours = _wake_all(board, service, blocked)
        direct = _wake_all_directly(board, url.removeprefix("unix://"), blocked)
    rows = [[name, *took] for name, took in (("blocked GET", ours), ("direct BLPOP", direct))]
    report.table(
        f"All {blocked:,} woken at once, ms from the command",
        ("", "first", "p50", "p99", "last"),
        rows,
    )
    report.measured("P17", ours[3] / direct[3], blocked=blocked)


def _wake_all(board: OpenBoard, service: Service, blocked: int) -> Sequence[float]:
    machines = [f"Machines-w{n}" for n in range(blocked)]
    holder, waiters = new_step_run(), [new_step_run() for _ in machines]
    board.join(holder, machines, ttl=TTL)
    fill(board, ((run, [machine]) for run, machine in zip(waiters, machines, strict=True)), ttl=TTL)
    lines = block_http(board, service, [run.task_id for run in waiters])
    control = Line(service.port)
    return _woken(lines, control, step_http("DELETE", holder.task_id, service.tokens["step"]))


def _wake_all_directly(board: OpenBoard, path: str, blocked: int) -> Sequence[float]:
    keys = [f"direct:{new_task()}" for _ in range(blocked)]
    return _woken(block_redis(board, path, keys), Line(path), resp("EVAL", _PUSH_ALL, len(keys), *keys))


def _woken(lines: list[Line], control: Line, command: bytes) -> Sequence[float]:
    """Milliseconds from the command to the first answer, half of them, 99 % and all."""
    began = time.perf_counter()
    control.send(command)
    answered = wait_for_all(lines)
    close_all([*lines, control])
    return [1000 * (at - began) for at in (answered[0], *both(answered), answered[-1])]
