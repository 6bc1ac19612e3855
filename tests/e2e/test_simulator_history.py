"""A random history on the simulated server breaks none of the rules that the real one keeps."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.simulator.control import Deployment, SimulatedOctopus, SimulatorError
from tests.simulator.steps import deploy_release, guided, manual, work

TASK_CAP = 4
MACHINES = ["web-01", "web-02", "web-03"]

#: Answers by type of interruption.
ANSWERS = {"ManualIntervention": ["Proceed", "Abort"], "GuidedFailure": ["Fail", "Retry", "Ignore", "Exclude"]}

ENDS = ("DeploymentSucceeded", "DeploymentFailed", "RunbookRunSucceeded", "RunbookRunFailed", "TaskCanceled")


@pytest.fixture
def octopus(tmp_path: Path) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(tmp_path, speed=200, look_seconds=0, task_cap=TASK_CAP) as octopus:
        for name in MACHINES:
            octopus.machine(name)
        always = work("after", machines=MACHINES[:2], seconds=4, condition="Always")
        octopus.project("Plain", steps=[work("deploy", machines=MACHINES, seconds=6), always])
        octopus.project("Paused", steps=[work("deploy", machines=MACHINES[1:]), manual("Approve"), always])
        octopus.project("Child step", steps=[manual("Approve", is_child=True), always])
        octopus.project("Guided", steps=[guided("deploy", machines=MACHINES[:1], seconds=4), always])
        octopus.project("Failing", steps=[work("deploy", machines=MACHINES[2:], fails=1), always])
        octopus.project("Parent", steps=[deploy_release("Deploy", "Plain"), always])
        octopus.runbook("Plain", "Clean", steps=[work("clean", machines=MACHINES[1:], seconds=5)])
        yield octopus


def test_a_random_history_keeps_the_rules(octopus: SimulatedOctopus) -> None:
    chance = random.Random(4711)
    tasks: list[Deployment] = []
    for _ in range(150):
        with_refusals(lambda: act(octopus, chance, tasks))
    eventually(lambda: is_idle(octopus), timeout=60)

    record = octopus.record()
    runs = record["runs"]
    assert {run["state"] for run in runs} >= {"Success", "Failed", "Canceled"}
    assert all(run["ended_ms"] for run in runs)
    assert most_at_once(stretch for run in runs if run["project"] != "Parent" for stretch in active(run)) <= TASK_CAP
    for project, environment, kind in {(run["project"], run["environment"], run["kind"]) for run in runs}:
        same = [r for r in runs if (r["project"], r["environment"], r["kind"]) == (project, environment, kind)]
        assert most_at_once(stretch for run in same for stretch in active(run)) <= 1
    for machine in record["machines"]:
        works = [w for run in runs if not run["is_abandoned"] for w in run["work"] if w["machine"] == machine]
        assert most_at_once((w["started_ms"], w["ended_ms"]) for w in works) == 1
    ends = Counter(event["Category"] in ENDS for event in record["events"])[True]
    assert ends == sum(run["state"] != "TimedOut" for run in runs)


def act(octopus: SimulatedOctopus, chance: random.Random, tasks: list[Deployment]) -> None:
    """Something that people, triggers or a broken network do."""
    projects = ["Plain", "Paused", "Child step", "Guided", "Failing", "Parent"]
    deploy: Callable[[], Any] = lambda: tasks.append(  # noqa: E731
        octopus.deploy(chance.choice(projects), chance.choice(["Production", "Test"]))
    )
    recent = chance.choice(tasks[-8:]) if tasks else "ServerTasks-0"
    choices: list[tuple[int, Callable[[], Any]]] = [
        (10, deploy),
        (2, lambda: tasks.append(octopus.run_runbook("Plain", "Clean"))),
        (2, lambda: octopus.cancel(recent)),
        (1, lambda: octopus.abandon(recent)),
        (1, lambda: octopus.time_out(recent)),
        (2, lambda: octopus.rerun(recent)),
        (4, lambda: answer_all(octopus, chance)),
    ]
    chance.choices([call for _, call in choices], [weight for weight, _ in choices])[0]()


def with_refusals(call: Callable[[], Any]) -> None:
    """Who acts by chance asks for what is not possible any more."""
    try:
        call()
    except SimulatorError as error:
        assert ": 400 " in str(error) or "ServerTasks-0" in str(error)


def answer_all(octopus: SimulatedOctopus, chance: random.Random | None = None) -> None:
    for interruption in octopus.api("interruptions?pendingOnly=true&take=1000")["Items"]:
        answers = ANSWERS[interruption["Type"]]
        answer = chance.choice(answers) if chance else answers[0]
        with_refusals(lambda id_=interruption["Id"], said=answer: octopus.submit(id_, said))  # type: ignore[misc]


def is_idle(octopus: SimulatedOctopus) -> bool:
    """Whether everything has ended; nobody is left waiting for a person."""
    answer_all(octopus)
    return not octopus.api("tasks?active=true")["Items"]


def active(run: Any) -> Iterator[tuple[int, int]]:
    """When the run had a slot: from its start to its end, without its pauses."""
    if run["started_ms"] is not None:
        moments = [run["started_ms"], *itertools.chain.from_iterable(run["pauses"]), run["ended_ms"]]
        yield from zip(moments[::2], moments[1::2], strict=True)


def most_at_once(stretches: Iterator[tuple[int, int]] | Any) -> int:
    """How many of the stretches share a moment; those that only touch do not."""
    edges = [edge for start, end in stretches if end > start for edge in ((start, 1), (end, -1))]
    return max(itertools.accumulate(change for _, change in sorted(edges)), default=0)
