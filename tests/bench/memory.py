"""P10: what a waiter and a timeline record cost in Redis."""

from __future__ import annotations

import time
from datetime import timedelta

from app.coordination.board import Board
from tests.bench.report import Report
from tests.bench.world import board_on, directory, embedded, fill, new_run

TTL = timedelta(seconds=60)


def run(report: Report) -> None:
    """Print Redis memory of 10,000 waiters and of the records of 2,000 whole lives, each on a server of its own."""
    each_waiter = _bytes_a_waiter(10_000)
    each_record, streams = _bytes_a_record(2_000)
    rows = [
        ["a waiter, with its details and its record", each_waiter],
        ["a timeline record, with its index entries", each_record],
        *([f"of it: {name}", size] for name, size in streams.items()),
    ]
    report.table("Redis memory, bytes", ("", "bytes"), rows)
    report.measured("P10.waiter", each_waiter)
    report.measured("P10.record", each_record)


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
