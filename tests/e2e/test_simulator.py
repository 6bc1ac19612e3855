"""The simulated Octopus Server does what the real one does: what octowait is tested with is itself tested here."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.simulator.control import Deployment, SimulatedOctopus, SimulatorError
from tests.simulator.record import overlaps
from tests.simulator.steps import deploy_release, guided, manual, parked_wait, poll_wait, script_step, work

Make = Callable[..., SimulatedOctopus]

#: Work of so many seconds never ends within a test.
FOR_EVER = 10_000.0


@pytest.fixture
def make_octopus(tmp_path: Path) -> Iterator[Make]:
    """Servers that look at their queue at every change: ``make_octopus(task_cap=2)``."""
    made: list[SimulatedOctopus] = []

    def make(**options: Any) -> SimulatedOctopus:
        made.append(SimulatedOctopus.start(tmp_path, **{"speed": 20, "look_seconds": 0, **options}))
        made[-1].machine("web-01")
        return made[-1]

    yield make
    for octopus in made:
        octopus.stop()


@pytest.fixture
def octopus(make_octopus: Make) -> SimulatedOctopus:
    return make_octopus()


class Receiver:
    """A webhook receiver that keeps what it got, and answers with the statuses it is given, then with 202."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.statuses: list[int] = []
        #: Cleared: no answer until it is set.
        self.answers = threading.Event()
        self.answers.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.got.append((dict(self.headers), body))
                receiver.answers.wait(30)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 202)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/octopus"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def events(self) -> list[Any]:
        return [body["Payload"]["Event"] for _, body in self.got]

    @property
    def categories(self) -> list[str]:
        return [event["Category"] for event in self.events]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.answers.set()
    receiver.server.shutdown()
    receiver.server.server_close()


def states(octopus: SimulatedOctopus, *tasks: Deployment) -> list[str]:
    return [octopus.task(task)["State"] for task in tasks]


def run_of(octopus: SimulatedOctopus, task: Deployment, execution: int = 1) -> Any:
    runs = octopus.record()["runs"]
    return next(run for run in runs if run["task_id"] == task.task_id and run["execution"] == execution)


