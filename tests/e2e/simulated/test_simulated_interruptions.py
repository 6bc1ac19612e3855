"""Interventions and guided failures pause a task as Octopus pauses it."""

from __future__ import annotations

import pytest

from tests.e2e.simulated.helpers import FOR_EVER, Make, run_of
from tests.simulator.control import SimulatedOctopus, SimulatorError
from tests.simulator.steps import automatic, guided, manual, work


def test_a_stand_alone_intervention_frees_the_slot_and_queues_again(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=1)
    octopus.project("Paused", steps=[work("before"), manual("Approve"), work("after")])
    octopus.project("Busy", steps=[work("deploy", seconds=FOR_EVER, on_server=True)])

    paused = octopus.deploy("Paused")
    task = octopus.wait_for(paused, is_paused=True)
    busy = octopus.deploy("Busy")
    octopus.wait_for(busy, "Executing")
    octopus.submit(octopus.pending(paused)[0]["Id"])
    resumed = octopus.task(paused)
    octopus.cancel(busy)
    ended = octopus.wait_for(paused)

    assert (task["State"], task["HasPendingInterruptions"]) == ("Queued", True)
    assert task["PendingInterruptionTypes"] == ["ManualIntervention"]
    assert (resumed["State"], resumed["HasPendingInterruptions"]) == ("Queued", False)
    assert resumed["StartTime"] == task["StartTime"] is not None
    assert ended["State"] == "Success"
    categories = [event["Category"] for event in octopus.api(f"events?regarding={paused.task_id}")["Items"]][::-1]
    assert categories == ["DeploymentQueued", "DeploymentStarted", "ManualInterventionInterruptionRaised",
                          "InterruptionSubmitted", "DeploymentResumed", "DeploymentSucceeded"]  # fmt: skip


def test_an_intervention_within_a_step_keeps_the_slot(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=1)
    octopus.project("Paused", steps=[manual("Approve", is_child=True)])
    octopus.project("Next", steps=[work("deploy", on_server=True)])

    paused, next_ = octopus.deploy("Paused"), octopus.deploy("Next")
    task = octopus.wait_for(paused, is_paused=True)
    waiting = octopus.task(next_)
    octopus.submit(octopus.pending(paused)[0]["Id"], "Abort", notes="not today")

    assert (task["State"], waiting["State"]) == ("Executing", "Queued")
    assert octopus.wait_for(paused)["ErrorMessage"] == "Approve was aborted by jane. not today"
    assert octopus.wait_for(next_)["State"] == "Success"


def test_a_guided_failure_stays_executing_and_can_be_retried(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[guided("deploy", fails=1)])

    task = octopus.deploy("Web")
    paused = octopus.wait_for(task, is_paused=True)
    octopus.submit(octopus.pending(task)[0]["Id"], "Retry")

    assert (paused["State"], paused["PendingInterruptionTypes"]) == ("Executing", ["GuidedFailure"])
    assert octopus.wait_for(task)["State"] == "Success"
    assert len(run_of(octopus, task)["work"]) == 2


def test_only_a_member_who_took_responsibility_may_submit(octopus: SimulatedOctopus) -> None:
    stranger = octopus.user("stranger", permissions=["InterruptionView", "InterruptionViewSubmitResponsible"])
    octopus.project("Web", steps=[manual("Approve", instructions="for #{Octopus.Project.Name}")])
    task = octopus.deploy("Web")
    octopus.wait_for(task, is_paused=True)
    interruption = octopus.pending(task)[0]["Id"]
    path = f"interruptions/{interruption}"
    answer = {"Id": interruption, "SpaceId": "Spaces-1", "Result": "Proceed", "Notes": ""}

    with pytest.raises(SimulatorError, match="403"):
        octopus.api(f"{path}/responsible", {}, method="PUT", key=stranger)
    with pytest.raises(SimulatorError, match="400 .*taken responsibility"):
        octopus.api(f"{path}/submit", answer, key="octowait")
    before = octopus.api(path, key="octowait")
    octopus.api(f"{path}/responsible", {}, method="PUT", key="octowait")
    after = octopus.api(path, key="octowait")
    for missing in ("Id", "SpaceId"):
        with pytest.raises(SimulatorError, match=f"400 .*{missing} is None"):
            octopus.api(f"{path}/submit", {**answer, missing: None}, key="octowait")
    octopus.api(f"{path}/submit", answer, key="octowait")
    with pytest.raises(SimulatorError, match="no longer pending"):
        octopus.api(f"{path}/submit", answer, key="octowait")

    assert (before["CanTakeResponsibility"], before["HasResponsibility"]) == (True, False)
    assert (after["CanTakeResponsibility"], after["HasResponsibility"]) == (False, True)
    assert octopus.api(f"{path}/responsible")["Username"] == "octowait"
    assert before["Form"]["Elements"][0]["Control"]["Text"] == "for Web"
    assert octopus.wait_for(task)["State"] == "Success"


def test_a_paused_task_is_canceled_once_and_asks_nobody_any_more(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[manual("Approve"), work("never", condition="Always")])
    task = octopus.deploy("Web")
    octopus.wait_for(task, is_paused=True)

    octopus.cancel(task)

    assert (octopus.task(task)["State"], octopus.pending(task)) == ("Canceled", [])
    octopus.project("Api", steps=[])
    octopus.wait_for(octopus.deploy("Api"))
    categories = [event["Category"] for event in octopus.api(f"events?regarding={task.task_id}")["Items"]]
    assert categories.count("TaskCanceled") == 1
    assert [step["name"] for step in run_of(octopus, task)["steps"]] == ["Approve"]


@pytest.mark.parametrize(
    ("interruption", "state"),
    [("PullRequestCompletion", "Queued"), ("ArgoCDApplicationSync", "Queued"),
     ("KubernetesResourceVerification", "Executing")],
)  # fmt: skip
def test_what_octopus_answers_itself_nobody_else_can(
    octopus: SimulatedOctopus, interruption: str, state: str
) -> None:  # fmt: skip
    octopus.project("Web", steps=[automatic("Verify", interruption), work("after")])
    task = octopus.deploy("Web")
    paused = octopus.wait_for(task, is_paused=True)
    [pending] = octopus.pending(task)
    answer = {"Id": pending["Id"], "SpaceId": "Spaces-1", "Result": "Proceed", "Notes": ""}

    with pytest.raises(SimulatorError, match="403"):
        octopus.api(f"interruptions/{pending['Id']}/responsible", {}, method="PUT")
    with pytest.raises(SimulatorError, match="400"):
        octopus.api(f"interruptions/{pending['Id']}/submit", answer)
    octopus.settle(pending["Id"])

    assert (paused["State"], paused["PendingInterruptionTypes"]) == (state, [interruption])
    assert octopus.wait_for(task)["State"] == "Success"
    assert not any(interruption in event["Category"] for event in octopus.record()["events"])


def test_the_flag_of_a_waiting_task_may_be_out_of_date(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[manual("Approve")])
    task = octopus.deploy("Web")
    octopus.wait_for(task, is_paused=True)

    octopus.faults(flag_off=1)
    without_flag = octopus.api(f"tasks/{task.task_id}")
    octopus.faults(types_off=1)
    [with_nothing] = octopus.api(f"tasks?ids={task.task_id}")["Items"]

    shown = "HasPendingInterruptions", "PendingInterruptionTypes"
    assert [without_flag[name] for name in shown] == [False, ["ManualIntervention"]]
    assert [with_nothing[name] for name in shown] == [False, []]
    assert len(octopus.api(f"interruptions?pendingOnly=true&regarding={task.task_id}")["Items"]) == 1
