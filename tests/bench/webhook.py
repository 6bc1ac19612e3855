"""P6: webhooks a second, beside a bare endpoint and a Flask view that does nothing; and a storm that loses none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.report import Report, median
from tests.bench.wire import Line, http
from tests.bench.world import board_on, cpu_seconds, directory, embedded, group_of, processes_of, web
from tests.conftest import ROOT, eventually, free_port

CONNECTIONS = 32

#: Deliveries of one storm.
STORM = 10_000

#: Each round's events have numbers of their own.
ROUND = 100_000


def run(report: Report) -> None:
    """Print the rates in alternating rounds, so that noise hits all the same."""
    rounds, seconds = int(report.pick(2, 5)), report.pick(1.0, 3.0)
    results: dict[str, list[dict[str, Any]]] = {"octowait": [], "bare": [], "noop": []}
    with directory() as where, embedded(where) as url, board_on(url) as board:
        with web(url, board.keys.namespace, where) as service, _peer("bare", url) as bare, _peer("noop", url) as noop:
            peers = {"octowait": (service.port, processes_of(service)), "bare": bare, "noop": noop}
            for number in range(rounds + 1):
                for name, (port, pids) in peers.items():
                    before = cpu_seconds(pids)
                    result = _load(port, seconds, ROUND, number * ROUND)
                    results[name].append({**result, "cpu": 1e6 * (cpu_seconds(pids) - before) / result["requests"]})
            storm = _load(service.port, 120, STORM, (rounds + 1) * ROUND)
            accepted = sum(r["statuses"].get("202", 0) for r in results["octowait"]) + storm["statuses"].get("202", 0)
            kept = board.client.zcard(board.keys.events)
            told = _told_of(board.client.xrange(board.keys.timeline))
    # The first round warms up.
    figures = {name: [median([r[what] for r in all_[1:]]) for what in ("rate", "p50", "p99", "cpu")] for name, all_ in
               results.items()}  # fmt: skip
    rows = [[name, *values, figures["octowait"][0] / values[0]] for name, values in figures.items()]
    report.table(
        f"Webhooks, {CONNECTIONS} connections, 2 web processes",
        ("", "a second", "p50 ms", "p99 ms", "CPU µs each", "octowait ÷"),
        rows,
    )
    report.table(
        f"A storm of {STORM:,}", ("accepted", "a second", "accepted in all", "events known", "in the timeline"),
        [[storm["statuses"].get("202", 0), storm["rate"], accepted, kept, told]],
    )  # fmt: skip
    ours, bare_figures, noop_figures = figures["octowait"], figures["bare"], figures["noop"]
    report.check("P6", "webhooks a second ÷ bare endpoint", ours[0] / bare_figures[0], 0.75, at_least=True)
    report.check("P6", "webhooks a second ÷ Flask no-op", ours[0] / noop_figures[0], 0.40, at_least=True)
    report.check("P6", "p99 ÷ bare endpoint", ours[2] / bare_figures[2], 2)
    lost = STORM - storm["statuses"].get("202", 0) + max(0, accepted - kept) + max(0, accepted - told)
    report.check("P6", f"lost of a storm of {STORM:,} and of the rounds", lost, 0)


def _told_of(records: list[Any]) -> int:
    return sum(fields[b"kind"] == b"event" for _, fields in records)


def _load(port: int, seconds: float, count: int, first: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.load", *map(str, (port, CONNECTIONS, seconds, count, first))]
    result: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT, timeout=180))
    return result


@contextmanager
def _peer(kind: str, redis_url: str) -> Iterator[tuple[int, list[int]]]:
    """The port and the processes of a peer that runs as long as the context."""
    port = free_port()
    environment = {
        **os.environ,
        "OCTOWAIT_BIND": f"127.0.0.1:{port}",
        "OCTOWAIT_REDIS_URL": redis_url,
        "OCTOWAIT_WEB_PROCESSES": "2",
        "PYTHONPATH": str(Path(ROOT)),
    }
    command = [sys.executable, "-m", "tests.bench.peers", kind]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)
    try:
        eventually(lambda: _answers(port) and len(group_of(process.pid)) == 3, timeout=30)
        yield port, group_of(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        line = Line(port)
        line.send(http("GET", "/", "none"))
        line.receive()
        line.close()
    except OSError:
        return False
    return True