def status_of(
    octopus: SimulatedOctopus, path: str, key: str | None = "API-SIMULATED-ADMIN", method: str = "GET"
) -> int:
    request = urllib.request.Request(
        octopus.url + path, method=method, headers={"X-Octopus-ApiKey": key} if key else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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


def test_overlaps_knows_families_machines_and_gaps() -> None:
    def run(task: str, start: int, end: int, family: str = "", machine: str = "Machines-1") -> dict[str, Any]:
        worked = {"machine": machine, "step": "deploy", "started_ms": start, "ended_ms": start + 1}
        return {"task_id": task, "execution": 1, "family": family or task, "ended_ms": end, "is_abandoned": False,
                "steps": [], "work": [worked]}  # fmt: skip

    one = run("ServerTasks-1", 10, 50)
    late, next_, child = run("ServerTasks-2", 49, 60), run("ServerTasks-2", 50, 60), run("ServerTasks-2", 20, 30)

    assert [found.overlap_ms for found in overlaps({"runs": [one, late]})] == [1]
    assert overlaps({"runs": [one, next_]}) == []
    assert overlaps({"runs": [one, {**child, "family": "ServerTasks-1"}]}) == []
    assert overlaps({"runs": [one, run("ServerTasks-2", 20, 30, machine="Machines-2")]}) == []
    assert overlaps({"runs": [one, late]}, only=lambda run: run["task_id"] == "ServerTasks-1") == []


def test_overlaps_gives_a_machine_back_when_the_release_step_starts() -> None:
    released = {"script": "release", "status": "Success", "started_ms": 40, "last_line": "Released Machines-1."}
    worked = {"machine": "Machines-1", "step": "deploy", "started_ms": 10, "ended_ms": 30}
    one = {"task_id": "ServerTasks-1", "execution": 1, "family": "ServerTasks-1", "ended_ms": 50,
           "is_abandoned": False, "steps": [released], "work": [worked]}  # fmt: skip
    other = {**one, "task_id": "ServerTasks-2", "family": "ServerTasks-2", "steps": [], "ended_ms": 90,
             "work": [{**worked, "started_ms": 45, "ended_ms": 60}]}  # fmt: skip
    unreached = {**one, "steps": [{**released, "last_line": "Not released: octowait did not answer."}]}

    assert overlaps({"runs": [one, other]}) == []
    assert len(overlaps({"runs": [one, other]}, is_strict=True)) == 1
    assert len(overlaps({"runs": [unreached, other]})) == 1


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
    path = f"interruptions/{octopus.pending(task)[0]['Id']}"
    answer = {"Result": "Proceed", "Notes": ""}

    with pytest.raises(SimulatorError, match="403"):
        octopus.api(f"{path}/responsible", {}, method="PUT", key=stranger)
    with pytest.raises(SimulatorError, match="403"):
        octopus.api(f"{path}/submit", answer, key="octowait")
    before = octopus.api(path, key="octowait")
    octopus.api(f"{path}/responsible", {}, method="PUT", key="octowait")
    after = octopus.api(path, key="octowait")
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


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """A script that starts a child, notes both process ids, and never ends."""
    script = tmp_path / "sleeper.sh"
    script.write_text(f"sleep 1000 & echo $! $$ > {tmp_path}/pids.new; mv {tmp_path}/pids.new {tmp_path}/pids; wait\n")
    return tmp_path / "sleeper"


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


def test_webhooks_carry_one_event_each_with_secret_and_batch(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, "the-secret", categories=["DeploymentStarted", "DeploymentSucceeded"])
    octopus.project("Web", steps=[work("deploy")])

    task = octopus.deploy("Web", tenant="Acme")
    octopus.wait_for(task)
    octopus.look_for_events()
    eventually(lambda: len(receiver.got) == 2)

    headers, body = receiver.got[1]
    payload, event = body["Payload"], body["Payload"]["Event"]
    assert (headers["X-Octowait-Secret"], headers["Content-Type"]) == ("the-secret", "application/json; charset=utf-8")
    assert receiver.categories == ["DeploymentStarted", "DeploymentSucceeded"]
    assert (body["EventType"], payload["EventNumberInBatch"], payload["TotalEventsInBatch"]) == (
        "SubscriptionPayload",
        2,
        2,
    )
    assert event["RelatedDocumentIds"] == [task.id, "Projects-1", "Releases-1", "Environments-1", "Tenants-1",
                                           task.task_id, "Channels-1"]  # fmt: skip
    reference = event["MessageReferences"][0]
    assert reference["ReferencedDocumentId"] == task.id
    assert event["Message"][: reference["Length"]] == "Deploy to Production"
    recorded = next(e for e in octopus.record()["events"] if e["Id"] == event["Id"])
    assert event["Id"] != f"Events-{recorded['auto_id']}" and "auto_id" not in event
    assert (
        octopus.api("subscriptions/all")[0]["EventNotificationSubscription"]["WebhookLastProcessedEventAutoId"]
        == (recorded["auto_id"])
    )


def test_a_webhook_waits_for_a_slot_of_the_cap(make_octopus: Make, receiver: Receiver) -> None:
    octopus = make_octopus(task_cap=2)
    octopus.subscribe(receiver.url)
    for name in ("One", "Two"):
        octopus.project(name, steps=[work("deploy", seconds=FOR_EVER, on_server=True)])
    tasks = [octopus.deploy("One"), octopus.deploy("Two")]

    octopus.look_for_events()
    [sending] = octopus.api("tasks?name=ProcessSubscriptions")["Items"]
    behind = octopus.api(f"tasks/{sending['Id']}/queued-behind")["Items"]
    got = list(receiver.got)
    octopus.cancel(tasks[0])
    eventually(lambda: receiver.got)

    assert (sending["State"], got) == ("Queued", [])
    assert {task["Id"] for task in behind} == {task.task_id for task in tasks}
    assert octopus.wait_for(sending["Id"])["State"] == "Success"


def test_a_failed_call_loses_the_rest_of_its_batch(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, categories=["DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"])
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))
    receiver.statuses = [202, 404]

    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)
    octopus.look_for_events()
    tasks = octopus.api("tasks?name=ProcessSubscriptions")["Items"]

    assert receiver.categories == ["DeploymentQueued", "DeploymentStarted"]
    assert [task["State"] for task in tasks] == ["Failed"]
    assert [d["outcome"] for d in octopus.record()["deliveries"]] == [
        "delivered", "the webhook answered 404", "lost with its batch",
    ]  # fmt: skip
    octopus.wait_for(octopus.deploy("Web"))
    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)
    assert receiver.categories[2:] == ["DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"]


