"""P15 and P5: what many blocked requests cost over two minutes in which their steps do no more than ask again."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.run import RunRequest
from tests.bench.report import Report, both
from tests.bench.server_time import SCRIPT_COLUMNS, redis_pid, script_rows, script_seconds, script_times
from tests.bench.wire import claim_of
from tests.bench.world import (
    INFO,
    board_on,
    calls_of,
    cpu_seconds,
    cpu_share,
    directory,
    embedded,
    fill,
    new_run,
    processes_of,
    pss_kib,
    web,
)
from tests.conftest import ROOT, Service, eventually
from tests.open_board import OpenBoard

SECTION = (
    "Many who wait (P5, P15)",
    """A process of its own plays the steps: each has a claim, and asks in calls that block for 50 s.
Each call has a connection of its own, and the first one blocks for a random part of that, so that they come evenly.
Nobody is granted in the two minutes that count.
CPU is that of the processes from `/proc`, in % of one core; the scripts' own time is what Redis says of them.
Memory is the proportional set size (PSS), in which what processes share counts once; before it is read for the first
time, steps that find their machine free have come and gone for a second.""",
)

#: As the product's default: a blocked request shows life every half of it.
TTL = timedelta(seconds=120)

#: Seconds that a call of a step blocks. Source: steps/parts/bash/polls.sh.
BLOCK_SECONDS = 50

#: Machines, each with a line.
MACHINES = 100

#: Lines whose head is granted at the end.
GRANTS = 50


@dataclass(frozen=True)
class Usage:
    """What has been used up to a moment, in seconds."""

    at: float
    web: float
    redis: float
    scripts: float

    def shares(self, before: Usage) -> tuple[float, float, float]:
        """% of one core since *before*: web, Redis, and the scripts in it."""
        seconds = (self.at - before.at) / 100
        return (
            (self.web - before.web) / seconds, (self.redis - before.redis) / seconds,
            (self.scripts - before.scripts) / seconds,
        )  # fmt: skip


def run(report: Report) -> None:
    """Print CPU of the whole time and of its second half, memory before and at the end, and what the scripts took."""
    blocked, seconds = int(report.pick(500, 10_000)), report.pick(10, 120)
    block_seconds = report.pick(4, BLOCK_SECONDS)
    with directory() as where, embedded(where) as url, board_on(url) as board:
        own = len(board.client.client_list())
        with web(url, board.keys.namespace, where) as service:
            holders = [new_run() for _ in range(MACHINES)]
            for number, run in enumerate(holders):
                board.join(run, [f"Machines-{number}"])
                board.poll(run.task_id)
            pids = processes_of(service)
            warm_up(service.port)
            idle, before = cpu_share(pids, report.pick(2, 5)), (pss_kib(pids), _used(board))
            first, looks = _fill(board, blocked), calls_of(board.client, "zscore")
            with _steps(service, first, blocked, block_seconds) as steps:
                begun = steps.wait()
                # Before it blocks each has Redis look once at how long its run lives.
                eventually(lambda: calls_of(board.client, "zscore") >= looks + blocked, timeout=60)
                usages = _watch(board, pids, seconds)
                after, connections = (pss_kib(pids), _used(board)), len(board.client.client_list()) - own
                with script_times(board.client) as took:
                    time.sleep(report.pick(2, 5))
                asked = steps.ask()
                for run in holders[:GRANTS]:
                    board.release(run.task_id)
                granted = steps.ask_until(GRANTS)
    _print_shares(report, usages, blocked, seconds)
    report.measured("P5.idle", idle)
    _print_memory(report, before, after, blocked, connections / (len(pids) - 1))
    _print_calls(report, begun, asked, granted)
    report.table(f"Scripts while {blocked:,} wait", SCRIPT_COLUMNS, script_rows(took))


def warm_up(port: int) -> None:
    """Have all code of a web process run that answers steps."""
    subprocess.run(
        [sys.executable, "-m", "tests.bench.load", str(port), "cycles", "1", "0"], cwd=ROOT, check=True,
        stdout=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip


def _fill(board: OpenBoard, count: int) -> int:
    """Put so many steps into the lines; the number of the first one's task."""
    first = 1_000_000
    tasks = {number: f"ServerTasks-{number}" for number in range(first, first + count)}
    runs = (
        (RunRequest(task, info=INFO, claim=claim_of(task)), [f"Machines-{number % MACHINES}"])
        for number, task in tasks.items()
    )
    fill(board, runs, ttl=TTL)
    return first


