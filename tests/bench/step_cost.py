"""What a waiting step costs its worker, in each language: twenty at once, against a server that only lets them wait."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measurements import markdown_table, write_section
from tests.bench.report import Report, number
from tests.conftest import ROOT, eventually
from tests.steps.run_step import Step

if TYPE_CHECKING:
    from stand_in import Exchange

sys.path.insert(0, str(ROOT / "tests/steps"))

TITLES = {"powershell": "PowerShell", "bash": "Bash", "python": "Python"}

INTRODUCTION = """## What a waiting step costs

`make bench ARGS="steps --write"`

{count} `wait` steps started at once on {cores} cores, each waiting in calls of 50 s.
CPU and memory of a step are those of all its processes."""


def report_costs(report: Report) -> None:
    """Print, and with ``--write`` keep, start, CPU and memory of a step that waits."""
    count, seconds = int(report.pick(5, 20)), report.pick(20, 60)
    columns = ["", *(title for language, title in TITLES.items() if language != "powershell" or shutil.which("pwsh"))]
    costs = [_cost(language, count, seconds) for language, title in TITLES.items() if title in columns]
    names = ["first request after, s: the first", "… the last", "CPU a minute, s", "memory, MB"]
    rows = [[name, *(number(cost[at]) for cost in costs)] for at, name in enumerate(names)]
    report.table(f"A waiting step, {count} at once", columns, rows)
    if report.writes:
        text = INTRODUCTION.format(count=count, cores=os.cpu_count())
        write_section("steps", f"{text}\n\n{markdown_table(columns, rows)}")


def _cost(language: str, count: int, seconds: float) -> tuple[float, float, float, float]:
    """Seconds to the first request of the first and the last step, CPU seconds a minute and MB of each."""
    from stand_in import StandIn, waiting

    def block(exchange: Exchange) -> None:
        exchange.server.stopped.wait(float(exchange.request.query.get("block_seconds", "0")))
        waiting()(exchange)

    server = StandIn([block])
    with tempfile.TemporaryDirectory() as directory:
        steps: list[Step] = []
        try:
            began = time.monotonic()
            steps += [_start(language, task, server.url, Path(directory)) for task in range(count)]
            eventually(lambda: server.methods.count("GET") >= count, timeout=180)
            first = [request.at - began for request in server.requests if request.method == "PUT"]
            before = sum(_cpu_seconds(step.process.pid) for step in steps)
            time.sleep(seconds)  # what is measured is waiting
            used = sum(_cpu_seconds(step.process.pid) for step in steps) - before
            memory = sum(_memory_bytes(step.process.pid) for step in steps)
        finally:
            for step in steps:
                step.kill()
            server.stop()
    return min(first), max(first), used * 60 / seconds / count, memory / count / 1e6


def _start(language: str, number: int, url: str, directory: Path) -> Step:
    variables = {
        "Octopus.Task.Id": f"ServerTasks-{number}",
        "Octopus.Deployment.Machines": "Machines-7",
        "Octowait.Url": url,
        "Octowait.Token": "step-token-0123",
    }
    return Step(language, "wait", variables, directory)


def _of_session(leader: int) -> list[Path]:
    """The processes of a step, which has a session of its own."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == leader:
                found.append(process)
        except OSError:
            continue  # it has ended
    return found


def _cpu_seconds(leader: int) -> float:
    """Of the processes and of what they have waited for."""
    ticks = 0
    for process in _of_session(leader):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory_bytes(leader: int) -> int:
    """Their share of what they have in memory; all of it where the kernel does not tell shares."""
    total = 0
    for process in _of_session(leader):
        try:
            shares = [line for line in (process / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:")]
            total += int(shares[0].split()[1]) * 1024
        except (OSError, IndexError):
            total += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total