def test_a_webhook_that_takes_too_long_ends_the_batch(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, timeout="00:00:01", categories=["DeploymentQueued", "DeploymentStarted"])
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))
    receiver.answers.clear()

    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)

    assert receiver.categories == ["DeploymentQueued"]
    outcomes = [delivery["outcome"] for delivery in octopus.record()["deliveries"]]
    assert outcomes == ["the webhook timed out", "lost with its batch"]


def test_faults_drop_double_delay_and_abort_webhooks(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, categories=["DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"])
    octopus.project("Web", steps=[work("deploy", seconds=0.1)])

    def batch(**faults: float) -> list[str]:
        octopus.no_faults()
        octopus.faults(**faults)
        octopus.wait_for(octopus.deploy("Web"))
        seen = len(octopus.record()["deliveries"])
        octopus.look_for_events()
        octopus.wait_idle(is_delivered=True)
        return [delivery["outcome"] for delivery in octopus.record()["deliveries"][seen:]]

    assert batch(drop=1) == ["dropped"] * 3
    assert batch(double=1) == ["delivered", "again"] * 3
    assert batch(abort=1) == ["lost with its batch"] * 3
    assert batch(delay_seconds=2) == ["delivered"] * 3
    assert batch() == ["delivered"] * 3


def test_reordered_batches_come_out_of_order(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url)
    octopus.faults(reorder=1)
    octopus.project("Web", steps=[work("deploy", seconds=0.1)])
    for _ in range(3):
        octopus.wait_for(octopus.deploy("Web"))

    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)

    numbers = [int(event["Id"].rpartition("-")[2]) for event in receiver.events]
    assert len(numbers) == 9 and numbers != sorted(numbers)


def test_faults_of_the_api(octopus: SimulatedOctopus) -> None:
    octopus.faults(too_many=1, retry_after=7)
    request = urllib.request.Request(f"{octopus.url}/api/tasks", headers={"X-Octopus-ApiKey": octopus.api_key})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    refused.value.close()
    octopus.no_faults()
    octopus.faults(error=1)
    failed = status_of(octopus, "/api/tasks")
    octopus.no_faults()
    octopus.faults(is_down=True)
    with pytest.raises(OSError):
        urllib.request.urlopen(request, timeout=10)
    octopus.no_faults()

    assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "7")
    assert failed == 500
    assert status_of(octopus, "/api/tasks") == 200
    assert octopus.calls()["by_status"] == {"200": 1, "429": 1, "500": 1}


def test_sensitive_values_are_never_returned_by_newer_servers(make_octopus: Make, receiver: Receiver) -> None:
    octopus = make_octopus()
    subscription = octopus.subscribe(receiver.url, "the-secret")
    found = octopus.api(f"subscriptions/{subscription}")

    found["EventNotificationSubscription"]["WebhookTimeout"] = "00:00:40"
    octopus.api(f"subscriptions/{subscription}", found, method="PUT")
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.look_for_events()
    eventually(lambda: receiver.got)

    shown = {"HasValue": True, "NewValue": None, "Hint": None}
    assert found["EventNotificationSubscription"]["WebhookHeaderValue"] == shown
    assert receiver.got[0][0]["X-Octowait-Secret"] == "the-secret"
    assert "the-secret" not in json.dumps(receiver.got[0][1])
    old = make_octopus(old_sensitive_values=True)
    old.subscribe(receiver.url, "the-secret")
    assert old.api("subscriptions/all")[0]["EventNotificationSubscription"]["WebhookHeaderValue"] == "the-secret"


