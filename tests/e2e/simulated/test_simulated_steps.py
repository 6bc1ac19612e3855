"""Steps run real scripts, with the variables and the mutex of Octopus."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.e2e.simulated.helpers import FOR_EVER, Make, run_of
from tests.simulator.control import SimulatedOctopus
from tests.simulator.steps import deploy_release, manual, parked_wait, script_step, work


def test_deploy_a_release_waits_without_a_slot_and_passes_variables(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=1)
    octopus.project("Child", steps=[manual("Check", instructions="of #{Octowait.OnBehalfOf}", is_child=True)])
    passed = {"Octowait.OnBehalfOf": "#{Octopus.Task.Id}"}
    octopus.project("Parent", steps=[deploy_release("Deploy the child", "Child", variables=passed), work("after")])

    parent = octopus.deploy("Parent")
    interruption = eventually(lambda: octopus.api("interruptions?pendingOnly=true")["Items"])[0]
    child = interruption["TaskId"]
    both = octopus.task(parent)["State"], octopus.task(child)["State"]
    octopus.submit(interruption["Id"])

    assert interruption["Form"]["Elements"][0]["Control"]["Text"] == f"of {parent.task_id}"
    assert both == ("Executing", "Executing")
    assert octopus.wait_for(parent)["State"] == octopus.task(child)["State"] == "Success"
    families = {run["task_id"]: run["family"] for run in octopus.record()["runs"]}
    assert families == {parent.task_id: parent.task_id, child: parent.task_id}


def test_cancelling_a_parent_leaves_its_child_alone(octopus: SimulatedOctopus) -> None:
    octopus.project("Child", steps=[work("deploy", seconds=FOR_EVER)])
    octopus.project("Parent", steps=[deploy_release("Deploy the child", "Child")])
    parent = octopus.deploy("Parent")
    child = eventually(
        lambda: [t["Id"] for t in octopus.api("tasks?states=Executing")["Items"] if t["Id"] != parent.task_id]
    )

    octopus.cancel(parent)
    octopus.wait_for(parent, "Canceled")

    assert octopus.task(child[0])["State"] == "Executing"


def test_output_variables_decide_about_the_steps_after_them(octopus: SimulatedOctopus, tmp_path: Path) -> None:
    for granted in ("True", "False"):
        (tmp_path / f"claim{granted}.sh").write_text(f'set_octopusvariable "Octowait.Granted" "{granted}"\n')
        claim = script_step("Claim", str(tmp_path / f"claim{granted}"))
        octopus.project(f"Granted {granted}", steps=[claim, parked_wait(), work("deploy")])
    (tmp_path / "fails.sh").write_text('fail_step "no way"\n')
    failing = script_step("Claim", str(tmp_path / "fails"))
    octopus.project("Fails", steps=[failing, parked_wait(), work("deploy"), work("undo", condition="Failure")])

    granted_, waiting, fails = (octopus.deploy(name) for name in ("Granted True", "Granted False", "Fails"))

    assert octopus.wait_for(granted_)["State"] == "Success"
    assert octopus.wait_for(waiting, is_paused=True)["State"] == "Queued"
    assert octopus.wait_for(fails)["ErrorMessage"] == "no way"
    assert [step["name"] for step in run_of(octopus, fails)["steps"]] == ["Claim", "undo"]


@pytest.mark.parametrize("language", ["bash", "python"])
def test_a_script_sees_the_system_variables(octopus: SimulatedOctopus, tmp_path: Path, language: str) -> None:
    names = ["Octopus.Task.Id", "Octopus.Deployment.Id", "Octopus.RunbookRun.Id", "Octopus.Space.Id",
             "Octopus.Deployment.Machines", "Octopus.Project.Name", "Octopus.Release.Number", "Shared",
             "Own"]  # fmt: skip
    (tmp_path / "tell.sh").write_text("".join(f'write_highlight "{n}=$(get_octopusvariable {n})"\n' for n in names))
    (tmp_path / "tell.py").write_text("".join(f'printhighlight("{n}=" + get_octopusvariable("{n}"))\n' for n in names))
    octopus.variables({"Shared": "all of #{Octopus.Project.Name}"})
    tell = script_step("Tell", str(tmp_path / "tell"), language=language, variables={"Own": "#{Shared}!"})
    octopus.project("Web", steps=[tell, work("deploy", machines=["web-01"])])

    task = octopus.deploy("Web", release="1.4.0")
    octopus.wait_for(task, "Success")
    step = octopus.api(f"tasks/{task.task_id}/details")["ActivityLogs"][0]["Children"][0]

    assert [line["MessageText"] for line in step["LogElements"]] == [
        f"Octopus.Task.Id={task.task_id}", f"Octopus.Deployment.Id={task.id}", "Octopus.RunbookRun.Id=",
        "Octopus.Space.Id=Spaces-1", "Octopus.Deployment.Machines=Machines-1", "Octopus.Project.Name=Web",
        "Octopus.Release.Number=1.4.0", "Shared=all of Web", "Own=all of Web!",
    ]  # fmt: skip
    assert {line["Category"] for line in step["LogElements"]} == {"Highlight"}


def test_a_script_on_a_target_holds_its_mutex(octopus: SimulatedOctopus, sleeper: Path) -> None:
    octopus.project("Web", steps=[script_step("Sleep", str(sleeper), machines=["web-01"])])
    octopus.project("Api", steps=[work("deploy")])
    holder = octopus.deploy("Web")
    eventually((sleeper.parent / "pids").exists)

    waiting = octopus.deploy("Api")
    eventually(lambda: run_of(octopus, waiting)["steps"])

    assert run_of(octopus, waiting)["work"] == []
    octopus.cancel(holder)
    assert octopus.wait_for(waiting)["State"] == "Success"
