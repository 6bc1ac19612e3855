"""One execution of a deployment's or runbook run's task: its steps, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulator.activity import Activity, Stopped
from tests.simulator.activitylog import Node
from tests.simulator.clock import Clock
from tests.simulator.model import Deployment, Machine, Task
from tests.simulator.record import StepRecord
from tests.simulator.steps import Step
from tests.simulator.targets import chosen, targets_of
from tests.simulator.templates import is_true, substitute
from tests.simulator.variables import step_variables, system_variables

if TYPE_CHECKING:
    from tests.simulator.octopus import Octopus


class StepFailed(Exception):
    """A step went wrong; the message is what the task shows."""


class Run(Activity):
    """Runs the steps; after a failure only those whose condition wants it."""

    def __init__(self, octopus: Octopus, task: Task) -> None:
        super().__init__()
        assert task.deployment and task.log
        self.octopus = octopus
        self.task = task
        self.deployment: Deployment = task.deployment
        self.record = task.runs[-1]
        self.error = ""
        #: Targets that a person excluded from the rest.
        self.excluded: set[str] = set()
        self._log = task.log
        self._outputs: dict[str, str] = {}

    def execute(self) -> str:
        self._log.start()
        for step in self.deployment.steps:
            # While the server is away no step begins.
            self.wait(self.awake)
            if step.is_disabled:
                continue
            node = self._log.child(f"Step {len(self._log.children) + 1}: {step.name}")
            if step.name in self.deployment.skipped or not self._applies(step):
                node.status = "Skipped"
            else:
                self._run_step(step, node)
        return self.error

    def _run_step(self, step: Step, node: Node) -> None:
        entry = StepRecord(name=step.name, kind=step.kind, script=step.script, started_ms=Clock.now_ms())
        self.record.steps.append(entry)
        node.start()
        try:
            self.octopus.executors[step.kind](self, step, node, entry)
            entry.status = "Success"
        except StepFailed as failure:
            entry.status = "Failed"
            self.error = self.error or str(failure)
            self.deployment.failure_encountered = True
            node.say(str(failure), "Fatal")
        except Stopped:
            entry.status = "Canceled"
            raise
        finally:
            entry.ended_ms = Clock.now_ms()
            node.end(entry.status)

    def _applies(self, step: Step) -> bool:
        if step.condition in ("Success", "Failure"):
            return (step.condition == "Failure") == bool(self.error)
        # As in Octopus, an expression alone decides: it is asked after a failure, too.
        return step.condition == "Always" or is_true(step.condition, self.variables(step))

    def targets(self, step: Step) -> list[Machine]:
        """Where *step* runs now."""
        with self.octopus.store.lock:
            found = targets_of(step, self.deployment.environment, self.deployment.tenant, self.octopus.store)
        found = [machine for machine in chosen(found, self.task) if machine.id not in self.excluded]
        # What came since then takes part only if a health check took it in.
        return [machine for machine in found if machine.id in self.task.planned]

    def variables(self, step: Step, machine: Machine | None = None) -> dict[str, str]:
        """All that a script of *step* sees, with ``#{...}`` substituted; what is passed to a child wins."""
        octopus = self.octopus
        found = {
            **octopus.variables,
            **self.deployment.project.variables,
            **self.deployment.variables,
            **step.variables,
            **system_variables(self.task, self.deployment, octopus.url),
            **step_variables(step, machine),
            **self._outputs,
        }
        if self.error:
            found |= {"Octopus.Deployment.Error": self.error, "Octopus.Deployment.ErrorDetail": self.error}
        return {name: substitute(value, found) for name, value in found.items()}

    def set_outputs(self, step: Step, outputs: dict[str, str], machine: Machine | None = None) -> None:
        """Make output variables of *step* known to the steps after it."""
        for name, value in outputs.items():
            self._outputs[f"Octopus.Action[{step.name}].Output.{name}"] = value
            if machine is not None:
                self._outputs[f"Octopus.Action[{step.name}].Output[{machine.name}].{name}"] = value

    def include(self, machines: list[Machine]) -> None:
        """Take *machines* into the run, for the steps after this one."""
        with self.octopus.store.lock:
            added = [machine.id for machine in machines if machine.id not in self.task.planned]
            self.task.planned = self.record.machines = (*self.task.planned, *added)

    def used(self, machine: Machine) -> None:
        """Note that a script of this run starts on *machine*."""
        with self.octopus.store.lock:
            if machine.id not in self.deployment.deployed_to:
                self.deployment.deployed_to.append(machine.id)


def child_node(node: Node, machine: Machine) -> Node:
    """The log of one target, which is named after it."""
    child = node.child(machine.name)
    child.start()
    return child