def test_subscriptions_can_be_disabled_and_removed(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    subscription = octopus.subscribe(receiver.url)
    octopus.api(f"subscriptions/{subscription}", {**octopus.api(f"subscriptions/{subscription}"), "IsDisabled": True},
                method="PUT")  # fmt: skip
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))

    octopus.look_for_events()

    assert octopus.api("tasks?name=ProcessSubscriptions")["Items"] == []
    octopus.api(f"subscriptions/{subscription}", method="DELETE")
    assert octopus.api("subscriptions/all") == []


def test_collections_come_in_pages(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[])
    tasks = [octopus.deploy("Web").task_id for _ in range(5)]
    octopus.wait_idle()

    first = octopus.api("tasks?take=2&name=Deploy")
    last = octopus.api("tasks?skip=4&take=2&name=Deploy")

    assert (first["ItemType"], first["TotalResults"], first["ItemsPerPage"]) == ("Task", 5, 2)
    assert (first["NumberOfPages"], first["LastPageNumber"]) == (3, 2)
    assert [task["Id"] for task in first["Items"]] == tasks[:2:-1]
    assert first["Links"]["Page.Next"] == "/api/Spaces-1/tasks?name=Deploy&skip=2&take=2"
    assert "Page.Next" not in last["Links"]
    assert octopus.api("tasks")["ItemsPerPage"] == 30


def test_empty_ids_are_no_filter(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[])
    tasks = [octopus.deploy("Web").task_id for _ in range(3)]
    octopus.wait_idle()

    assert len(octopus.api("tasks?ids=")["Items"]) == 3
    assert [task["Id"] for task in octopus.api(f"tasks?ids={tasks[0].lower()},ServerTasks-99")["Items"]] == [tasks[0]]


def test_machine_tasks_heed_no_filter_but_the_type(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", machines=["web-01"])])
    octopus.runbook("Web", "Clean", steps=[work("clean", machines=["web-01"])])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.wait_for(octopus.run_runbook("Web", "Clean"))

    everything = octopus.api("machines/Machines-1/tasks?name=Deploy&states=Executing")["Items"]
    deployments = octopus.api("machines/Machines-1/tasks?type=Deployment")["Items"]

    assert [task["Name"] for task in everything] == ["RunbookRun", "Deploy"]
    assert [task["Name"] for task in deployments] == ["Deploy"]


def test_events_are_filtered_newest_first_from_inclusive_to_exclusive(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=0.2)])
    task = octopus.deploy("Web")
    octopus.wait_for(task)
    events = octopus.api(f"events?regarding={task.task_id}")["Items"]
    started = next(event for event in events if event["Category"] == "DeploymentStarted")
    moment = started["Occurred"].replace("+", "%2B")

    since = octopus.api(f"events?regardingAny={task.id},ServerTasks-99&from={moment}")["Items"]
    until = octopus.api(f"events?regarding={task.id}&to={moment}")["Items"]
    failed = octopus.api("events?eventCategories=DeploymentFailed,MachineAdded")["Items"]

    assert [event["Category"] for event in events] == ["DeploymentSucceeded", "DeploymentStarted", "DeploymentQueued"]
    assert started in since and started not in until and events[0] not in until
    assert [event["Category"] for event in failed] == ["MachineAdded"]
    assert octopus.api(f"events/{started['Id']}") == started
    assert {"Id": "TaskCanceled", "Name": "Task canceled", "Links": {}} in octopus.api("events/categories")
    groups = {group["Id"]: group["EventCategories"] for group in octopus.api("events/groups")}
    assert "DeploymentStarted" in groups["Deployment"]
    assert not any(document_id.startswith("Machines-") for document_id in events[0]["RelatedDocumentIds"])


def test_routes_have_three_forms_and_spaces_are_apart(octopus: SimulatedOctopus) -> None:
    other = octopus.space("Other")
    octopus.machine("db-01", space=other)

    def names(path: str) -> list[str]:
        request = urllib.request.Request(octopus.url + path, headers={"X-Octopus-ApiKey": octopus.api_key})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return [item["Name"] for item in json.load(answer)["Items"]]

    assert names("/api/Spaces-1/machines") == names("/api/spaces/default/machines") == ["web-01"]
    assert names(f"/api/{other}/machines") == names(f"/api/machines?spaces={other}") == ["db-01"]
    assert names("/api/machines") == names(f"/api/machines?spaces=Spaces-1,{other}") == ["web-01", "db-01"]
    assert status_of(octopus, f"/api/{other}/machines/Machines-1") == 404
    assert status_of(octopus, "/api/Spaces-99/machines") == 404


