"""The release step, run as a real process against a real server."""

from __future__ import annotations

from typing import Any

import pytest
from run_step import Steps


def ask(service: Any, task: str) -> str:
    _, answer = service.call("PUT", f"/api/waits/{task}", {"machines": ["Machines-7"]}, role="step")
    return str(answer["state"])


def test_gives_the_machines_back_to_the_next(service: Any, steps: Steps) -> None:
    assert steps.start("wait", "ServerTasks-1").ends() == 0
    next_one = steps.start("wait", "ServerTasks-2")
    next_one.says("place 1")

    step = steps.start("release", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert step.lines == ["Released: ServerTasks-1 has given its machines back."]
    assert next_one.ends() == 0, next_one.output


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("", "release step, no error in the deployment"),
        ("The script 'x' failed.", "release step, the deployment has an error"),
    ],
)
def test_the_timeline_says_whether_the_deployment_had_an_error(
    service: Any, steps: Steps, error: str, reason: str
) -> None:
    ask(service, "ServerTasks-1")

    assert steps.start("release", "ServerTasks-1", {"Octopus.Deployment.Error": error}).ends() == 0

    _, page = service.call("GET", "/api/timeline?task_id=ServerTasks-1&kind=released", role="viewer")
    assert [record["detail"]["reason"] for record in page["records"]] == [reason]


def test_says_so_when_nothing_is_held(service: Any, steps: Steps) -> None:
    step = steps.start("release", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert step.lines == ["Nothing to release: ServerTasks-1 holds no machines."]


def test_a_waiter_leaves_the_line(service: Any, steps: Steps) -> None:
    ask(service, "ServerTasks-4700")
    assert ask(service, "ServerTasks-1") == "waiting"

    step = steps.start("release", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert step.lines == ["Left: ServerTasks-1 was still waiting and has left the line."]


def test_never_fails_the_deployment_when_the_server_is_down(service: Any, steps: Steps) -> None:
    ask(service, "ServerTasks-1")
    service.stop()

    step = steps.start("release", "ServerTasks-1")

    assert step.ends() == 0, step.output
    assert step.lines[-1].startswith(f"Not released: octowait at {service.url} did not answer (")
    assert step.lines[-1].endswith("octowait frees the machines when it learns that the task has ended.")
    assert "stdout-warning" in [kind for kind, _ in step.messages]


def test_never_fails_the_deployment_when_the_token_is_wrong(service: Any, steps: Steps) -> None:
    step = steps.start("release", "ServerTasks-1", {"Octowait.Token": "no"})

    assert step.ends() == 0, step.output
    assert step.lines[-1].startswith("Not released: HTTP 401: ")


def test_never_fails_the_deployment_when_a_parameter_is_bad(offline: Steps) -> None:
    step = offline.start("release", "ServerTasks-1", {"Octowait.Url": "nowhere", "Octowait.Token": ""})

    assert step.ends() == 0, step.output
    assert step.lines[-1].startswith("Not released: Octowait.Url is 'nowhere': expected an address such as ")
    assert "Octowait.Token is ''" in step.lines[-1]


@pytest.mark.parametrize(
    ("parameter", "value", "expression"),
    [
        ("Octowait.Machines", "#{A},Machines-9", "#{A}"),
        ("Octowait.Machines", "#{Shop.Machnes}", "#{Shop.Machnes}"),
        ("Octowait.Url", "#{Octowait.UrlOfSpace}", "#{Octowait.UrlOfSpace}"),
        ("Octowait.Token", "see-me-not-#{Half}", "#{Half}"),
    ],
)
def test_warns_of_an_expression_that_octopus_could_not_resolve(
    offline: Steps, parameter: str, value: str, expression: str
) -> None:
    step = offline.start("release", "ServerTasks-1", {parameter: value, "Octopus.Deployment.Machines": ""})

    assert step.ends() == 0, step.output
    assert step.lines == [
        f"Not released: {parameter} contains '{expression}', which Octopus did not resolve: expected a variable of "
        "that name in scope. octowait frees the machines when it learns that the task has ended."
    ]
    assert "stdout-warning" in [kind for kind, _ in step.messages]


@pytest.mark.parametrize("machines", ["#{Octopus.Deployment.Machines}", ","])
def test_machines_that_are_not_set_are_those_of_the_deployment(service: Any, steps: Steps, machines: str) -> None:
    ask(service, "ServerTasks-1")

    step = steps.start("release", "ServerTasks-1", {"Octowait.Machines": machines})

    assert step.ends() == 0, step.output
    assert step.lines == ["Released: ServerTasks-1 has given its machines back."]


def test_succeeds_without_machines(offline: Steps) -> None:
    step = offline.start("release", "ServerTasks-1", {"Octopus.Deployment.Machines": ""})

    assert step.ends() == 0, step.output
    assert step.lines == ["This deployment has no machines: nothing to release."]
