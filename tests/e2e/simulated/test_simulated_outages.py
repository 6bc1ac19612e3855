"""What becomes of tasks, events and calls while the server is not there."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from tests.conftest import eventually
from tests.e2e.simulated.helpers import FOR_EVER, Make, Receiver, run_of, states, status_of
from tests.simulator.control import SimulatedOctopus, SimulatorError
from tests.simulator.steps import manual, work


def is_there(octopus: SimulatedOctopus) -> bool:
    try:
        return status_of(octopus, "/api/tasks") == 200
    except OSError:
        return False


def test_tasks_go_on_where_they_were_when_the_server_restarts(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=2, speed=10)
    octopus.project("Web", steps=[work("one", seconds=5), work("two", seconds=1)])
    octopus.project("Next", steps=[work("deploy", on_server=True)])
    task = octopus.deploy("Web")
    eventually(lambda: run_of(octopus, task)["work"])
    before = octopus.task(task)

    octopus.go_away(10)
    meanwhile, later = octopus.task(task), octopus.deploy("Next")
    with pytest.raises(OSError):
        status_of(octopus, "/api/tasks")
    eventually(lambda: run_of(octopus, task)["work"][0]["ended_ms"])
    still_away = octopus.task(task)["State"], octopus.task(later)["State"], len(run_of(octopus, task)["work"])
    eventually(lambda: is_there(octopus))
    after = octopus.wait_for(task, "Executing")
    octopus.wait_idle()

    assert (before["State"], before["ServerNode"]) == ("Executing", "node-1")
    assert (meanwhile["State"], meanwhile["StartTime"]) == ("Queued", before["StartTime"])
    assert not meanwhile["HasPendingInterruptions"]
    assert still_away == ("Queued", "Queued", 1)
    assert (after["StartTime"], after["ServerNode"]) == (before["StartTime"], "node-2")
    assert states(octopus, task, later) == ["Success", "Success"]
    [one, two] = run_of(octopus, task)["work"]
    [[gone_ms, back_ms]] = octopus.record()["outages"]
    assert gone_ms < one["ended_ms"] < back_ms <= two["started_ms"]
    told = [e["Category"] for e in octopus.record()["events"] if task.task_id in e["RelatedDocumentIds"]]
    assert told == ["DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"]


def test_self_hosted_nodes_cancel_what_was_active_when_they_come_back(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=FOR_EVER)])
    octopus.project("Paused", steps=[manual("Approve")])
    works, paused = octopus.deploy("Web"), octopus.deploy("Paused")
    eventually(lambda: run_of(octopus, works)["work"])
    octopus.wait_for(paused, is_paused=True)

    octopus.go_away(5, cancels=True)
    while_away = octopus.task(works)["State"]
    ended = octopus.wait_for(works)

    assert (while_away, ended["State"]) == ("Executing", "Canceled")
    assert run_of(octopus, works)["ended_ms"] >= octopus.record()["outages"][0][1]
    assert octopus.pending(paused)


def test_a_question_within_a_step_does_not_survive_a_restart(octopus: SimulatedOctopus) -> None:
    octopus.project("Inside", steps=[manual("Approve", is_child=True)])
    octopus.project("Alone", steps=[manual("Approve")])
    inside, alone = octopus.deploy("Inside"), octopus.deploy("Alone")
    for task in (inside, alone):
        octopus.wait_for(task, is_paused=True)

    octopus.go_away(1)
    octopus.wait_for(inside, "Canceled")
    eventually(lambda: is_there(octopus))
    octopus.submit(octopus.pending(alone)[0]["Id"])

    assert octopus.wait_for(alone)["State"] == "Success"


def test_a_maintenance_window_answers_with_a_page_and_sends_nothing(make_octopus: Make, receiver: Receiver) -> None:
    octopus = make_octopus(speed=30)
    octopus.subscribe(receiver.url)
    octopus.project("Web", steps=[work("deploy", on_server=True, seconds=0.1)])
    octopus.faults(retry_after=7200)

    octopus.go_away(60, has_page=True)
    octopus.deploy("Web")
    octopus.look_for_events()
    with pytest.raises(urllib.error.HTTPError) as refused:
        request = urllib.request.Request(f"{octopus.url}/api/tasks", headers={"X-Octopus-ApiKey": octopus.api_key})
        urllib.request.urlopen(request, timeout=10)
    with refused.value:
        page = refused.value.read().decode()
    [sending] = [t for t in map(octopus.task, ("ServerTasks-1", "ServerTasks-2")) if t["Name"] != "Deploy"]
    got = list(receiver.got)
    octopus.wait_idle(is_delivered=True)

    assert (refused.value.code, refused.value.headers["Retry-After"]) == (503, "7200")
    assert refused.value.headers["Content-Type"].startswith("text/html") and page.startswith("<!DOCTYPE html>")
    assert (sending["State"], got) == ("Queued", [])
    assert "DeploymentQueued" in receiver.categories
    with pytest.raises(SimulatorError, match="away already"):
        octopus.go_away(100)
        octopus.go_away(1)


def test_a_restart_loses_the_rest_of_the_batch_that_was_being_sent(
    octopus: SimulatedOctopus, receiver: Receiver
) -> None:
    octopus.subscribe(receiver.url)
    receiver.answers.clear()
    octopus.project("Web", steps=[])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.look_for_events()
    eventually(lambda: receiver.got)

    octopus.go_away(1)
    receiver.answers.set()
    eventually(lambda: is_there(octopus))
    octopus.wait_idle(is_delivered=True)

    assert receiver.categories == ["DeploymentQueued"]
    outcomes = [delivery["outcome"] for delivery in octopus.record()["deliveries"]]
    assert outcomes == ["delivered", "lost with its batch", "lost with its batch"]
    # The task of the system that was cancelled is no news of the space.
    assert octopus.record()["events"][-1]["Category"] == "TaskCanceled"


def test_a_project_may_raise_no_started_events(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=0.1)], tells_starts=False)
    octopus.runbook("Web", "Clean", steps=[work("clean", seconds=0.1)])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.wait_for(octopus.run_runbook("Web", "Clean"))

    categories = {event["Category"] for event in octopus.record()["events"]}
    assert not any("Started" in category for category in categories)
    assert {"DeploymentSucceeded", "RunbookRunSucceeded"} <= categories