def test_errors_are_told_in_octopus_words(octopus: SimulatedOctopus) -> None:
    assert status_of(octopus, "/api", key=None) == 200
    assert status_of(octopus, "/api/tasks", key=None) == 401
    assert status_of(octopus, "/api/tasks", key="API-WRONG") == 401
    assert status_of(octopus, "/api/Spaces-1/tasks/ServerTasks-99") == 404
    weak = octopus.user("weak", permissions=["MachineView"])
    with pytest.raises(SimulatorError, match="403 .*Missing permission: TaskView"):
        octopus.api("tasks", key=weak)
    with pytest.raises(SimulatorError, match='400 .*"Errors": .*EnvironmentId is required'):
        octopus.api("deployments", {"ReleaseId": "Releases-1"})
    assert set(octopus.api("/users/me", key=weak)) >= {"Id", "Username", "IsService"}
    me = octopus.api("/users/me", key=weak)["Id"]
    assert list(octopus.api(f"/users/{me}/permissions", key=weak)["SpacePermissions"]) == ["MachineView"]


def test_a_preview_names_the_machines_of_each_step(octopus: SimulatedOctopus) -> None:
    octopus.machine("db-01", roles=["db"], environments=["Production"])
    octopus.machine("db-02", roles=["db"], environments=["Test"])
    octopus.project("Web", steps=[manual("Approve"), work("data", roles=["db"]), work("deploy", machines=["web-01"])])
    release = octopus.api("releases", {"ProjectId": "Projects-1", "Version": "2.0.0"})

    planned = octopus.api(f"releases/{release['Id']}/deployments/preview/Environments-1")["StepsToExecute"]
    body = {"ReleaseId": release["Id"], "EnvironmentId": "Environments-1", "ExcludedMachineIds": ["Machines-2"]}
    deployment = octopus.api("deployments", body)
    octopus.submit(eventually(lambda: octopus.pending(deployment["TaskId"]))[0]["Id"])
    octopus.wait_for(deployment["TaskId"], "Success")

    assert [[machine["Name"] for machine in step["Machines"]] for step in planned] == [[], ["db-01"], ["web-01"]]
    assert octopus.api(f"deployments/{deployment['Id']}")["DeployedToMachineIds"] == ["Machines-1"]


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


def test_step_templates_are_kept_and_versioned(octopus: SimulatedOctopus) -> None:
    body = {"Name": "octowait - wait", "ActionType": "Octopus.Script", "Properties": {"a": "b"}, "Parameters": []}
    made = octopus.api("actiontemplates", body)
    with pytest.raises(SimulatorError, match="already exists"):
        octopus.api("actiontemplates", body)

    changed = octopus.api(f"actiontemplates/{made['Id']}", {**made, "Properties": {"a": "c"}}, method="PUT")

    assert (made["Version"], changed["Version"]) == (1, 2)
    assert octopus.api("actiontemplates/all") == [changed]
    assert changed["Properties"] == {"a": "c"}


def test_the_record_tells_who_answered_for_octowait(octopus: SimulatedOctopus, tmp_path: Path) -> None:
    (tmp_path / "claim.sh").write_text('set_octopusvariable "Octowait.Granted" "False"\n')
    octopus.project("Web", steps=[script_step("Claim", str(tmp_path / "claim")), parked_wait(), manual("Approve")])
    task = octopus.deploy("Web")

    for user in ("octowait", "jane"):
        interruption = eventually(lambda: octopus.pending(task))[0]["Id"]
        octopus.submit(interruption, user=user)
        assert octopus.api(f"interruptions/{interruption}")["IsPending"] is False
    octopus.wait_for(task, "Success")

    answers = [(a["title"], a["by"], a["is_for_octowait"]) for a in run_of(octopus, task)["answers"]]
    assert answers == [("octowait: wait for machines", "octowait", True), ("Approve", "jane", False)]
