"""Runs the real step scripts, as a worker does: a process of its own in a session of its own."""

from __future__ import annotations

import sys

from tests.simulator.activity import TookTooLong
from tests.simulator.activitylog import Node
from tests.simulator.model import Machine
from tests.simulator.record import StepRecord
from tests.simulator.run import Run, StepFailed
from tests.simulator.service_messages import Message, read
from tests.simulator.steps import Step
from tests.steps import run_step

#: What Octopus does with a line of output after ``##octopus[stdout-...]``.
_CATEGORIES = {"stdout-verbose": "Verbose", "stdout-highlight": "Highlight", "stdout-wait": "Wait",
               "stdout-warning": "Warning", "stdout-default": "Info"}  # fmt: skip


#: The exit code that Octopus shows for a script that it killed since its time was out.
KILLED_BY_LIMIT = -44


def run_script(run: Run, step: Step, node: Node, machine: Machine | None, entry: StepRecord) -> None:
    """Run it once; *entry* gets its exit status, its last line and its output variables.

    Raises:
        StepFailed: the exit status is not 0, or it took longer than the step's time limit and was killed.
        Stopped: killed, or abandoned and ended by itself since then.
    """
    variables = run.variables(step, machine)
    script = run_step.Step(step.language, step.script, variables, run.octopus.directory, sys.executable)
    node.tail = lambda: _lines(script.output)
    limit = run.octopus.clock.real(step.time_limit_seconds) if step.time_limit_seconds else None
    try:
        status = run.await_process(script.process, limit)
    except TookTooLong:
        status = KILLED_BY_LIMIT
    finally:
        node.tail = None
        for category, line in _lines(script.output):
            node.say(line, category)
            entry.last_line = line
    messages = _messages(script.output)
    entry.exit = status
    entry.outputs = {m.values.get("name", ""): m.values.get("value", "") for m in messages if m.name == "setVariable"}
    run.set_outputs(step, entry.outputs, machine)
    if machine is not None:
        node.end("Failed" if status else "Success")
    if status:
        results = [message.values.get("message", "") for message in messages if message.name == "resultMessage"]
        raise StepFailed(next(iter(results), "") or f"The script of {step.name} returned exit code {status}.")


def _lines(output: str) -> list[tuple[str, str]]:
    """The lines that people read, each with its category."""
    found, category = [], "Info"
    for said in read(output.splitlines()):
        if isinstance(said, Message):
            category = _CATEGORIES.get(said.name, category)
        else:
            found.append((category, said))
    return found


def _messages(output: str) -> list[Message]:
    """Of both streams: what the server does with stderr nobody knows, so a script must be safe either way."""
    return [said for said in read(output.splitlines()) if isinstance(said, Message)]
