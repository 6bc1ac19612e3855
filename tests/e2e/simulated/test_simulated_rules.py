"""What decides whether a task may start: freezes, approvals, policies, newer tasks, its own expiry."""

from __future__ import annotations

import pytest

from tests.conftest import eventually
from tests.e2e.simulated.helpers import FOR_EVER, Make, Receiver, run_of, states
from tests.simulator.clock import Clock, iso
from tests.simulator.control import SimulatedOctopus, SimulatorError
from tests.simulator.steps import manual, work

HOURS = 10_000.0


def test_a_freeze_refuses_new_deployments_and_fails_queued_ones(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=1)
    octopus.project("Busy", steps=[work("deploy", on_server=True, seconds=FOR_EVER)])
    octopus.project("Web", steps=[work("deploy")])
    octopus.runbook("Web", "Clean", steps=[work("clean")])
    done = octopus.deploy("Web")
    octopus.wait_for(done)
    busy, queued = octopus.deploy("Busy"), octopus.deploy("Web")

    freeze = octopus.freeze("Weekend", "Web", seconds=HOURS)
    with pytest.raises(SimulatorError, match="400 .*Errors.*blocked by the deployment freeze Weekend"):
        octopus.deploy("Web")
    with pytest.raises(SimulatorError, match="freeze"):
        release = octopus.api("projects/Projects-2/releases")["Items"][0]["Id"]
        octopus.api("deployments", {"ReleaseId": release, "EnvironmentId": "Environments-1"})
    overriding = octopus.api("deployments/override", {
        "CreateDeploymentCommand": {"ReleaseId": release, "EnvironmentId": "Environments-1"}, "FreezeIds": [freeze],
        "Reason": "urgent",
    })["TaskId"]  # fmt: skip
    run, triggered = octopus.run_runbook("Web", "Clean"), octopus.trigger(done, ["web-01"])
    elsewhere = octopus.deploy("Web", "Test")
    octopus.cancel(busy)
    octopus.wait_idle()

    frozen = octopus.task(queued)
    assert (frozen["State"], frozen["StartTime"]) == ("Failed", None)
    assert "freeze Weekend" in frozen["ErrorMessage"]
    assert states(octopus, run, triggered, elsewhere) == ["Success"] * 3
    assert octopus.task(overriding)["State"] == "Success"
    told = [e["Category"] for e in octopus.record()["events"] if queued.task_id in e["RelatedDocumentIds"]]
    assert told == ["DeploymentQueued", "DeploymentFailed"]
    assert octopus.api(f"tasks/{queued.task_id}/details")["ActivityLogs"][0]["Children"] == []


def test_freezes_are_listed_for_the_server_in_an_envelope_of_their_own(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[])
    past = octopus.freeze("Past", "Web", seconds=HOURS)
    octopus.end_freeze(past)
    octopus.freeze("Now", "Web", seconds=HOURS)
    octopus.freeze("Later", "Web", seconds=HOURS, starts_in=HOURS)

    def names(query: str) -> list[str]:
        return [
            freeze["Name"] for freeze in octopus.api(f"/deploymentfreezes?{query}", key="octowait")["DeploymentFreezes"]
        ]

    with pytest.raises(SimulatorError, match="400 .*skip and take are required"):
        octopus.api("/deploymentfreezes")
    assert names("skip=0&take=9") == ["Past", "Now", "Later"]
    assert names("skip=0&take=9&includeComplete=false&projectIds=Projects-1") == ["Now", "Later"]
    soon = (iso(Clock.now_ms() + 1000) or "").replace("+", "%2B")
    assert names(f"skip=0&take=9&effectiveDate={soon}") == ["Now"]
    assert octopus.api("/deploymentfreezes/DeploymentFreezes-2")["ProjectEnvironmentScope"] == {
        "Projects-1": ["Environments-1"]
    }


