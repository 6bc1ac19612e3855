"""P5 and P10: what a blocked request, a waiter and a timeline record cost; and all blocked requests woken at once."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from datetime import timedelta

from app.coordination.board import Board
from tests.bench.blocked import block_http, block_redis
from tests.bench.report import Report
from tests.bench.wire import Line, close_all, resp, wait_for_all
from tests.bench.world import (
    board_on,
    cpu_share,
    directory,
    embedded,
    fill,
    new_run,
    new_task,
    processes_of,
    pss_kib,
    web,
)
from tests.conftest import Service

#: As the product's default: a blocked request shows life every half of it.
TTL = timedelta(seconds=60)

_PUSH_ALL = "for _, key in ipairs(KEYS) do redis.call('RPUSH', key, 'x') end"


def run(report: Report) -> None:
    """Print the memory of the web processes with and without blocked requests, and of Redis."""
    blocked = _as_descriptors_allow(int(report.pick(1_000, 10_000)))
    with directory() as where, embedded(where) as url, board_on(url) as board:
        board.client.config_set("maxclients", 15_000)
        own = len(board.client.client_list())
        with web(url, board.keys.namespace, where) as service:
            _web(report, board, service, blocked, own)
            ours = _wake_all(board, service, blocked)
        direct = _wake_all_directly(board, url.removeprefix("unix://"), blocked)
    rows = [[name, *took] for name, took in (("blocked GET", ours), ("direct BLPOP", direct))]
    report.table(
        f"All {blocked:,} woken at once, ms from the command", ("", "first", "half", "last", "the command"), rows
    )
    report.check("P5", f"{blocked:,} woken at once: the last ÷ direct BLPOP", ours[2] / direct[2], 10)
    _redis(report)


def _as_descriptors_allow(wanted: int) -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, soft - 500)


def _web(report: Report, board: Board, service: Service, blocked: int, own: int) -> None:
    """Everybody blocks in one line; nobody is granted."""
    pids = processes_of(service)
    idle = cpu_share(pids, report.pick(2, 5))
    before = pss_kib(pids)
    runs = [new_run() for _ in range(blocked + 1)]
    fill(board, ((run, ["Machines-0"]) for run in runs), ttl=TTL)
    lines = block_http(board, service, [run.task_id for run in runs[1:]])
    busy = cpu_share(pids, report.pick(2, 5))
    after = pss_kib(pids)
    connections = (len(board.client.client_list()) - own) / (len(pids) - 1)
    close_all(lines)
    each = (after - before) / blocked
    rows = [
        ["PSS of all web processes, MB", before / 1024, after / 1024],
        ["KB a blocked request", None, each],
        ["Redis connections a web process", None, connections],
        ["CPU of all web processes, % of a core", idle, busy],
    ]
    report.table(f"{len(pids) - 1} web processes", ("", "0 blocked", f"{blocked:,} blocked"), rows)
    report.check("P5", "memory a blocked request", each, 25, unit="KB")
    report.check("P5", f"all web processes with {blocked:,} blocked", after / 1024, 350, unit="MB")
    report.check("P5", "Redis connections a web process", connections, 5)
    report.check("P5", "CPU of idle web processes", idle, 1, unit="%")
    report.check("P5", f"CPU with {blocked:,} blocked, nobody released", busy, 1, unit="%")


def _wake_all(board: Board, service: Service, blocked: int) -> Sequence[float]:
    """One run holds a machine of each waiter; its release grants them all in one script."""
    machines = [f"Machines-w{n}" for n in range(blocked)]
    holder, waiters = new_run(), [new_run() for _ in machines]
    board.join(holder, machines, ttl=TTL)
    fill(board, ((run, [machine]) for run, machine in zip(waiters, machines, strict=True)), ttl=TTL)
    lines = block_http(board, service, [run.task_id for run in waiters])
    began = time.perf_counter()
    board.release(holder.task_id)
    released = time.perf_counter()
    return _spread(lines, began, released)


def _wake_all_directly(board: Board, path: str, blocked: int) -> Sequence[float]:
    keys = [f"direct:{new_task()}" for _ in range(blocked)]
    lines = block_redis(board, path, keys)
    control = Line(path)
    command = resp("EVAL", _PUSH_ALL, len(keys), *keys)
    began = time.perf_counter()
    control.send(command)
    control.receive()
    released = time.perf_counter()
    return _spread([*lines], began, released)


def _spread(lines: list[Line], began: float, released: float) -> Sequence[float]:
    answered = wait_for_all(lines)
    close_all(lines)
    return [1000 * (at - began) for at in (answered[0], answered[len(answered) // 2], answered[-1], released)]


def _redis(report: Report) -> None:
    """Redis memory of 10,000 waiters and of the records of 2,000 whole lives, each on a server of its own."""
    each_waiter = _bytes_a_waiter(10_000)
    each_record, streams = _bytes_a_record(2_000)
    rows = [
        ["a waiter, with its details and its record", each_waiter],
        ["a timeline record, with its index entries", each_record],
        *([f"of it: {name}", size] for name, size in streams.items()),
    ]
    report.table("Redis memory, bytes", ("", "bytes"), rows)
    report.check("P10", "Redis memory of a waiter", each_waiter, 2048, unit="B")
    report.check("P10", "Redis memory of a timeline record", each_record, 300, unit="B")


def _bytes_a_waiter(waiters: int) -> float:
    with directory() as where, embedded(where) as url, board_on(url) as board:
        fill(board, ((new_run(), [f"Machines-{n}"]) for n in range(100)), ttl=TTL)
        before = _used(board)
        fill(board, ((new_run(), [f"Machines-{n % 100}"]) for n in range(waiters)), ttl=TTL)
        return (_used(board) - before) / waiters


def _bytes_a_record(runs: int) -> tuple[float, dict[str, float]]:
    """Bytes of the timeline and its indexes a record, measured as what their deletion gives back."""
    with directory() as where, embedded(where) as url, board_on(url) as board:
        for n in range(runs):
            run = new_run()
            board.join(run, [f"Machines-{n % 50}"], ttl=TTL)
            board.release(run.task_id)
        records = board.client.xlen(board.keys.timeline)
        freed = {}
        for name in ("timeline", *(f"index:{kind}:" for kind in ("run", "machine", "project", "environment"))):
            before = _used(board)
            for key in list(board.client.scan_iter(board.keys.named(name) + "*", count=1000)):
                board.client.delete(key)
            freed[name] = (before - _used(board)) / records
        return sum(freed.values()), freed


def _used(board: Board) -> int:
    time.sleep(0.1)
    return int(board.client.info("memory")["used_memory"])
