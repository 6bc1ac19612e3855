"""Whether a process begins with octowait's own step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.octopus.first_step import first_action
from app.octopus.processes import parse_process

STEPS = Path(__file__).parents[2] / "steps"

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "wait-without-a-task-slot.md"


def an_action(**fields: Any) -> dict[str, Any]:
    properties = fields.pop("Properties", {"Octowait.Url": "#{Octowait.Url}"})
    return {"Id": "a", "ActionType": "Octopus.Script", "IsDisabled": False, "Properties": properties, **fields}


def a_process(*actions: dict[str, Any], **step: Any) -> dict[str, Any]:
    work = {"Name": "deploy", "Actions": [{"Id": "z", "ActionType": "Octopus.Script", "Properties": {}}]}
    return {"Steps": [{"Name": "wait", "Actions": list(actions), **step}, work]}


def asks(process: dict[str, Any], *skipped: str) -> bool:
    return first_action(parse_process(process)).is_expected(skipped)


def a_script(body: str) -> dict[str, Any]:
    return an_action(Properties={"Octopus.Action.Script.ScriptBody": body, "Octowait.Url": "x"})


def a_manual(instructions: str) -> dict[str, Any]:
    return an_action(ActionType="Octopus.Manual", Properties={"Octopus.Action.Manual.Instructions": instructions})


@pytest.mark.parametrize("name", ["wait", "claim"])
@pytest.mark.parametrize("language", ["sh", "py", "ps1"])
def test_our_scripts_are_recognized(name, language):
    assert asks(a_process(a_script((STEPS / f"{name}.{language}").read_text())))


@pytest.mark.parametrize("language", ["sh", "py", "ps1"])
def test_release_asks_for_nothing(language):
    assert not asks(a_process(a_script((STEPS / f"release.{language}").read_text())))


def test_template_is_recognized_by_its_parameter():
    assert asks(a_process(an_action()))
    assert not asks(a_process(an_action(Properties={"Url": "x"})))


def test_intervention_is_recognized_by_its_instructions():
    guide = GUIDE.read_text()
    line = next(line.strip() for line in guide.splitlines() if line.strip().startswith("octowait: on behalf of"))

    assert asks(a_process(a_manual("octowait: gate v1 task [#{Octopus.Task.Id}] machines [] on behalf of []")))
    assert asks(a_process(a_manual(f"octowait resumes this deployment.\n{line}\n")))
    assert not asks(a_process(a_manual("Approve, please: octowait is not asked.")))
    assert not asks(a_process(a_manual(f"He said: {line}")))


@pytest.mark.parametrize(
    "process",
    [
        pytest.param({"Steps": []}, id="no step"),
        pytest.param({"Steps": [{"Actions": []}]}, id="no action"),
        pytest.param(a_process(an_action(IsDisabled=True)), id="disabled"),
        pytest.param(a_process(an_action(Environments=["Environments-2"])), id="in some environments only"),
        pytest.param(a_process(an_action(ExcludedEnvironments=["Environments-2"])), id="not in some environments"),
        pytest.param(a_process(an_action(Channels=["Channels-1"])), id="in some channels only"),
        pytest.param(a_process(an_action(TenantTags=["a/b"])), id="for some tenants only"),
        pytest.param(a_process(an_action(Condition="Variable")), id="on a condition"),
        pytest.param(a_process(an_action(), Condition="Variable"), id="its step on a condition"),
        pytest.param(a_process(an_action(), Condition="Failure"), id="its step after a failure"),
        pytest.param(a_process(an_action(), an_action(Id="b")), id="not alone in its step"),
        pytest.param({"Steps": [a_process(an_action())["Steps"][1], a_process(an_action())["Steps"][0]]}, id="second"),
        pytest.param({"Steps": [{"Actions": [an_action()]},
                                {"StartTrigger": "StartWithPrevious", "Actions": [an_action(Id="b")]}]},
                     id="another one runs beside it"),
    ],
)  # fmt: skip
def test_what_is_not_certain_counts_as_not_ours(process):
    assert not asks(process)


def test_disabled_step_in_front_of_it_does_not_count():
    first, second = a_process(an_action())["Steps"]
    off = {**second, "Actions": [{**second["Actions"][0], "IsDisabled": True}]}

    assert asks({"Steps": [off, first, second]})


def test_skipped_action_asks_nothing():
    assert not asks(a_process(an_action()), "A")
    assert asks(a_process(an_action()), "other")
    assert not asks(a_process(an_action(Id=None)), "other"), "which one is skipped is not known"
