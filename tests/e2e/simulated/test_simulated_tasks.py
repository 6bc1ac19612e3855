"""Tasks start in order, within the cap, the mutex and the concurrency tags."""

from __future__ import annotations

from tests.conftest import eventually
from tests.e2e.simulated.helpers import FOR_EVER, Make, Receiver, run_of, states
from tests.simulator.control import SimulatedOctopus
from tests.simulator.record import overlaps
from tests.simulator.steps import poll_wait, work


def test_tasks_of_all_kinds_start_in_order_within_the_cap(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=2)
    for number in range(4):
        octopus.project(f"P{number}", steps=[work("deploy", seconds=FOR_EVER, on_server=True)])
    octopus.runbook("P3", "Clean", steps=[work("clean", seconds=FOR_EVER, on_server=True)])

    tasks = [octopus.deploy(f"P{number}") for number in range(3)] + [octopus.run_runbook("P3", "Clean")]
    first = states(octopus, *tasks)
    octopus.cancel(tasks[0])
    octopus.wait_for(tasks[2], "Executing")

    assert first == ["Executing", "Executing", "Queued", "Queued"]
    assert states(octopus, *tasks) == ["Canceled", "Executing", "Executing", "Queued"]
    assert octopus.task(tasks[3])["HasBeenPickedUpByProcessor"] is False


def test_a_project_is_deployed_to_an_environment_once_at_a_time_and_blocks_nobody(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=FOR_EVER, on_server=True)])
    octopus.project("Api", steps=[work("deploy", seconds=FOR_EVER, on_server=True)])

    first, second, other = octopus.deploy("Web"), octopus.deploy("Web"), octopus.deploy("Api")
    elsewhere = octopus.deploy("Web", "Test")

    assert states(octopus, first, second, other, elsewhere) == ["Executing", "Queued", "Executing", "Executing"]


def test_the_mutex_isolates_scripts_and_not_deployments(octopus: SimulatedOctopus) -> None:
    for name in ("Web", "Api"):
        octopus.project(name, steps=[work("first", seconds=4), work("second", seconds=4)])

    tasks = [octopus.deploy("Web"), octopus.deploy("Api")]
    octopus.wait_idle()

    works = [(w["started_ms"], w["ended_ms"], task) for task in tasks for w in run_of(octopus, task)["work"]]
    works.sort(key=lambda entry: entry[0])
    assert all(one[1] <= other[0] for one, other in zip(works, works[1:], strict=False))
    assert [entry[2] for entry in works] == [tasks[0], tasks[1], tasks[0], tasks[1]]
    assert [found.machine for found in overlaps(octopus.record())] == ["Machines-1"]


def test_a_task_is_run_again_under_the_same_ids(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy")])
    task = octopus.deploy("Web")
    first = octopus.wait_for(task)

    octopus.api(f"tasks/rerun/{task.task_id}", {})
    second = octopus.wait_for(task)

    assert first["Arguments"] == second["Arguments"] == {"DeploymentId": task.id}
    assert second["StartTime"] > first["CompletedTime"]
    assert run_of(octopus, task, 2)["started_ms"] >= run_of(octopus, task, 1)["ended_ms"]
    categories = [event["Category"] for event in octopus.api(f"events?regarding={task.id}")["Items"]]
    assert categories == ["DeploymentSucceeded", "DeploymentStarted", "DeploymentQueued"] * 2


def test_the_polling_loop_finishes_without_an_overlap(make_octopus: Make) -> None:
    octopus = make_octopus(task_cap=3)
    for number in range(4):
        octopus.project(f"P{number}", steps=[poll_wait(), work("first", machines=["web-01"], seconds=3),
                                             work("second", machines=["web-01"], seconds=3)])  # fmt: skip

    for number in range(4):
        octopus.deploy(f"P{number}")
    octopus.wait_idle()

    assert {run["state"] for run in octopus.record()["runs"]} == {"Success"}
    assert overlaps(octopus.record()) == []
    calls = octopus.calls()["by_key_and_path"]["poller"]
    assert list(calls) == ["GET machines/{id}/tasks"] and calls["GET machines/{id}/tasks"] >= 7


def test_the_server_looks_at_its_queue_and_for_events_by_itself(make_octopus: Make, receiver: Receiver) -> None:
    octopus = make_octopus(speed=300, look_seconds=20)
    octopus.subscribe(receiver.url)
    octopus.project("Web", steps=[work("deploy", seconds=1)])

    octopus.deploy("Web")
    eventually(lambda: receiver.categories[-1:] == ["DeploymentSucceeded"])

    assert octopus.calls()["total"] == 0
    assert all(delivery["outcome"] == "delivered" for delivery in octopus.record()["deliveries"])


def test_equal_concurrency_tags_run_one_at_a_time(octopus: SimulatedOctopus) -> None:
    for name in ("Web", "Api"):
        octopus.project(name, steps=[work("deploy", seconds=FOR_EVER, on_server=True)],
                        concurrency_tag="shared/#{Octopus.Environment.Id}")  # fmt: skip

    tasks = [octopus.deploy("Web"), octopus.deploy("Api"), octopus.deploy("Api", "Test")]

    assert states(octopus, *tasks) == ["Executing", "Queued", "Executing"]
