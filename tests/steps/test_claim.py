"""The claim step, run as a real process against a real server."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from facts import give_back, hold, line, state
from run_step import Steps, eventually
from scripted import Script

PAUSES = (
    "The manual intervention after this step pauses the deployment without a task slot, "
    "until octowait resumes it or, after 120 min (Octowait.TimeoutMinutes), aborts it."
)

#: With a key octowait says nothing of who resumes a claim.
KEY = {"OCTOWAIT_OCTOPUS_URL": "http://127.0.0.1:1", "OCTOWAIT_OCTOPUS_API_KEY": "API-OF-NOBODY"}


@pytest.fixture
def service(make_service: Callable[..., Any]) -> Any:
    return make_service(**KEY)


def test_goes_on_at_once_when_nobody_holds_the_machine(service: Any, steps: Steps) -> None:
    step = steps.start("claim", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert step.lines == ["Granted: Machines-7, after waiting 0 s."]
    assert step.variables["Octowait.Granted"] == "True"
    assert step.variables["Octowait.State"] == "granted"
    assert int(step.variables["Octowait.FencingToken"]) >= 1


def test_ends_at_once_and_says_for_whom_it_waits(service: Any, steps: Steps) -> None:
    hold(service)

    step = steps.start("claim", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert re.match(
        r"Waiting for Machines-7, place 1: ServerTasks-4700 \(Api 2\.0\.1 to Production\) has held it for \d+ s\.$",
        step.lines[0],
    )
    assert step.lines[1:] == [PAUSES]
    waits = {"Octowait.Granted": "False", "Octowait.State": "waiting", "Octowait.FencingToken": "0"}
    assert step.variables.items() >= waits.items()
    assert line(service) == ["ServerTasks-1"]


def test_its_place_outlives_those_who_have_to_show_life(
    make_service: Callable[..., Any], make_steps: Callable[[str, str], Steps]
) -> None:
    service = make_service(OCTOWAIT_WAITER_TTL_SECONDS="1", **KEY)
    steps = make_steps(service.url, service.tokens["step"])
    service.call("PUT", "/api/waits/ServerTasks-4700", {"machines": ["Machines-7"], "parked": True}, role="step")
    assert steps.start("claim", "ServerTasks-1").ends() == 0

    service.call("PUT", "/api/waits/ServerTasks-2", {"machines": ["Machines-7"]}, role="step")
    eventually(lambda: state(service, "ServerTasks-2") == "expired")

    assert line(service) == ["ServerTasks-1"]


def test_is_granted_in_turn_although_nobody_asks_again(service: Any, steps: Steps) -> None:
    hold(service)
    assert steps.start("claim", "ServerTasks-1").ends() == 0
    assert steps.start("claim", "ServerTasks-2").ends() == 0

    give_back(service)

    assert state(service, "ServerTasks-1") == "granted"
    assert line(service) == ["ServerTasks-2"]


def test_asking_again_keeps_the_place_and_gets_the_same_answer(service: Any, steps: Steps) -> None:
    hold(service)
    for task in ("ServerTasks-1", "ServerTasks-2", "ServerTasks-1"):
        step = steps.start("claim", task)
        assert step.ends() == 0, step.output

    assert step.lines[0].startswith("Waiting for Machines-7, place 1:")
    assert line(service) == ["ServerTasks-1", "ServerTasks-2"]
    give_back(service)
    # One after the other: each is a claim of its own, which takes the place of the one before.
    found = []
    for _ in range(2):
        step = steps.start("claim", "ServerTasks-1")
        assert step.ends() == 0, step.output
        found.append([step.variables[f"Octowait.{name}"] for name in ("Granted", "State", "FencingToken")])
    assert found[0] == found[1]
    assert found[0][:2] == ["True", "granted"]


def test_the_same_release_step_gives_the_machines_back(service: Any, steps: Steps) -> None:
    assert steps.start("claim", "ServerTasks-1").ends() == 0
    assert steps.start("claim", "ServerTasks-2").ends() == 0

    assert steps.start("release", "ServerTasks-1").ends() == 0

    assert state(service, "ServerTasks-2") == "granted"


def test_octowait_ends_the_wait_after_its_time_out(service: Any, steps: Steps) -> None:
    hold(service)

    step = steps.start("claim", "ServerTasks-1", {"Octowait.TimeoutMinutes": "0.05"})

    assert step.ends() == 0, step.output
    assert "after 0.05 min (Octowait.TimeoutMinutes), aborts it." in step.lines[-1]
    eventually(lambda: state(service, "ServerTasks-1") == "timed_out")


def test_priority_goes_before_arrival(service: Any, steps: Steps) -> None:
    hold(service)

    assert steps.start("claim", "ServerTasks-1").ends() == 0
    assert steps.start("claim", "ServerTasks-2", {"Octowait.Priority": "10"}).ends() == 0

    assert line(service) == ["ServerTasks-2", "ServerTasks-1"]


@pytest.mark.parametrize("machines", ["", " , "])
def test_has_nothing_to_wait_for_without_machines(offline: Steps, machines: str) -> None:
    step = offline.start("claim", "ServerTasks-1", {"Octopus.Deployment.Machines": machines})

    assert step.ends() == 0, step.output
    assert step.lines == ["This deployment has no machines: nothing to wait for."]
    assert step.variables == {"Octowait.Granted": "True", "Octowait.State": "no_machines", "Octowait.FencingToken": "0"}


def test_refuses_to_run_on_a_deployment_target(offline: Steps) -> None:
    step = offline.start("claim", "ServerTasks-1", {"Octopus.Machine.Id": "Machines-7"})

    assert step.ends() == offline.failed
    assert step.lines[-1].startswith("This step runs on the deployment target Machines-7 and would wait there")
    assert step.result == step.lines[-1]
    assert step.variables == {}


def test_runs_on_a_deployment_target_when_the_mutex_is_bypassed(service: Any, steps: Steps) -> None:
    where = {"Octopus.Machine.Id": "Machines-7", "OctopusBypassDeploymentMutex": "True"}
    step = steps.start("claim", "ServerTasks-1", where)

    assert step.ends() == 0, step.output
    assert step.variables["Octowait.Granted"] == "True"


def test_says_what_it_holds_when_it_asks_for_more(service: Any, steps: Steps) -> None:
    hold(service, "ServerTasks-1")

    step = steps.start("claim", "ServerTasks-1", {"Octopus.Deployment.Machines": "Machines-7,Machines-12"})

    assert step.ends() == steps.failed
    assert "octowait does not let this run wait: HTTP 409: ServerTasks-1 holds Machines-7" in step.lines[-1]
    assert step.variables == {}


def test_fails_when_the_server_was_never_reachable(offline: Steps) -> None:
    step = offline.start("claim", "ServerTasks-1", {"Octowait.TimeoutMinutes": "0.05"})

    assert step.ends() == offline.failed
    assert re.match(
        r"octowait at http://127\.0\.0\.1:1 has not answered for \d+ s\. octowait did not answer \(.+\)\.$",
        step.lines[-1],
    )
    assert "Asking again until 3 s have passed." in step.lines[0]
    assert step.result == step.lines[-1]
    assert step.variables == {}, "the manual intervention must not run after it"


def test_proceeds_with_a_warning_when_that_is_wished(offline: Steps) -> None:
    wish = {"Octowait.TimeoutMinutes": "0.05", "Octowait.WhenUnreachable": "proceed"}
    step = offline.start("claim", "ServerTasks-1", wish)

    assert step.ends() == 0, step.output
    assert "going on WITHOUT waiting, as Octowait.WhenUnreachable says." in step.lines[-1]
    assert "stdout-warning" in [kind for kind, _ in step.messages]
    assert step.variables == {"Octowait.Granted": "True", "Octowait.State": "unreachable", "Octowait.FencingToken": "0"}


def test_gives_up_after_a_minute_whatever_the_time_out(offline: Steps) -> None:
    step = offline.start("claim", "ServerTasks-1", {"Octowait.TimeoutMinutes": "10080"})

    step.says("Asking again until 60 s have passed.")


def test_survives_a_restart_of_the_server(service: Any, steps: Steps) -> None:
    hold(service)
    service.stop()

    step = steps.start("claim", "ServerTasks-1")
    step.says("octowait did not answer (")
    service.start()

    assert step.ends() == 0, step.output
    assert step.variables["Octowait.Granted"] == "False"
    assert line(service) == ["ServerTasks-1"]


def test_asks_once_and_says_that_it_parks(script: Script, offline: Steps) -> None:
    script.then("waiting", 2, "Waiting for a.", 201)

    step = offline.start("claim", "ServerTasks-1", {"Octowait.Url": script.url + "/"})

    assert step.ends() == 0, step.output
    assert step.lines == ["Waiting for a.", PAUSES]
    assert step.variables["Octowait.FencingToken"] == "0", "a place is no token"
    assert [(method, body) for method, _, body in script.asked] == [("PUT", {
        "space_id": "Spaces-1", "machines": ["Machines-7"], "deployment_id": None, "runbook_run_id": None,
        "project": None, "environment": None, "release": None, "tenant": None, "url": None, "priority": 0,
        "timeout_seconds": 7200, "on_behalf_of": None, "parked": True,
    })]  # fmt: skip


def test_asks_again_when_the_server_cannot_answer_now(script: Script, offline: Steps) -> None:
    script.then_problem(503, 'Redis \\ "away"').then_problem(429, Retry_After="1").then_problem(408).then_problem(500)
    script.then_text(200, "<html>maintenance</html>").then("granted", 17, "Granted.")

    step = offline.start("claim", "ServerTasks-1", {"Octowait.Url": script.url})

    assert step.ends() == 0, step.output
    assert script.methods == ["PUT"] * 6
    assert step.lines[0].startswith('octowait did not answer (HTTP 503: Redis \\ "away").')
    assert step.variables["Octowait.FencingToken"] == "17"


@pytest.mark.parametrize("state", ["refused", "left", "timed_out"])
def test_fails_with_the_message_when_it_may_not_wait(script: Script, offline: Steps, state: str) -> None:
    script.then(state, 0, "ServerTasks-1 may not wait (a circle).")

    step = offline.start("claim", "ServerTasks-1", {"Octowait.Url": script.url, "Octowait.WhenUnreachable": "proceed"})

    assert step.ends() == offline.failed
    assert step.lines == ["octowait does not let this run wait: ServerTasks-1 may not wait (a circle)."]
    assert step.result == step.lines[0]
    assert step.variables == {}


def test_says_what_to_do_when_octowait_cannot_resume_it(
    make_service: Callable[..., Any], make_steps: Callable[[str, str], Steps]
) -> None:
    service = make_service()
    steps = make_steps(service.url, service.tokens["step"])
    service.call("PUT", "/api/waits/ServerTasks-4700", {"machines": ["Machines-7"]}, role="step")

    step = steps.start("claim", "ServerTasks-1")

    assert step.ends() == 0
    assert step.variables["Octowait.Granted"] == "False"
    assert any("answer its intervention by hand, or set OCTOWAIT_OCTOPUS_URL" in line for line in step.lines)
    status, wait = service.call("GET", "/api/waits/ServerTasks-1", role="step")
    assert (status, wait["state"]) == (200, "waiting") and "cannot resume it" in wait["message"]


def test_a_wrong_token_fails_at_once_with_what_the_server_says(service: Any, steps: Steps) -> None:
    step = steps.start("claim", "ServerTasks-1", {"Octowait.Token": "no", "Octowait.WhenUnreachable": "proceed"})

    assert step.ends() == steps.failed
    assert [said.split(": ")[:2] for said in step.lines] == [["octowait does not let this run wait", "HTTP 401"]]


def test_leaves_no_place_behind_when_it_has_given_up(script: Script, offline: Steps) -> None:
    """An answer that was lost may have been a grant."""
    script.then_problem(503, Retry_After="9").then_text(200, "left 0\nServerTasks-1 has left the line.\n")

    wish = {"Octowait.Url": script.url, "Octowait.TimeoutMinutes": "0.05", "Octowait.WhenUnreachable": "proceed"}
    step = offline.start("claim", "ServerTasks-1", wish)

    # What has answered is there, and going on without it would be no accident.
    assert step.ends() == offline.failed, step.output
    assert [asked[:2] for asked in script.asked] == [
        ("PUT", ""),
        ("DELETE", "reason=unreachable%20for%20the%20claim%20step"),
    ]


def test_nobody_sees_the_token_in_the_process_list(offline: Steps) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        step = offline.start("claim", "ServerTasks-1", {"Octowait.Url": url, "Octowait.Token": "see-me-not"})
        connection, _ = silent.accept()  # from here on it waits for an answer
        with connection:
            listing = subprocess.run(["ps", "-ww", "-eo", "sess,args"], capture_output=True, text=True, check=True)

    own = [row for row in listing.stdout.splitlines() if row.split()[0] == str(step.process.pid)]
    assert own and (offline.language != "bash" or any("/api/waits/ServerTasks-1" in row for row in own))
    assert "see-me-not" not in "\n".join(own)