def test_a_newer_task_takes_the_place_of_the_older_queued_ones(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=1)
    octopus.project("Busy", steps=[work("deploy", on_server=True, seconds=FOR_EVER)])
    octopus.project("Web", steps=[work("deploy", seconds=0.1)], cancels_queued=True)
    octopus.project("Between", steps=[work("deploy", seconds=0.1)])
    busy = octopus.deploy("Busy")
    before_partial, partial = octopus.deploy("Web"), octopus.deploy("Web", machines=["web-01"])
    older, between, tenanted = octopus.deploy("Web"), octopus.deploy("Between"), octopus.deploy("Web", tenant="Acme")

    newer = octopus.deploy("Web")
    octopus.cancel(busy)
    octopus.wait_idle()

    assert states(octopus, before_partial, partial, older, between, tenanted, newer) == [
        "Success", "Success", "Canceled", "Success", "Success", "Success",
    ]  # fmt: skip
    started = {run["task_id"]: run["started_ms"] for run in octopus.record()["runs"]}
    assert started[older.task_id] is None
    assert started[newer.task_id] <= started[between.task_id]
    [told] = [e for e in octopus.record()["events"]
              if e["Category"] == "TaskCanceled" and older.task_id in e["RelatedDocumentIds"]]  # fmt: skip
    assert told["Username"] == "system"


def test_a_task_that_succeeds_cancels_older_paused_ones(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[manual("Approve")], cancels_running=True)
    older, partial, newer = octopus.deploy("Web"), octopus.deploy("Web", machines=["web-01"]), octopus.deploy("Web")
    for task in (older, partial, newer):
        octopus.wait_for(task, is_paused=True)

    octopus.submit(octopus.pending(newer)[0]["Id"])
    octopus.wait_for(older)

    assert states(octopus, older, newer) == ["Canceled", "Success"]
    assert octopus.pending(older) == [] and len(octopus.pending(partial)) == 1


def test_a_task_waits_for_its_approval_without_a_slot(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=1)
    octopus.project("Web", steps=[work("deploy")], needs_approval=True)
    octopus.project("Next", steps=[work("deploy")])
    approved, rejected, next_ = octopus.deploy("Web"), octopus.deploy("Web"), octopus.deploy("Next")
    octopus.wait_for(next_)

    waiting = octopus.api(f"tasks/{approved.task_id}")
    listed = octopus.api("tasks?hasPendingPreconditions=true")["Items"]
    running = octopus.api("tasks?running=true")["Items"]
    octopus.approve(rejected, is_approved=False)
    octopus.approve(approved)
    octopus.wait_idle()

    assert (waiting["State"], waiting["HasPendingPreconditions"]) == ("Queued", True)
    assert (waiting["PendingPreconditionTypes"], waiting["StartTime"]) == (["Approval"], None)
    assert {task["Id"] for task in listed} == {approved.task_id, rejected.task_id} and running == []
    assert states(octopus, approved, rejected) == ["Success", "Failed"]
    assert octopus.task(rejected)["StartTime"] is None
    with pytest.raises(SimulatorError, match="waits for no approval"):
        octopus.approve(approved)


def test_a_policy_fails_a_task_at_its_start(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy")], is_blocked_by_policy=True)
    task = octopus.deploy("Web")

    assert octopus.wait_for(task)["State"] == "Failed"
    assert run_of(octopus, task)["work"] == []
    categories = [event["Category"] for event in octopus.record()["events"]][-2:]
    assert categories == ["CompliancePolicyEvaluatedNonCompliantBlocked", "DeploymentFailed"]


def test_a_scheduled_task_that_does_not_start_in_half_an_hour_times_out_untold(
    make_octopus: Make, receiver: Receiver
) -> None:  # fmt: skip
    octopus = make_octopus(task_cap=1, speed=900)
    octopus.subscribe(receiver.url)
    octopus.project("Busy", steps=[work("deploy", on_server=True, seconds=900_000)])
    octopus.project("Web", steps=[work("deploy")])
    octopus.deploy("Busy")

    task = octopus.deploy("Web", queue_in_seconds=0.2)
    ended = octopus.wait_for(task)

    assert (ended["State"], ended["IsCompleted"], ended["StartTime"]) == ("TimedOut", True, None)
    assert ended["QueueTimeExpiry"] > ended["QueueTime"]
    told = eventually(lambda: [e["Category"] for e in octopus.record()["events"]
                               if task.task_id in e["RelatedDocumentIds"]])  # fmt: skip
    assert told == ["DeploymentQueued"]
