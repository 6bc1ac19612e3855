"""What wait and claim take from Octopus's variables."""

from __future__ import annotations

from typing import Any

import pytest
from run_step import Steps

pytestmark = pytest.mark.parametrize("name", ["claim", "wait"])


@pytest.mark.parametrize("machines", ["#{Octopus.Deployment.Machines}", " #{Octopus.Deployment.Machines}\t", " , "])
def test_an_expression_that_octopus_could_not_resolve_counts_as_not_set(
    service: Any, steps: Steps, name: str, machines: str
) -> None:
    unresolved = {
        "Octowait.Machines": machines,
        "Octowait.TimeoutMinutes": "#{Octopus.Action[Ask a person].Output.Minutes | Trim}",
        "Octowait.OnBehalfOf": "#{Octowait.Parent}",
        "Octowait.Priority": " #{Octowait.None} ",
        "Octowait.WhenUnreachable": "#{Octowait.None}",
        "Octowait.RedisUrl": "#{Octowait.None}",
    }
    step = steps.run(name, "ServerTasks-1", unresolved)

    assert step.ends() == 0, step.output
    assert step.lines == ["Granted: Machines-7, after waiting 0 s."]


#: Values, and the expressions in them that a step names: all, and nothing of what is around them.
UNRESOLVED = [
    ("Octowait.Machines", "#{Shop.Machnes}", ["#{Shop.Machnes}"]),
    ("Octowait.Machines", "#{A},Machines-9,#{B}", ["#{A}", "#{B}"]),
    ("Octowait.Machines", "#{A}#{A}", ["#{A}", "#{A}"]),
    ("Octowait.Machines", "Machines-9,#{Octopus.Deployment.Machines}", ["#{Octopus.Deployment.Machines}"]),
    ("Octowait.Machines", "#{octopus.deployment.machines}", ["#{octopus.deployment.machines}"]),
    ("Octowait.Machines", "#{OctopusXDeployment.Machines}", ["#{OctopusXDeployment.Machines}"]),
    ("Octowait.Machines", "#{Octopus.Deployment.Machines", ["#{"]),
    ("Octowait.Machines", "#{each m in My.Machines}#{m},#{/each}", ["#{each m in My.Machines}", "#{m}", "#{/each}"]),
    ("Octowait.Machines", "#{My[#{Space}].Machines}", ["#{", "#{Space}"]),
    ("Octowait.Url", "#{Octowait.UrlOfSpace}", ["#{Octowait.UrlOfSpace}"]),
    ("Octowait.Url", "https://#{Host}.example.com", ["#{Host}"]),
    ("Octowait.Token", "#{Octowait.TokenOfSpace}", ["#{Octowait.TokenOfSpace}"]),
    ("Octowait.Token", "see-me-not-#{Half}-see-me-not", ["#{Half}"]),
    ("Octowait.Token", "#{see-me-not", ["#{"]),
    ("Octowait.TimeoutMinutes", "1#{Zeros}", ["#{Zeros}"]),
    ("Octowait.Priority", "#{A}#{B}", ["#{A}", "#{B}"]),
    ("Octowait.OnBehalfOf", "#{}", ["#{}"]),
    ("Octowait.WhenUnreachable", "#{A} #", ["#{A}"]),
]


def complaints(parameter: str, expressions: list[str]) -> str:
    """What a step says of expressions in a parameter, without the full stop."""
    why = "which Octopus did not resolve: expected a variable of that name in scope"
    return "; ".join(f"{parameter} contains '{expression}', {why}" for expression in expressions)


@pytest.mark.parametrize(("parameter", "value", "expressions"), UNRESOLVED)
def test_an_expression_anywhere_else_is_an_error_that_names_it(
    offline: Steps, name: str, parameter: str, value: str, expressions: list[str]
) -> None:
    step = offline.run(name, "ServerTasks-1", {parameter: value, "Octopus.Deployment.Machines": ""})

    assert step.ends() == offline.failed
    assert step.lines == [f"{complaints(parameter, expressions)}."]
    assert step.result == step.lines[0]
    assert step.variables == {}


def test_names_all_expressions_and_what_else_is_bad_in_one_go(offline: Steps, name: str) -> None:
    given = {"Octowait.Url": "#{A}", "Octowait.Token": "#{B}", "Octowait.Machines": "web 01,#{C}"}
    step = offline.run(name, "ServerTasks-1", {**given, "Octowait.Priority": "high"})

    assert step.ends() == offline.failed
    told = [complaints(parameter, [value[-4:]]) for parameter, value in given.items()]
    assert step.lines == [
        f"{'; '.join(told)}; Octowait.Priority is 'high': expected a whole number from -1000000 to 1000000."
    ]


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
    step = offline.run(name, "ServerTasks-1", {variable: value})

    assert step.ends() == offline.failed
    assert step.lines == [f"{variable} is '{value}': expected {expected}."]
    assert step.result == step.lines[0]


def test_names_every_bad_parameter_and_shows_no_token(offline: Steps, name: str) -> None:
    bad = {"Octowait.Token": "two words", "Octowait.Priority": "high", "Octowait.TimeoutMinutes": "1,5"}
    step = offline.run(name, "ServerTasks-1", bad)

    assert step.ends() == offline.failed
    for variable in bad:
        assert f"{variable} is '" in step.lines[0]
    assert "two words" not in step.output


def test_variable_names_are_case_sensitive_but_in_powershell(offline: Steps, name: str) -> None:
    if offline.language == "powershell":
        offline.start(name, "ServerTasks-1", {"octowait.url": "http://127.0.0.1:1"}).says("octowait did not answer (")
        return
    step = offline.run(name, "ServerTasks-1", {"Octowait.Url": "", "octowait.url": "http://127.0.0.1:1"})

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
    step = steps.run(name, "ServerTasks-1", facts)

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
