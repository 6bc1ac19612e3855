"""Which machines a run works on: chosen, tagged, triggered, added and deleted on the way."""

from __future__ import annotations

from tests.conftest import eventually
from tests.e2e.simulated.helpers import FOR_EVER, Make, run_of
from tests.simulator.control import SimulatedOctopus
from tests.simulator.steps import health_check, manual, script_step, work


def worked_on(octopus: SimulatedOctopus, task: object, execution: int = 1) -> list[str]:
    return [work["machine"] for work in run_of(octopus, task, execution)["work"]]  # type: ignore[arg-type]


def test_target_tags_choose_machines(octopus: SimulatedOctopus) -> None:
    for name, tags in (("blue-01", ["TagSets-1/Tags-1"]), ("green-01", ["TagSets-1/Tags-2"]), ("plain-01", [])):
        octopus.machine(name, tags=tags)
    octopus.project("Web", steps=[work("deploy")])

    blue = octopus.deploy("Web", tags=["TagSets-1/Tags-1"])
    no_green = octopus.deploy("Web", excluded_tags=["TagSets-1/Tags-2"])
    octopus.wait_idle()

    assert sorted(worked_on(octopus, blue)) == ["Machines-2"]
    assert sorted(worked_on(octopus, no_green)) == ["Machines-1", "Machines-2", "Machines-4"]
    shown = octopus.api(f"deployments/{blue.id}")
    assert (shown["SpecificTargetTagIds"], shown["ExcludedTargetTagIds"]) == (["TagSets-1/Tags-1"], [])
    assert octopus.api(f"deployments/{no_green.id}")["ExcludedTargetTagIds"] == ["TagSets-1/Tags-2"]
    listed = octopus.api("machines")["Items"]
    tags = {machine["Name"]: machine.get("TargetTagIds", "not shown") for machine in listed}
    assert tags == {"web-01": "not shown", "blue-01": ["TagSets-1/Tags-1"], "green-01": ["TagSets-1/Tags-2"],
                    "plain-01": []}  # fmt: skip


def test_machines_are_deployed_to_step_by_step(octopus: SimulatedOctopus) -> None:
    octopus.machine("web-02")
    octopus.project("Web", steps=[work("one", machines=["web-01"], seconds=0.1), manual("Go on?"),
                                  work("two", machines=["web-02"], seconds=0.1)])  # fmt: skip
    task = octopus.deploy("Web")
    octopus.wait_for(task, is_paused=True)
    half = octopus.api(f"deployments/{task.id}")["DeployedToMachineIds"]
    octopus.submit(octopus.pending(task)[0]["Id"])
    octopus.wait_for(task)

    assert half == ["Machines-1"]
    assert octopus.api(f"deployments/{task.id}")["DeployedToMachineIds"] == ["Machines-1", "Machines-2"]
    assert run_of(octopus, task)["machines"] == ["Machines-1", "Machines-2"]


def test_a_trigger_runs_a_deployment_again_for_a_machine_it_excluded(octopus: SimulatedOctopus) -> None:
    octopus.machine("web-02")
    octopus.project("Web", steps=[work("deploy")])
    first = octopus.deploy("Web", excluded=["web-02"])
    octopus.wait_for(first)

    again = octopus.trigger(first, ["web-02"])
    octopus.wait_for(again)

    assert (again.id, again.task_id) == (first.id, "ServerTasks-2")
    assert octopus.api(f"tasks/{again.task_id}")["Arguments"] == {"DeploymentId": first.id}
    assert (worked_on(octopus, first), worked_on(octopus, again)) == (["Machines-1"], ["Machines-2"])
    shown = octopus.api(f"deployments/{first.id}")
    assert (shown["SpecificMachineIds"], shown["ExcludedMachineIds"]) == ([], ["Machines-2"])
    starts = [e["RelatedDocumentIds"] for e in octopus.record()["events"] if e["Category"] == "DeploymentStarted"]
    assert [ids[0] for ids in starts] == [first.id, first.id] and again.task_id in starts[1]


def test_a_health_check_takes_machines_in_and_deleted_ones_go(octopus: SimulatedOctopus) -> None:
    octopus.machine("web-02")
    octopus.project("Web", steps=[manual("Go on?"), work("one", seconds=0.1), health_check("Check", ["web-03"]),
                                  work("two", seconds=0.1)])  # fmt: skip
    task = octopus.deploy("Web")
    octopus.wait_for(task, is_paused=True)

    octopus.machine("web-03")
    octopus.delete_machine("web-02")
    octopus.submit(octopus.pending(task)[0]["Id"])
    octopus.wait_for(task, "Success")

    worked = [(work["step"], work["machine"]) for work in run_of(octopus, task)["work"]]
    assert worked[0] == ("one", "Machines-1")
    assert sorted(worked[1:]) == [("two", "Machines-1"), ("two", "Machines-3")]
    assert run_of(octopus, task)["machines"] == ["Machines-1", "Machines-2", "Machines-3"]


def test_targets_without_a_tentacle_exclude_nobody(make_octopus: Make) -> None:
    octopus = make_octopus()
    octopus.machine("app", style="AzureWebApp")
    octopus.machine("agent", style="KubernetesTentacle")
    for name in ("One", "Two"):
        octopus.project(name, steps=[work("deploy", machines=["app", "agent"], seconds=FOR_EVER)])
        octopus.deploy(name)

    eventually(lambda: sum(len(run["work"]) for run in octopus.record()["runs"]) == 4)

    styles = {
        machine["Name"]: machine["Endpoint"]["CommunicationStyle"] for machine in octopus.api("machines")["Items"]
    }
    assert styles == {"web-01": "TentaclePassive", "app": "AzureWebApp", "agent": "KubernetesTentacle"}


def test_targets_of_a_parent_environment_serve_its_children(octopus: SimulatedOctopus) -> None:
    octopus.machine("shared-01", environments=["Preview"])
    octopus.environment("Branch 12", parent="Preview")
    octopus.project("Web", steps=[work("deploy", machines=["shared-01"])])

    task = octopus.deploy("Web", "Branch 12")
    octopus.wait_for(task)

    assert worked_on(octopus, task) == ["Machines-2"]


def test_a_script_is_killed_when_its_time_is_out_and_run_again_when_it_failed(
    octopus: SimulatedOctopus, tmp_path: object
) -> None:  # fmt: skip
    endless, flaky = f"{tmp_path}/endless", f"{tmp_path}/flaky"
    with open(f"{endless}.sh", "w") as script:
        script.write("sleep 1000\n")
    with open(f"{flaky}.sh", "w") as script:
        script.write(f"test -e {tmp_path}/tried || {{ touch {tmp_path}/tried; exit 1; }}\n")
    octopus.project("Web", steps=[script_step("flaky", flaky, retries=1),
                                  script_step("endless", endless, time_limit_seconds=2)])  # fmt: skip

    task = octopus.deploy("Web")

    assert octopus.wait_for(task)["ErrorMessage"] == "The script of endless returned exit code -44."
    assert [step["exit"] for step in run_of(octopus, task)["steps"]] == [0, -44]
