"""Runs the real step scripts, as a worker does: a process of its own in a session of its own."""

from __future__ import annotations

import sys

from tests.simulator.activitylog import Node
from tests.simulator.model import Machine
from tests.simulator.record import StepRecord
from tests.simulator.run import Run, StepFailed
from tests.simulator.steps import Step
from tests.steps import run_step

#: What Octopus does with a line of output after ``##octopus[stdout-...]``.
_CATEGORIES = {"stdout-verbose": "Verbose", "stdout-highlight": "Highlight", "stdout-wait": "Wait",
               "stdout-warning": "Warning", "stdout-default": "Info"}  # fmt: skip


def run_script(run: Run, step: Step, node: Node, machine: Machine | None, entry: StepRecord) -> None:
    """Run it once; *entry* gets its exit status, its last line and its output variables.

    Raises:
        StepFailed: the exit status is not 0.
        Stopped: killed, or abandoned and ended by itself since then.
    """
    variables = run.variables(step, machine)
    script = run_step.Step(step.language, step.script, variables, run.octopus.directory, sys.executable)
    node.tail = lambda: _lines(script.output)
    try:
        status = run.await_process(script.process)
    finally:
        node.tail = None
        for category, line in _lines(script.output):
            node.say(line, category)
            entry.last_line = line
    entry.exit, entry.outputs = status, script.variables
    run.set_outputs(step, entry.outputs, machine)
    if machine is not None:
        node.end("Failed" if status else "Success")
    if status:
        raise StepFailed(script.result or f"The script of {step.name} returned exit code {status}.")


def _lines(output: str) -> list[tuple[str, str]]:
    """The lines that people read, each with its category."""
    found, category = [], "Info"
    for line in output.splitlines():
        if not line.startswith("##octopus["):
            found.append((category, line))
        category = _CATEGORIES.get(line.removeprefix("##octopus[").removesuffix("]"), category)
    return found
