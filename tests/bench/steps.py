"""P3: from the release to the exit of the Bash step that waits; and what a waiting step costs in each language."""

from __future__ import annotations

import base64
import subprocess
import threading
import time
from pathlib import Path

from tests.bench.report import Report, percentile
from tests.bench.step_cost import report_costs
from tests.bench.wire import Line, http
from tests.bench.world import board_on, directory, embedded, new_task, web
from tests.conftest import ROOT, Service, eventually

BOOTSTRAP = ROOT / "tests/steps/octopus_bootstrap.sh"

#: What the step does once it is granted, without having waited: the part that is Octopus's and the shell's.
ENDING = """
write_highlight "Granted."
set_octopusvariable "Octowait.State" "granted"
set_octopusvariable "Octowait.FencingToken" "7"
set_octopusvariable "Octowait.WaitedSeconds" "12"
exit 0
"""


def run(report: Report) -> None:
    """Print the hand-off as the step sees it, beside a step that only says that it was granted."""
    if not BOOTSTRAP.exists():
        report.table("Bash step", ("skipped",), [[f"{BOOTSTRAP} is missing"]])
        return
    samples = int(report.pick(8, 25))
    with directory() as where, embedded(where) as url, board_on(url) as board:
        with web(url, board.keys.namespace, where) as service:
            ending = where / "ending.sh"
            ending.write_text(ENDING)
            step = _Step(service, where)
            waits, bares, frees = [], [], []
            for _ in range(samples):
                holder, task = new_task(), new_task()
                service.call("PUT", f"/api/waits/{holder}", {"machines": ["Machines-7"]}, role="step")
                waits.append(_hand_off(service, step, holder, task))
                service.call("DELETE", f"/api/waits/{task}", role="step")
                bares.append(_timed(step.start(new_task(), script=ending)))
                free = new_task()
                frees.append(_timed(step.start(free)))
                service.call("DELETE", f"/api/waits/{free}", role="step")
    rows = [
        ["release → exit of the waiting step", *_both(waits)],
        ["start → exit, a step that only says so (bash, openssl)", *_both(bares)],
        ["start → exit, a free machine", *_both(frees)],
    ]
    report.table("Bash step, ms", ("", "p50", "p99"), rows)
    report.measured("P3", percentile(waits, 0.5))
    report_costs(report)


class _Step:
    """Starts ``steps/wait.sh`` as Octopus does."""

    def __init__(self, service: Service, where: Path) -> None:
        self._service, self._variables = service, where / "variables"

    def start(self, task: str, *, script: Path = ROOT / "steps/wait.sh") -> tuple[subprocess.Popen[bytes], float]:
        variables = {
            "Octopus.Task.Id": task,
            "Octopus.Space.Id": "Spaces-1",
            "Octopus.Deployment.Id": "Deployments-51",
            "Octopus.Deployment.Machines": "Machines-7",
            "Octowait.Url": self._service.url,
            "Octowait.Token": self._service.tokens["step"],
        }
        lines = (f"{_base64(name)} {_base64(value)}\n" for name, value in variables.items())
        self._variables.write_text("".join(lines))
        began = time.perf_counter()
        command = ["bash", str(BOOTSTRAP), str(self._variables), str(script)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), began


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _timed(started: tuple[subprocess.Popen[bytes], float]) -> float:
    process, began = started
    late = threading.Timer(30, process.kill)
    late.start()
    # With a time-out it would look at the process in steps of up to 50 ms.
    status = process.wait()
    took = 1000 * (time.perf_counter() - began)
    late.cancel()
    assert status == 0
    return took


def _hand_off(service: Service, step: _Step, holder: str, task: str) -> float:
    process, _ = step.start(task)
    eventually(lambda: service.call("GET", f"/api/runs/{task}", role="viewer")[0] == 200)
    # It joined with one call and blocks with the next, which takes a shell a few dozen milliseconds.
    time.sleep(0.4)
    control = Line(service.port)
    began = time.perf_counter()
    control.send(http("DELETE", f"/api/waits/{holder}", service.tokens["step"]))
    took = _timed((process, began))
    control.close()
    return took


def _both(took: list[float]) -> tuple[float, float]:
    return percentile(took, 0.5), percentile(took, 0.99)