def _watch(board: OpenBoard, pids: list[int], seconds: float) -> list[Usage]:
    usages = [_usage(board, pids)]
    for _ in range(2):
        time.sleep(seconds / 2)
        usages.append(_usage(board, pids))
    return usages


def _usage(board: OpenBoard, pids: list[int]) -> Usage:
    redis = cpu_seconds([redis_pid(board.client)])
    return Usage(time.monotonic(), cpu_seconds(pids), redis, script_seconds(board.client))


def _used(board: OpenBoard) -> int:
    return int(board.client.info("memory")["used_memory"])


def _print_shares(report: Report, usages: list[Usage], blocked: int, seconds: float) -> None:
    begin, middle, end = usages
    rows = []
    for name, late, early in (
        (f"{seconds:.0f} s", end, begin),
        ("first half", middle, begin),
        ("second half", end, middle),
    ):
        web, redis, scripts = late.shares(early)
        rows.append([name, web, redis, web + redis, scripts])
    report.table(
        f"CPU with {blocked:,} blocked, % of one core", ("", "web", "Redis", "together", "of it scripts"), rows
    )
    report.measured("P15", float(rows[0][3]), blocked=blocked, seconds=seconds)
    report.measured("P15.half", float(rows[2][3]), blocked=blocked)


def _print_memory(
    report: Report, before: tuple[int, int], after: tuple[int, int], blocked: int, connections: float
) -> None:  # fmt: skip
    each = (after[0] - before[0]) / blocked
    rows = [
        ["web processes, MB", before[0] / 1024, after[0] / 1024],
        ["web, KB a waiter", None, each],
        ["Redis, KB a waiter", None, (after[1] - before[1]) / 1024 / blocked],
        ["Redis connections a web process", None, connections],
    ]
    report.table("Memory and connections", ("", "nobody waits", f"{blocked:,} blocked, at the end"), rows)
    report.measured("P5.memory", each, blocked=blocked)
    report.measured("P5.all", after[0] / 1024, blocked=blocked)
    report.measured("P5.connections", connections)


def _print_calls(report: Report, begun: dict[str, Any], asked: dict[str, Any], granted: dict[str, Any]) -> None:
    rows: list[list[object]] = []
    for when, facts in (("all begin", begun), ("all wait", asked), (f"{GRANTS} are granted", granted)):
        for call, number in sorted(facts["calls"].items()):
            took = facts["took"].get(call.partition(":")[0], [])
            rows.append([when, call, number, *(both(took) if took else (None, None))])
    report.table("Calls of the steps", ("while", "call: answer", "number", "p50 ms", "p99 ms"), rows)


class Steps:
    """The process that plays them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait(self) -> dict[str, Any]:
        """What happened until all of them were in line."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of the steps ended with {self._process.wait(10)}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def ask(self) -> dict[str, Any]:
        """What has happened since the last time."""
        assert self._process.stdin
        self._process.stdin.write("?")
        self._process.stdin.flush()
        return self.wait()

    def ask_until(self, number: int) -> dict[str, Any]:
        """What happens until so many of them have confirmed a grant."""
        facts: dict[str, Any] = {"calls": {}, "took": {"confirm": []}}
        confirmed, until = 0, time.monotonic() + 30
        while confirmed < number:
            if time.monotonic() > until:
                raise TimeoutError(f"{confirmed} of {number} have confirmed their grant after 30 s")
            time.sleep(0.1)
            more = self.ask()
            confirmed += len(more["granted"])
            facts["took"]["confirm"] += more["took"]["confirm"]
            for call, count in more["calls"].items():
                facts["calls"][call] = facts["calls"].get(call, 0) + count
        return facts


@contextmanager
def _steps(service: Service, first: int, count: int, block_seconds: float) -> Iterator[Steps]:
    numbers = map(str, (service.port, first, count, MACHINES, block_seconds))
    command = [sys.executable, "-m", "tests.bench.waiters", *numbers]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Steps(process)
    finally:
        process.kill()
        process.wait(10)
