"""Hand-offs while webhooks, or other steps, keep all web processes busy (P2)."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

from app.coordination.board import Board
from tests.bench.blocked import block_http, get_with_claim
from tests.bench.http_waits import Chain
from tests.bench.load import CONNECTIONS
from tests.bench.report import Report, both
from tests.bench.world import board_on, directory, embedded, fill, new_run, web
from tests.conftest import ROOT, Service

SECTION = (
    "Hand-offs beside a storm (P2)",
    f"""Hand-offs over HTTP, alone and while another process has {CONNECTIONS} connections busy.
*Webhooks* are of deployments of other projects, and *cycles* a PUT and a DELETE of steps that find their machine free.
Closed loop: each connection sends when it has its answer, so that there is as much to do as both processes can.
The last columns are the storm's own.""",
)

TTL = timedelta(hours=1)

#: Waiters of the line whose hand-offs are measured.
BLOCKED = 10

#: What comes beside: its kind, and requests a second, or None for as many as are answered.
STORMS = {
    "webhooks, 200 a second": ("webhooks", 200),
    "webhooks, 1,000 a second": ("webhooks", 1_000),
    "webhooks, closed loop": ("webhooks", None),
    "cycles, closed loop": ("cycles", None),
}

#: The numbers of the requests of each storm begin behind those of the one before.
APART = 1_000_000


def run(report: Report) -> None:
    """Print hand-offs alone, then beside each storm, with what the storm got."""
    seconds = report.pick(2.0, 8.0)
    rows: list[list[object]] = []
    with directory() as where, embedded(where) as url, board_on(url) as board:
        fill(board, ((new_run(), [f"Machines-{n}"]) for n in range(int(report.pick(20, 200)))), ttl=TTL)
        with web(url, board.keys.namespace, where) as service:
            alone = _beside(board, service, [sys.executable, "-c", f"import time; time.sleep({seconds})"])[0]
            rows.append(["alone", len(alone), *both(alone), max(alone), None, None])
            for number, (name, (kind, rate)) in enumerate(STORMS.items(), 1):
                command = [sys.executable, "-m", "tests.bench.load",
                           *map(str, (service.port, kind, seconds, number * APART))]  # fmt: skip
                took, output = _beside(board, service, [*command, *(["--rate", str(rate)] if rate else [])])
                storm = json.loads(output)
                rows.append([name, len(took), *both(took), max(took), storm["rate"], storm["p99"]])
                if bad := {status: n for status, n in storm["statuses"].items() if not status.startswith("2")}:
                    raise AssertionError(f"{name}: answered {bad}, expected statuses 200 to 299")
    report.table(
        "Release to the next one's answer beside it, ms",
        ("", "hand-offs", "p50", "p99", "max", "requests a second", "p99 of them"),
        rows,
    )


def _beside(board: Board, service: Service, command: list[str]) -> tuple[list[float], str]:
    """Milliseconds of the hand-offs while *command* runs, and what it printed."""
    chain = Chain(
        board, service, BLOCKED,
        lambda task, seen: get_with_claim(task, service.tokens["step"], seen),
        lambda tasks: block_http(board, service, tasks),
    )  # fmt: skip
    storm = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    took = []
    try:
        while storm.poll() is None:
            took.append(chain.hand_off())
    finally:
        chain.close()
    output, _ = storm.communicate(timeout=60)
    return took, output
