"""The scripts of version 1 against a server that knows claims: what their calls mean stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from facts import give_back, hold, line, state
from run_step import STEPS, VERSION_1, Steps, eventually


@pytest.fixture
def old(language: str, tmp_path: Path, service: Any) -> Any:
    steps = Steps(language, tmp_path, url=service.url, token=service.tokens["step"], scripts=VERSION_1)
    yield steps
    for step in steps.started:
        step.kill()


@pytest.fixture
def new(language: str, tmp_path: Path, service: Any) -> Any:
    steps = Steps(language, tmp_path, url=service.url, token=service.tokens["step"], scripts=STEPS)
    yield steps
    for step in steps.started:
        step.kill()


def test_waits_is_granted_and_gives_back(service: Any, old: Steps) -> None:
    hold(service)
    step = old.start("wait", "ServerTasks-1")
    step.says("Waiting for Machines-7, place 1: ServerTasks-4700 (Api 2.0.1 to Production) has held it for")
    give_back(service)

    assert step.ends() == 0, step.output
    assert step.lines[-1].startswith("Granted: Machines-7, after waiting")
    assert step.variables.keys() == {"Octowait.State", "Octowait.FencingToken", "Octowait.WaitedSeconds"}
    assert old.start("release", "ServerTasks-1").ends() == 0
    assert state(service, "ServerTasks-1") == "released"


def test_claims_and_is_granted_in_turn(service: Any, old: Steps) -> None:
    hold(service)
    step = old.start("claim", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert step.variables["Octowait.Granted"] == "False"
    give_back(service)
    eventually(lambda: state(service, "ServerTasks-1") == "granted")


def test_an_old_and_a_new_step_stand_in_one_line(service: Any, old: Steps, new: Steps) -> None:
    hold(service)
    first = old.start("wait", "ServerTasks-1")
    eventually(lambda: line(service) == ["ServerTasks-1"])
    second = new.start("wait", "ServerTasks-2")
    eventually(lambda: line(service) == ["ServerTasks-1", "ServerTasks-2"])

    give_back(service)
    assert first.ends() == 0, first.output
    assert second.process.poll() is None
    assert old.start("release", "ServerTasks-1").ends() == 0
    assert second.ends() == 0, second.output


def test_an_old_release_gives_back_what_a_new_step_claimed(service: Any, old: Steps, new: Steps) -> None:
    """A release step that was not updated with the others; and the other way round."""
    for waits, releases, task in ((new, old, "ServerTasks-1"), (old, new, "ServerTasks-2")):
        assert waits.start("wait", task).ends() == 0
        step = releases.start("release", task)
        assert step.ends() == 0, step.output
        assert step.lines == [f"Released: {task} has given its machines back."]
        assert state(service, task) == "released"
