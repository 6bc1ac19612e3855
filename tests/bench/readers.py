"""P16: hand-offs while somebody reads pages and the API, with 2,000 machines and 5,000 waiters."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta

from app.coordination.board import Board
from tests.bench.blocked import block_http, get_with_claim
from tests.bench.http_waits import Chain
from tests.bench.report import Report, percentile
from tests.bench.world import board_on, directory, embedded, fill, new_run, web
from tests.conftest import ROOT, Service

SECTION = (
    "Hand-offs while somebody reads (P16)",
    """Hand-offs over HTTP, alone and while another process reads pages and the API five times a second.
KB are those of the whole answer as it is sent, and Redis commands those of one answer while nothing changes.""",
)

TTL = timedelta(hours=1)

#: How often somebody reads, a second.
RATE = 5

#: Waiters of the line whose hand-offs are measured.
BLOCKED = 10

#: What is read, one after the other.
PATHS = {
    "dashboard": "/",
    "dashboard, live part": "/?fragment=1",
    "dashboard, one machine": "/?fragment=some&machine=Machines-7",
    "/api/machines": "/api/machines",
    "/api/machines/Machines-7": "/api/machines/Machines-7",
    "/api/waits": "/api/waits",
    "machine": "/machines/Machines-7?span=1h",
}


def run(report: Report) -> None:
    """Print hand-offs alone, then with each kind of reader, then with all of them."""
    machines, waiters = (int(report.pick(*sizes)) for sizes in ((500, 2_000), (1_000, 5_000)))
    samples = int(report.pick(100, 400))
    with directory() as where, embedded(where) as url, board_on(url) as board:
        fill(board, ((new_run(), [f"Machines-{n}"]) for n in range(machines)), ttl=TTL)
        fill(board, ((new_run(), [f"Machines-{n % machines}"]) for n in range(waiters)), ttl=TTL)
        with web(url, board.keys.namespace, where) as service:
            alone = _hand_offs(board, service, (), samples)
            rows: list[list[object]] = [
                ["nobody reads", percentile(alone, 0.5), percentile(alone, 0.99), None, None, None, None]
            ]
            for name, path in PATHS.items():
                beside, (p50, _, size) = _beside(board, service, [path], samples)
                by_itself, commands = _by_itself(board, service, path)
                rows.append(
                    [name, percentile(beside, 0.5), percentile(beside, 0.99), p50, by_itself, size / 1000, commands]
                )
                if name == "dashboard":
                    report.measured("P16.time", p50, machines=machines, waiters=waiters)
                    report.measured("P16.size", size / 1000, machines=machines, waiters=waiters)
                if name == "dashboard, one machine":
                    report.measured("P16.one", p50, machines=machines)
                    report.measured("P16.one.alone", by_itself, machines=machines)
            everything, _ = _beside(board, service, list(PATHS.values()), samples)
            rows.append(["all in turn", percentile(everything, 0.5), percentile(everything, 0.99), *[None] * 4])
    report.table(
        f"Hand-offs while somebody reads {RATE} times a second, {machines:,} machines, {waiters:,} waiters",
        ("read", "hand-off p50 ms", "p99 ms", "the answer, median ms", "without hand-offs", "KB", "Redis commands"),
        rows,
    )  # fmt: skip
    report.measured("P16.p99", percentile(everything, 0.99) / percentile(alone, 0.99))


def _hand_offs(board: Board, service: Service, readers: Sequence[subprocess.Popen[str]], samples: int) -> list[float]:
    chain = Chain(
        board, service, BLOCKED,
        lambda task, seen: get_with_claim(task, service.tokens["step"], seen),
        lambda tasks: block_http(board, service, tasks),
    )  # fmt: skip
    try:
        took = [chain.hand_off() for _ in range(5)][:0]
        while len(took) < samples or any(reader.poll() is None for reader in readers):
            took.append(chain.hand_off())
        return took
    finally:
        chain.close()


def _beside(
    board: Board, service: Service, paths: Sequence[str], samples: int
) -> tuple[list[float], tuple[float, float, int]]:
    """The hand-offs while *paths* are read, and milliseconds (median, most) and bytes of the first of them."""
    seconds = str(max(8, samples / 40))
    command = [
        sys.executable,
        "-m",
        "tests.bench.reading",
        str(service.port),
        service.tokens["viewer"],
        seconds,
        str(RATE),
    ]
    reader = subprocess.Popen([*command, *paths], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    took = _hand_offs(board, service, [reader], samples)
    output, _ = reader.communicate(timeout=60)
    return took, tuple(json.loads(output)[paths[0]])


def _by_itself(board: Board, service: Service, path: str) -> tuple[float, int]:
    """Milliseconds (median) and Redis commands for one answer when nothing changes and nobody else asks."""
    answers = 10
    command = [
        sys.executable, "-m", "tests.bench.reading", str(service.port), service.tokens["viewer"], "1", str(answers),
        path,
    ]  # fmt: skip
    before = board.client.info("stats")["total_commands_processed"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    commands = int((board.client.info("stats")["total_commands_processed"] - before) / answers)
    return json.loads(output)[path][0], commands
