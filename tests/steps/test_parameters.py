"""What wait and claim take from Octopus's variables, run as real processes."""

from __future__ import annotations

from typing import Any

import pytest
from run_step import Steps

pytestmark = pytest.mark.parametrize("name", ["claim", "wait"])


def test_an_expression_that_octopus_could_not_resolve_counts_as_nothing(service: Any, steps: Steps, name: str) -> None:
    unresolved = {
        "Octowait.Machines": "#{Octopus.Deployment.Machines}",
        "Octowait.OnBehalfOf": "#{Octowait.Parent}",
        "Octowait.Priority": " #{Octowait.None} ",
    }
    step = steps.start(name, "ServerTasks-1", unresolved)

    assert step.ends() == 0, step.output
    assert step.lines == ["Granted: Machines-7, after waiting 0 s."]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("Octowait.Url", "octowait.example.com", "an address such as https://octowait.example.com"),
        ("Octowait.Url", "https://octowait.example.com/?x=1", "an address such as https://octowait.example.com"),
        ("Octowait.Url", "", "an address such as https://octowait.example.com"),
        ("Octowait.TimeoutMinutes", "soon", "minutes above 0, at most 10080"),
        ("Octowait.TimeoutMinutes", "0", "minutes above 0, at most 10080"),
        ("Octowait.TimeoutMinutes", "10081", "minutes above 0, at most 10080"),
        ("Octowait.Priority", "1.5", "a whole number from -1000000 to 1000000"),
        ("Octowait.Priority", "1000001", "a whole number from -1000000 to 1000000"),
        ("Octowait.OnBehalfOf", "../1", "nothing, or an id such as ServerTasks-4711"),
        ("Octowait.WhenUnreachable", "ignore", "fail or proceed"),
        ("Octowait.Machines", "web 01", "ids such as Machines-7, separated by commas"),
        ("Octopus.Task.Id", "", "an id such as ServerTasks-4711"),
    ],
)
def test_names_a_bad_parameter_its_value_and_what_was_expected(
    offline: Steps, name: str, variable: str, value: str, expected: str
) -> None:
    step = offline.start(name, "ServerTasks-1", {variable: value})

    assert step.ends() == offline.failed
    assert step.lines == [f"{variable} is '{value}': expected {expected}."]
    assert step.result == step.lines[0]


def test_names_every_bad_parameter_and_shows_no_token(offline: Steps, name: str) -> None:
    bad = {"Octowait.Token": "two words", "Octowait.Priority": "high", "Octowait.TimeoutMinutes": "1,5"}
    step = offline.start(name, "ServerTasks-1", bad)

    assert step.ends() == offline.failed
    for variable in bad:
        assert f"{variable} is '" in step.lines[0]
    assert "two words" not in step.output


def test_variable_names_are_case_sensitive_but_in_powershell(offline: Steps, name: str) -> None:
    if offline.language == "powershell":
        offline.start(name, "ServerTasks-1", {"octowait.url": "http://127.0.0.1:1"}).says("octowait did not answer (")
        return
    step = offline.start(name, "ServerTasks-1", {"Octowait.Url": "", "octowait.url": "http://127.0.0.1:1"})

    assert step.ends() == offline.failed
    assert "Octowait.Url is ''" in step.lines[-1]


def test_names_arrive_as_they_are(service: Any, steps: Steps, name: str) -> None:
    odd = 'Wëb "blue" \\ [a-z]* \t 部署 🚀 & <b> $(x) \x7f'
    facts = {
        "Octopus.Deployment.Id": "Deployments-51",
        "Octopus.Project.Id": "Projects-7",
        "Octopus.Project.Name": odd,
        "Octopus.Environment.Id": "Environments-2",
        "Octopus.Environment.Name": "Prod",
        "Octopus.Release.Id": "Releases-90",
        "Octopus.Release.Number": "1.4.0",
        "Octopus.Deployment.Tenant.Id": "Tenants-3",
        "Octopus.Deployment.Tenant.Name": "O'Hara",
        "Octopus.Web.ServerUri": "https://octopus.example.com/",
        "Octopus.Web.DeploymentLink": "/app#/Spaces-1/tasks/ServerTasks-1",
    }
    step = steps.start(name, "ServerTasks-1", facts)

    assert step.ends() == 0, step.output
    status, run = service.call("GET", "/api/runs/ServerTasks-1", role="viewer")
    assert status == 200
    assert run["info"] == {
        "space_id": "Spaces-1",
        "deployment_id": "Deployments-51",
        "project": {"id": "Projects-7", "name": odd},
        "environment": {"id": "Environments-2", "name": "Prod"},
        "release": {"id": "Releases-90", "version": "1.4.0"},
        "tenant": {"id": "Tenants-3", "name": "O'Hara"},
        "url": "https://octopus.example.com/app#/Spaces-1/tasks/ServerTasks-1",
    }
