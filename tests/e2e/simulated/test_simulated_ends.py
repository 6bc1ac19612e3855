"""Tasks that are cancelled, abandoned or timed out end as in Octopus."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import eventually
from tests.e2e.simulated.helpers import FOR_EVER, Make, alive, run_of
from tests.simulator.control import SimulatedOctopus
from tests.simulator.record import overlaps
from tests.simulator.steps import script_step, work


def test_cancel_kills_the_script_and_all_it_started(octopus: SimulatedOctopus, sleeper: Path, tmp_path: Path) -> None:
    octopus.project("Web", steps=[script_step("Sleep", str(sleeper)), work("never", condition="Always")])
    task = octopus.deploy("Web")
    pids = [
        int(pid) for pid in eventually(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text()).split()
    ]

    octopus.cancel(task)
    ended = octopus.wait_for(task)

    assert (ended["State"], ended["IsCompleted"], ended["FinishedSuccessfully"]) == ("Canceled", True, False)
    eventually(lambda: not any(map(alive, pids)))
    categories = [event["Category"] for event in octopus.api(f"events?regarding={task.task_id}")["Items"]]
    assert categories == ["TaskCanceled", "DeploymentStarted", "DeploymentQueued"]
    assert run_of(octopus, task)["work"] == []


def test_a_task_that_is_cancelling_keeps_its_slot(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=1, cancel_seconds=20)
    octopus.project("Web", steps=[work("deploy", seconds=FOR_EVER)])
    octopus.project("Api", steps=[work("deploy", on_server=True)])
    task, next_ = octopus.deploy("Web"), octopus.deploy("Api")

    octopus.cancel(task)
    during = octopus.task(task), octopus.task(next_)["State"]
    octopus.wait_for(next_)

    assert (during[0]["State"], during[0]["IsCompleted"], during[1]) == ("Cancelling", False, "Queued")
    assert octopus.task(task)["CompletedTime"] <= octopus.task(next_)["StartTime"]


def test_an_abandoned_task_is_canceled_while_its_script_runs(
    octopus: SimulatedOctopus, sleeper: Path, tmp_path: Path
) -> None:
    octopus.project("Web", steps=[script_step("Sleep", str(sleeper))])
    task = octopus.deploy("Web")
    pids = [
        int(pid) for pid in eventually(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text()).split()
    ]

    octopus.abandon(task)

    assert octopus.task(task)["State"] == "Canceled"
    assert all(map(alive, pids))
    octopus.stop()
    eventually(lambda: not any(map(alive, pids)))


def test_abandoned_work_gives_the_mutex_back_and_goes_on(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=30)])
    octopus.project("Api", steps=[work("deploy", seconds=1)])
    abandoned = octopus.deploy("Web")
    eventually(lambda: run_of(octopus, abandoned)["work"])

    octopus.abandon(abandoned)
    other = octopus.deploy("Api")
    octopus.wait_for(other)
    eventually(lambda: run_of(octopus, abandoned)["work"][0]["ended_ms"])

    run, next_ = run_of(octopus, abandoned), run_of(octopus, other)
    assert run["ended_ms"] <= next_["work"][0]["started_ms"] < run["work"][0]["ended_ms"]
    assert len(overlaps(octopus.record())) == 1


def test_a_task_that_times_out_ends_without_an_event(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=FOR_EVER)])
    running, expired = octopus.deploy("Web"), octopus.deploy("Web", expires_in_seconds=0.2)

    octopus.wait_for(expired, "TimedOut")
    octopus.time_out(running)
    octopus.wait_for(running, "TimedOut")

    categories = {event["Category"] for event in octopus.api("events?documentTypes=Deployments")["Items"]}
    assert categories == {"DeploymentQueued", "DeploymentStarted"}
