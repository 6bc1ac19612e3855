"""P19: how long octowait needs to begin, beside a Python that does nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.report import Report, both, median
from tests.bench.wire import Line, http
from tests.bench.world import board_on, directory, embedded, web
from tests.conftest import Service

SECTION = (
    "Start (P19)",
    """Each command from its start to its end, and the web server from its start to its first answer, in turns.
There is one web process, and Redis runs already; `octowait status` asks a web server over HTTP.""",
)

#: Seconds between two tries to reach a server that has just been started.
LOOK = 0.002

OCTOWAIT = str(Path(sys.executable).with_name("octowait"))


def run(report: Report) -> None:
    """Print the median of each, and its ratio to ``python -c pass``."""
    rounds = int(report.pick(3, 15))
    with directory() as where, embedded(where) as url, board_on(url) as board:
        with web(url, board.keys.namespace, where, OCTOWAIT_WEB_PROCESSES="1") as service:
            acts: dict[str, Callable[[], float]] = {
                "python -c pass": lambda: _command([sys.executable, "-c", "pass"], service),
                "octowait --help": lambda: _command([OCTOWAIT, "--help"], service),
                "octowait status": lambda: _command([OCTOWAIT, "status"], service),
                "web to the first answer": lambda: _web(url, board.keys.namespace, where),
            }
            took: dict[str, list[float]] = {name: [] for name in acts}
            for _ in range(rounds + 1):
                for name, act in acts.items():
                    took[name].append(act())
    # The first round warms up.
    figures = {name: times[1:] for name, times in took.items()}
    nothing = median(figures["python -c pass"])
    rows = [[name, *both(times), max(times), median(times) / nothing] for name, times in figures.items()]
    report.table("Start, ms", ("", "p50", "p99", "max", "÷ python -c pass"), rows)
    for key, name in (("help", "octowait --help"), ("status", "octowait status"), ("web", "web to the first answer")):
        report.measured(f"P19.{key}", median(figures[name]) / nothing)


def _command(command: list[str], service: Service) -> float:
    """Milliseconds of a command that says where octowait is by its environment."""
    environment = {**service.env, "OCTOWAIT_URL": service.url, "OCTOWAIT_TOKEN": service.tokens["admin"]}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=service.log.parent, capture_output=True, text=True, timeout=60)
    took = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return 1000 * took


def _web(url: str, namespace: str, where: Path) -> float:
    """Milliseconds from the start of a web server of its own to its first answer."""
    service = Service(url, namespace, where)
    began = time.perf_counter()
    process = service.spawn("serve")
    try:
        _first_answer(service.port, until=began + 30)
        return 1000 * (time.perf_counter() - began)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _first_answer(port: int, *, until: float) -> None:
    request = http("GET", "/healthz", "none")
    while time.perf_counter() < until:
        try:
            line = Line(port)
            line.send(request)
            if line.receive().split(b" ", 2)[1] == b"200":
                return
            line.close()
        except OSError:
            pass
        time.sleep(LOOK)
    raise TimeoutError("the web server did not answer within 30 s")
