"""What each kind of step does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.simulator.activity import ABANDONED
from tests.simulator.activitylog import Node
from tests.simulator.clock import Clock
from tests.simulator.model import Invalid, Machine, Missing
from tests.simulator.polling import poll_wait
from tests.simulator.record import Interval, StepRecord
from tests.simulator.run import Run, StepFailed, child_node
from tests.simulator.scripts import run_script
from tests.simulator.steps import AUTOMATIC, Step
from tests.simulator.templates import substitute

#: Targets of one step that are worked on at the same time.
MAX_PARALLELISM = 10

Executor = Callable[[Run, Step, Node, StepRecord], None]


def script(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    """One of the real step scripts: once on the server, or once on each target under its mutex."""
    if not step.has_targets:
        _with_retries(run, step, node, entry)
        return

    def on_target(machine: Machine) -> None:
        with machine.held(run):
            run.used(machine)
            run_script(run, step, child_node(node, machine), machine, entry)

    _on_each(run.targets(step), on_target)


def _with_retries(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    for _ in range(step.retries):
        try:
            run_script(run, step, node, None, entry)
        except StepFailed as failure:
            node.say(f"{failure} It is run again.", "Warning")
        else:
            return
    run_script(run, step, node, None, entry)


def work(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    """Timed work. Failing, it asks for guidance where the step or the deployment wants that."""
    left = step.fails
    while True:
        _work_once(run, step, node)
        if not left:
            return
        left -= 1
        guidance = _guidance(run, step) if step.is_guided or run.deployment.use_guided_failure else "Fail"
        if guidance == "Retry":
            continue
        if guidance == "Fail":
            raise StepFailed(f"The step {step.name} failed.")
        if guidance == "Exclude":
            run.excluded |= {machine.id for machine in run.targets(step)}
        node.say(f"The failure was answered with {guidance}.", "Warning")
        run.task.has_warnings = True
        return


def _work_once(run: Run, step: Step, node: Node) -> None:
    seconds = run.octopus.clock.real(step.seconds)
    if not step.has_targets:
        run.sleep(seconds)
        return

    def on_target(machine: Machine) -> None:
        _work_on(run, step, machine, seconds, node)

    _on_each(run.targets(step), on_target)


def _work_on(run: Run, step: Step, machine: Machine, seconds: float, node: Node) -> None:
    interval = None
    try:
        with machine.held(run):
            run.used(machine)
            child = child_node(node, machine)
            interval = Interval(machine=machine.id, step=step.name, started_ms=Clock.now_ms())
            run.record.work.append(interval)
            try:
                run.sleep(seconds)
                child.end("Success")
            finally:
                if run.stopped != ABANDONED:
                    interval.ended_ms = Clock.now_ms()
    finally:
        # The server gave the mutex back, but nobody ended the script.
        if interval and interval.ended_ms is None:
            run.outlive((interval.started_ms - Clock.now_ms()) / 1000 + seconds)
            interval.ended_ms = Clock.now_ms()


def _on_each(machines: list[Machine], call: Callable[[Machine], None]) -> None:
    if len(machines) < 2:
        for machine in machines:
            call(machine)
        return
    with ThreadPoolExecutor(min(len(machines), MAX_PARALLELISM)) as pool:
        futures = [pool.submit(call, machine) for machine in machines]
    for future in futures:
        future.result()


def _guidance(run: Run, step: Step) -> str:
    raised = run.octopus.interruptions.raise_(
        run.task,
        "GuidedFailure",
        f"The step {step.name} failed: guidance is required",
        teams=run.octopus.teams_of(step),
    )
    run.wait(raised.answered)
    return raised.answer["Guidance"]


def manual(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    """Stand-alone: the task waits Queued, without a slot, and is queued again after the answer."""
    raised = run.octopus.interruptions.raise_(
        run.task, "ManualIntervention", step.name, frees_slot=not step.is_child, teams=run.octopus.teams_of(step),
        instructions=substitute(step.instructions, run.variables(step)),
    )  # fmt: skip
    run.wait(raised.answered if step.is_child else run.gate)
    node.say(f"{raised.answered_by}: {raised.answer['Result']}. {raised.answer['Notes']}")
    if raised.answer["Result"] == "Abort":
        raise StepFailed(f"{step.name} was aborted by {raised.answered_by}. {raised.answer['Notes']}".strip())


def automatic(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    """Wait for what nobody can answer: a merge, a sync."""
    frees_slot = AUTOMATIC[step.interruption]
    raised = run.octopus.interruptions.raise_(run.task, step.interruption, step.name, frees_slot=frees_slot)
    run.wait(run.gate if frees_slot else raised.answered)


def health_check(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    """Take the step's machines into the deployment."""
    with run.octopus.store.lock:
        run.include([run.octopus.store.named("Machines", name, run.task.space_id) for name in step.machines])


def deploy_release(run: Run, step: Step, node: Node, entry: StepRecord) -> None:
    """Deploy another project's release and wait for it; whoever cancels this task does not cancel that one."""
    octopus = run.octopus
    known = run.variables(step)
    passed = {name: substitute(value, known) for name, value in step.variables.items()}
    with octopus.store.lock:
        try:
            project = octopus.store.named("Projects", step.project, run.task.space_id)
            environment = run.deployment.environment
            if step.environment:
                environment = octopus.store.named("Environments", step.environment, run.task.space_id)
        except Missing as missing:
            raise StepFailed(str(missing)) from missing
        release = octopus.deployments.release_of(project, step.release)
        try:
            child = octopus.deployments.deploy(
                release, environment, run.deployment.created_by, parent=run.task, variables=passed,
                tenant=run.deployment.tenant, specific=run.deployment.specific, excluded=run.deployment.excluded,
            )  # fmt: skip
        except Invalid as frozen:
            raise StepFailed(str(frozen)) from frozen
    node.say(f"Waiting for {child.id}: {child.description}", "Wait")
    with octopus.engine.without_slot(run.task):
        run.wait(child.done)
    if child.state != "Success":
        raise StepFailed(f"{child.id} ({child.description}) is {child.state}.")


EXECUTE: dict[str, Executor] = {
    "script": script,
    "work": work,
    "manual": manual,
    "automatic": automatic,
    "health_check": health_check,
    "deploy_release": deploy_release,
    "poll_wait": poll_wait,
}
