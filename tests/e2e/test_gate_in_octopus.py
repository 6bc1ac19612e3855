"""octowait and a simulated Octopus Server together: whole deployments, real steps, real webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.simulator.control import SimulatedOctopus
from tests.simulator.record import overlaps, uses_gate
from tests.simulator.stack import Stack
from tests.simulator.steps import Step, claim_step, deploy_release, parked_wait, release_step, wait_step, work

#: Work of so many seconds never ends within a test.
FOR_EVER = 10_000.0


@pytest.fixture
def make_octopus(tmp_path: Path) -> Iterator[Callable[..., SimulatedOctopus]]:
    made: list[SimulatedOctopus] = []

    def make(**options: Any) -> SimulatedOctopus:
        made.append(SimulatedOctopus.start(tmp_path, **{"speed": 30, "task_cap": 10, **options}))
        for name in ("web-01", "web-02", "db-01"):
            made[-1].machine(name)
        return made[-1]

    yield make
    for octopus in made:
        octopus.stop()


@pytest.fixture
def make_stack(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def make(octopus: SimulatedOctopus, *, background: tuple[str, ...] | None = None, **settings: str) -> Stack:
        made.append(Stack(octopus, redis_url, namespace, tmp_path, **settings))
        started = {} if background is None else {"background": background}
        return made[-1].start(**started)

    yield make
    for stack in made:
        stack.stop()


def gated(seconds: float = 2.0, machine: str = "web-01", *, release: bool = True) -> list[Step]:
    """A process with the wait step, work, and perhaps the release step."""
    return [wait_step(), work("deploy", machines=[machine], seconds=seconds), *([release_step()] if release else [])]


def parked(seconds: float = 2.0, machine: str = "web-01") -> list[Step]:
    return [claim_step(), parked_wait(), work("deploy", machines=[machine], seconds=seconds), release_step()]


def parent_of(child: str, machine: str = "web-01") -> list[Step]:
    """A process that works itself, and deploys *child* on its own behalf."""
    passed = {"Octowait.OnBehalfOf": "#{Octopus.Task.Id}"}
    return [
        wait_step(), work("prepare", machines=[machine], seconds=0.5),
        deploy_release("deploy child", child, variables=passed), release_step(),
    ]  # fmt: skip


def deploy_each(octopus: SimulatedOctopus, number: int, steps: list[Step], prefix: str = "P", **options: Any) -> Any:
    """A deployment of each of *number* projects with these steps."""
    deployments = []
    for one in range(number):
        octopus.project(f"{prefix}{one}", steps=steps)
        deployments.append(octopus.deploy(f"{prefix}{one}", **options))
    return deployments


def is_waiting(stack: Stack, deployment: Any) -> bool:
    """Whether its wait step has joined; before that, its events alone can make it known, or observed."""
    place = stack.board.place(deployment.task_id)
    return place is not None and place.is_waiting


def states(octopus: SimulatedOctopus) -> set[str]:
    return {run["state"] for run in octopus.record()["runs"]}


def test_deployments_with_the_steps_run_one_after_another(make_octopus, make_stack):
    octopus = make_octopus()
    stack = make_stack(octopus)

    deploy_each(octopus, 5, gated(), machines=["web-01"])
    octopus.wait_idle()

    assert states(octopus) == {"Success"}
    assert overlaps(octopus.record(), uses_gate) == []
    stack.settle(10)
    assert [r.kind for r in stack.records()].count("granted") == 5


def test_deployment_without_a_wait_step_is_waited_for(make_octopus, make_stack):
    octopus = make_octopus(speed=10)
    stack = make_stack(octopus)
    octopus.project("Plain", steps=[work("deploy", machines=["web-01"], seconds=FOR_EVER)])
    plain = octopus.deploy("Plain", machines=["web-01"])
    eventually(lambda: "observed" in [r.kind for r in stack.records()], timeout=30)

    octopus.project("Gated", steps=gated(0.5))
    waiter = octopus.deploy("Gated", machines=["web-01"])
    eventually(lambda: is_waiting(stack, waiter), timeout=30)
    octopus.cancel(plain)

    octopus.wait_for(waiter, "Success")
    stack.settle(30)


def test_end_without_a_release_step_and_without_a_webhook_is_found_by_the_watch(make_octopus, make_stack):
    octopus = make_octopus()
    # No catch-up but that of the start, which is over: it would find the ends as well.
    stack = make_stack(octopus, OCTOWAIT_CATCH_UP_SECONDS="3600")
    eventually(lambda: stack.board.client.exists(stack.board.keys.named("caught-up-to")), timeout=30)
    octopus.faults(drop=1.0)

    deploy_each(octopus, 3, gated(60.0, release=False), machines=["web-01"])
    octopus.wait_idle()

    stack.settle(30)
    assert {r.cause for r in stack.records(kind="released")} == {"reconciled"}
    assert overlaps(octopus.record(), uses_gate) == []


def test_child_of_a_deploy_a_release_shares_the_machines_of_its_parent(make_octopus, make_stack):
    octopus = make_octopus()
    stack = make_stack(octopus)
    octopus.project("Child", steps=gated(0.5))
    octopus.project("Parent", steps=parent_of("Child"))

    parent = octopus.deploy("Parent", machines=["web-01"])

    octopus.wait_for(parent, "Success")
    stack.settle(10)
    granted = stack.records(kind="granted")
    assert [r.task_id for r in granted][0] == parent.task_id
    assert len(granted) == 2 and granted[1].detail["family"]
    assert overlaps(octopus.record()) == []


def test_machine_of_a_cancelled_parent_is_busy_while_its_child_works(make_octopus, make_stack):
    octopus = make_octopus()
    stack = make_stack(octopus)
    octopus.project("Child", steps=gated(FOR_EVER))
    octopus.project("Parent", steps=parent_of("Child"))
    parent = octopus.deploy("Parent", machines=["web-01"])
    eventually(lambda: len(stack.records(kind="granted")) == 2, timeout=30)
    child = stack.records(kind="granted")[1].task_id
    octopus.project("Other", steps=gated(0.5))
    other = octopus.deploy("Other", machines=["web-01"])
    eventually(lambda: is_waiting(stack, other), timeout=30)

    octopus.cancel(parent)
    eventually(lambda: str(stack.board.place(parent.task_id).state) == "released", timeout=30)
    assert stack.board.place(other.task_id).is_waiting
    octopus.cancel(child)

    octopus.wait_for(other, "Success")
    stack.settle(30)


@pytest.mark.timeout(300)
def test_forty_parked_deployments_on_one_machine_take_turns_while_others_flow(make_octopus, make_stack):
    octopus = make_octopus(task_cap=5)
    stack = make_stack(octopus, OCTOWAIT_TASK_CAP="5")

    waiting = deploy_each(octopus, 40, parked(1.0), machines=["web-01"])
    eventually(lambda: len(stack.tracked.tasks()) > 20, timeout=60)
    others = []
    for turn in range(5):
        octopus.project(f"Other{turn}", steps=[work("elsewhere", machines=["db-01"], seconds=1.0)])
        others.append(octopus.deploy(f"Other{turn}", machines=["db-01"]))
    for other in others:
        octopus.wait_for(other, "Success")
    unfinished = [d for d in waiting if octopus.task(d)["State"] != "Success"]
    octopus.wait_idle(240)

    assert unfinished, "the unrelated ones went on while the others waited"
    assert states(octopus) == {"Success"}
    assert overlaps(octopus.record(), uses_gate) == []
    stack.settle(30)
    assert not stack.records(kind="refused")
    assert {(r.cause, r.detail["result"]) for r in stack.records(kind="resumed")} == {("octowait", "Proceed")}


def test_blocking_waits_are_refused_rather_than_jam_the_server(make_octopus, make_stack):
    octopus = make_octopus(task_cap=5)
    stack = make_stack(octopus, OCTOWAIT_TASK_CAP="5")

    deploy_each(octopus, 20, gated(20.0), machines=["web-01"])
    octopus.wait_idle(120)

    record = octopus.record()
    failed = [run for run in record["runs"] if run["state"] == "Failed"]
    assert failed and any(run["state"] == "Success" for run in record["runs"])
    said = [step["last_line"] for run in failed for step in run["steps"] if step["script"] == "wait"]
    assert [line for line in said if "claim step" not in line] == []
    assert overlaps(record, uses_gate) == []
    assert any(delivery["status"] == 202 for delivery in record["deliveries"]), "webhooks found a free slot"
    stack.settle(30)


@pytest.mark.timeout(240)
def test_redis_wiped_under_three_that_run_and_ten_that_wait(make_octopus, make_stack):
    octopus = make_octopus(task_cap=20, speed=10)
    stack = make_stack(octopus)
    machines = ("web-01", "web-02", "db-01")
    running = []
    for name in machines:
        octopus.project(f"Running {name}", steps=gated(FOR_EVER, name))
        running.append(octopus.deploy(f"Running {name}", machines=[name]))
    eventually(lambda: len(stack.records(kind="granted")) == 3, timeout=30)
    waiters = []
    for number in range(10):
        name = machines[number % 3]
        octopus.project(f"Waiter {number}", steps=gated(1.0, name))
        waiters.append(octopus.deploy(f"Waiter {number}", machines=[name]))
        eventually(lambda: is_waiting(stack, waiters[-1]), timeout=30)

    stack.board.lose_all()

    eventually(stack.board.closed_since_ms)
    eventually(lambda: not stack.board.closed_since_ms(), timeout=60)
    assert [str(stack.board.place(run.task_id).state) for run in running] == ["observed"] * 3
    assert [str(stack.board.place(waiter.task_id).state) for waiter in waiters] == ["waiting"] * 10
    for run in running:
        octopus.cancel(run)
    octopus.wait_idle(120)

    record = octopus.record()
    assert overlaps(record) == []
    assert {run["state"] for run in record["runs"]} == {"Canceled", "Success"}
    granted = [r for r in stack.records(kind="granted") if r.task_id in {w.task_id for w in waiters}]
    for number in range(3):
        order = [w.task_id for w in waiters if machines[waiters.index(w) % 3] == machines[number]]
        assert [r.task_id for r in granted if r.task_id in order] == order
    assert [(r.task_id, r.machines, r.detail) for r in stack.records(kind="overlapped")] == []
    stack.settle(30)
