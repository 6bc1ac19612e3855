"""The whole gate with the steps for PowerShell: a simulated Octopus Server runs them, and octowait is real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.record import overlaps, uses_gate
from tests.simulator.stack import Stack
from tests.simulator.steps import Step, claim_step, parked_wait, release_step, wait_step, work
from tests.steps.powershell import needs_powershell

#: Work of so many seconds never ends within a test.
FOR_EVER = 10_000.0

#: A PowerShell that starts on a busy machine takes its time, and the clock of the server runs ten times as fast.
LONG = 90.0


@pytest.fixture
def octopus(tmp_path: Path) -> Iterator[SimulatedOctopus]:
    needs_powershell()
    octopus = SimulatedOctopus.start(tmp_path, speed=10, task_cap=10)
    octopus.machine("web-01")
    yield octopus
    octopus.stop()


@pytest.fixture
def stack(octopus: SimulatedOctopus, redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(octopus, redis_url, namespace, tmp_path, OCTOWAIT_WAITER_TTL_SECONDS="60")
    yield stack.start()
    stack.stop()


def deploy(octopus: SimulatedOctopus, name: str, steps: list[Step]) -> Deployment:
    octopus.project(name, steps=steps)
    return octopus.deploy(name, machines=["web-01"])


def gated(seconds: float, **variables: str) -> list[Step]:
    """A process with the wait step, work and the release step."""
    wait = wait_step(language="powershell", variables=variables)
    return [wait, work("deploy", machines=["web-01"], seconds=seconds), release_step(language="powershell")]


def is_waiting(stack: Stack, deployment: Deployment, *, place: int = 1) -> bool:
    """Whether its step has joined the line and has this place in it."""
    found = stack.board.place(deployment.task_id)
    return found is not None and found.is_waiting and found.place == place


def holds(stack: Stack, deployment: Deployment) -> bool:
    found = stack.board.place(deployment.task_id)
    return found is not None and found.is_granted


def test_two_in_line_take_turns_although_the_web_server_is_killed(octopus: SimulatedOctopus, stack: Stack) -> None:
    octopus.project("Plain", steps=[work("deploy", machines=["web-01"], seconds=FOR_EVER)])
    holder = octopus.deploy("Plain", machines=["web-01"])
    eventually(lambda: stack.records(kind="observed"), timeout=LONG)
    first = deploy(octopus, "First", gated(5.0))
    eventually(lambda: is_waiting(stack, first), timeout=LONG)
    second = deploy(octopus, "Second", gated(1.0))
    eventually(lambda: is_waiting(stack, second, place=2), timeout=LONG)

    stack.restart("web")
    octopus.cancel(holder)

    octopus.wait_for(first, "Success", timeout=LONG)
    octopus.wait_for(second, "Success", timeout=LONG)
    stack.settle(30)
    gated_ones = [first.task_id, second.task_id]
    assert [r.task_id for r in stack.records(kind="granted")] == gated_ones
    assert [(r.task_id, r.cause) for r in stack.records(kind="released") if r.task_id in gated_ones] == [
        (task, "step") for task in gated_ones
    ]
    assert overlaps(octopus.record(), uses_gate) == []


def test_a_claim_is_parked_and_resumed(octopus: SimulatedOctopus, stack: Stack) -> None:
    holder = deploy(octopus, "Holder", gated(FOR_EVER))
    eventually(lambda: holds(stack, holder), timeout=LONG)
    claim = [claim_step(language="powershell"), parked_wait(), *gated(1.0)[1:]]
    parked = deploy(octopus, "Parked", claim)
    eventually(lambda: octopus.pending(parked), timeout=LONG)
    assert is_waiting(stack, parked)

    octopus.cancel(holder)

    octopus.wait_for(parked, "Success", timeout=LONG)
    stack.settle(30)
    assert [(r.task_id, r.detail["result"]) for r in stack.records(kind="resumed")] == [(parked.task_id, "Proceed")]


def test_a_wait_that_takes_too_long_fails_its_deployment(octopus: SimulatedOctopus, stack: Stack) -> None:
    holder = deploy(octopus, "Holder", gated(FOR_EVER))
    eventually(lambda: holds(stack, holder), timeout=LONG)

    late = deploy(octopus, "Late", gated(1.0, **{"Octowait.TimeoutMinutes": "0.1"}))

    octopus.wait_for(late, "Failed", timeout=LONG)
    assert "Gave up after 0.1 min (Octowait.TimeoutMinutes). Waiting for " in octopus.task(late)["ErrorMessage"]
    assert not is_waiting(stack, late)
    octopus.cancel(holder)
    stack.settle(30)
