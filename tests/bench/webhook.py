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

from tests.bench.load import CONNECTIONS
from tests.bench.report import Report, median
from tests.bench.server_time import SCRIPT_COLUMNS, script_rows, script_times
from tests.bench.wire import Line, http
from tests.bench.world import board_on, cpu_seconds, directory, embedded, group_of, processes_of, web
from tests.conftest import ROOT, eventually
from tests.open_board import OpenBoard
from tests.ports import free_port

SECTION = (
    "Webhooks and cycles (P6)",
    f"""{CONNECTIONS} connections and two web processes each.
*Bare* is a Flask view that parses, validates and calls one script; *no-op* one that does nothing; the server is the
same.
Rounds of all three take turns, and the median of the rounds counts.
Closed loop: each connection sends when it has its answer.
Open loop: all get half of octowait's requests a second, and what waits counts from when it was due.""",
)

#: Deliveries of one storm.
STORM = 10_000

#: Each round's events have numbers of their own.
ROUND = 100_000

Peers = dict[str, tuple[int, list[int]]]
Results = dict[str, list[dict[str, Any]]]

COLUMNS = ("", "a second", "p50 ms", "p99 ms", "max ms", "CPU µs each", "octowait ÷")


def run(report: Report) -> None:
    """Print the rates in alternating rounds, so that noise hits all the same."""
    with directory() as where, embedded(where) as url, board_on(url) as board:
        with web(url, board.keys.namespace, where) as service, peer("bare", url) as bare, peer("noop", url) as noop:
            peers = {"octowait": (service.port, processes_of(service)), "bare": bare, "noop": noop}
            closed = _closed(report, peers)
            ours = closed["octowait"]
            for key, index in (("bare", 0), ("noop", 0)):
                report.measured(f"P6.{key}", ours[index] / closed[key][index])
            report.measured("P6.p99", ours[2] / closed["bare"][2])
            _open(report, peers, rate=ours[0] / 2)
            with script_times(board.client) as took:
                _load(service.port, "webhooks", report.pick(0.5, 2.0), 80 * ROUND)
            report.table("Scripts of the webhook, closed loop", SCRIPT_COLUMNS, script_rows(took))
            _storm(report, board, service.port)
            _cycles(report, {name: peers[name] for name in ("octowait", "noop")})


def _closed(report: Report, peers: Peers) -> dict[str, list[float]]:
    figures = _rounds(report, peers, "webhooks", first=0, rounds=5)
    report.table("Webhooks, closed loop", COLUMNS, _rows(figures))
    return figures


def _open(report: Report, peers: Peers, *, rate: float) -> None:
    figures = _rounds(report, peers, "webhooks", first=20 * ROUND, rate=rate)
    report.table(f"Webhooks, open loop, {rate:,.0f} a second", COLUMNS, _rows(figures))


def _cycles(report: Report, peers: Peers) -> None:
    figures = _rounds(report, peers, "cycles", first=40 * ROUND)
    report.table("PUT and DELETE of a step that finds its machine free, closed loop", COLUMNS, _rows(figures))
    report.measured("P6.cycles", figures["octowait"][0] / figures["noop"][0])


def _rounds(
    report: Report, peers: Peers, kind: str, *, first: int, rate: float | None = None, rounds: int = 3
) -> dict[str, list[float]]:  # fmt: skip
    """The median of each figure over the rounds, by peer, in the order of `COLUMNS`."""
    results: Results = {name: [] for name in peers}
    for number in range(int(report.pick(2, rounds)) + 1):
        for name, (port, pids) in peers.items():
            before = cpu_seconds(pids)
            result = _load(port, kind, report.pick(1.0, 2.0), first + number * ROUND, rate=rate)
            cpu = 1e6 * (cpu_seconds(pids) - before) / result["requests"]
            results[name].append({**result, "cpu": cpu})
            if bad := {status: n for status, n in result["statuses"].items() if not status.startswith("2")}:
                raise AssertionError(f"{name} answered {bad}, expected statuses 200 to 299")
    # The first round warms up.
    names = ("rate", "p50", "p99", "max", "cpu")
    return {name: [median([r[what] for r in all_[1:]]) for what in names] for name, all_ in results.items()}


def _rows(figures: dict[str, list[float]]) -> list[list[object]]:
    return [[name, *values, figures["octowait"][0] / values[0]] for name, values in figures.items()]


def _storm(report: Report, board: OpenBoard, port: int) -> None:
    """All accepted at once, and whether Redis knows each of them."""
    number = int(report.pick(STORM / 10, STORM))
    kept, events = _kept(board)
    storm = _load(port, "webhooks", 120, 90 * ROUND, count=number)
    accepted = storm["statuses"].get("202", 0)
    kept_now, events_now = _kept(board)
    report.table(
        f"A storm of {number:,}", ("accepted", "a second", "p99 ms", "events known more", "in the timeline more"),
        [[accepted, storm["rate"], storm["p99"], kept_now - kept, events_now - events]],
    )  # fmt: skip
    lost = number - min(accepted, kept_now - kept, events_now - events)
    report.measured("P6.lost", lost, storm=number)


def _kept(board: OpenBoard) -> tuple[int, int]:
    """Events that Redis knows, and those in the timeline."""
    records = board.client.xrange(board.keys.timeline)
    return board.client.zcard(board.keys.events), sum(fields[b"kind"] == b"event" for _, fields in records)


def _load(
    port: int, kind: str, seconds: float, first: int, *, count: int | None = None, rate: float | None = None
) -> dict[str, Any]:  # fmt: skip
    command = [sys.executable, "-m", "tests.bench.load", *map(str, (port, kind, seconds, first))]
    command += ["--rate", str(rate)] if rate else []
    command += ["--count", str(count)] if count else []
    result: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT, timeout=180))
    return result


@contextmanager
def peer(kind: str, redis_url: str) -> Iterator[tuple[int, list[int]]]:
    """The port and the processes of a peer (`tests.bench.peers`) that runs as long as the context."""
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
