"""What may be around a PowerShell step, beside what the table of conditions has for every language."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions.world import World, said
from powershell import needs_powershell
from run_step import POWERSHELL, Steps
from stand_in import closing, granted, page, problem, waiting

from steps.parts import build
from tests.steps.powershell_host import HostedStep, PowerShellHost

#: Scripts in place of the step, and what a process and a host have in common after them.
ENDINGS = {
    "a status": "Write-Host 'on stdout'\n[System.Console]::Error.WriteLine('on stderr')\nexit 300",
    "a negative status": "& { exit -1 }",
    "no status": "'a value that nobody takes'\n@{ a = 1 }",
    "an exception": "throw 'no'",
    "an error": "Get-Item /is/not/there",
}


hosted = pytest.mark.skipif(sys.platform == "win32", reason="each step has a process of its own on Windows")


@hosted
@pytest.mark.parametrize("script", ENDINGS.values(), ids=ENDINGS.keys())
def test_a_host_ends_and_prints_as_a_process_does(tmp_path: Path, powershell_host: PowerShellHost, script: str) -> None:
    needs_powershell()
    (tmp_path / "wait.ps1").write_text(script)
    steps = Steps("powershell", tmp_path, url="http://x", token="x", scripts=tmp_path, host=powershell_host)

    alone, inside = steps.start("wait", "ServerTasks-1"), steps.run("wait", "ServerTasks-1")

    assert (alone.ends(), alone.output) == (inside.ends(), inside.output)
    assert isinstance(inside.process, HostedStep) and not isinstance(alone.process, HostedStep)


@hosted
def test_a_host_hands_nothing_from_one_step_to_the_next(tmp_path: Path, powershell_host: PowerShellHost) -> None:
    needs_powershell()
    (tmp_path / "wait.ps1").write_text(
        'Write-Host (Test-Path variable:global:left) "$env:OCTOWAIT_LEFT" (Get-Command Get-Left*).Count\n'
        "$global:left = 1\nfunction global:Get-Left { }\nSet-StrictMode -Version Latest\nWrite-Host $global:left"
    )
    steps = Steps("powershell", tmp_path, url="http://x", token="x", scripts=tmp_path, host=powershell_host)

    outputs = []
    for env in ({"OCTOWAIT_LEFT": "here"}, {}):
        step = steps.run("wait", "ServerTasks-1", env=env)
        assert step.ends() == 0
        outputs.append(step.output)

    assert outputs == ["False here 0\n1\n", "False  0\n1\n"]


@hosted
def test_a_host_that_was_killed_is_started_anew(tmp_path: Path, powershell_host: PowerShellHost) -> None:
    needs_powershell()
    (tmp_path / "wait.ps1").write_text("while ($true) { [System.Threading.Thread]::Sleep(100) }")
    (tmp_path / "claim.ps1").write_text("exit 3")
    steps = Steps("powershell", tmp_path, url="http://x", token="x", scripts=tmp_path, host=powershell_host)

    steps.run("wait", "ServerTasks-1").kill()

    assert steps.run("claim", "ServerTasks-1").ends() == 3


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    needs_powershell()
    made = World("powershell", tmp_path)
    yield made
    made.close()


def culture(name: str) -> str:
    return (
        f"$culture = [System.Globalization.CultureInfo]::GetCultureInfo('{name}')\n"
        "[System.Threading.Thread]::CurrentThread.CurrentCulture = $culture\n"
        "[System.Threading.Thread]::CurrentThread.CurrentUICulture = $culture\n"
    )


@pytest.mark.parametrize("name", ["tr-TR", "az-Latn-AZ", "de-DE", "ar-SA", "th-TH"])
def test_numbers_and_letters_are_the_same_in_every_culture(world: World, name: str) -> None:
    server = world.server(problem(503, "busy", "I", Retry_After="0"), waiting(2, "WAITING FOR I, PLACE 2."), granted())
    given = {
        "Octowait.Token": "IiIi-TITLE",
        "Octowait.TimeoutMinutes": "1.333",
        "Octowait.Priority": "-7",
        "Octowait.WhenUnreachable": "FAIL",
    }

    step = world.run("wait", server, given, module=culture(name))

    assert step.printed.at("wait")[-1] == "WAITING FOR I, PLACE 2."
    assert step.printed.variables["Octowait.FencingToken"] == "17"
    assert [server.requests[1].json[key] for key in ("priority", "timeout_seconds")] == [-7, 79]
    assert server.requests[1].headers["authorization"] == "Bearer IiIi-TITLE"


STRICT = ["Set-PSDebug -Strict", "Set-StrictMode -Version Latest"]


@pytest.mark.parametrize("module", STRICT)
def test_a_strict_mode_changes_nothing(world: World, module: str) -> None:
    replies = (waiting(), problem(503, "busy"), closing, page(302), page(407), problem(503, "busy"))
    server = world.server(*replies, granted())

    assert world.run("wait", server, module=module).printed.variables["Octowait.State"] == "granted"


@pytest.mark.parametrize("module", STRICT)
def test_a_strict_mode_changes_nothing_of_the_other_steps(world: World, module: str) -> None:
    server = world.server(problem(503, "busy"), waiting())

    assert world.run("claim", server, module=module).printed.variables["Octowait.Granted"] == "False"
    assert world.run("release", server, module=module).printed.at("highlight")


def test_what_a_module_has_silenced_is_heard(world: World) -> None:
    """Write-Host says nothing, not even a service message, where information is ignored."""
    module = "$global:InformationPreference = 'Ignore'; $global:ProgressPreference = 'Stop'"

    step = world.run("wait", world.server(waiting(), granted()), module=module)

    assert step.printed.variables["Octowait.State"] == "granted"
    assert step.printed.at("wait")


def test_a_code_page_makes_no_command_of_fullwidth_letters(world: World) -> None:
    """Windows PowerShell writes in the code page of the console, and 437 has the nearest letter for each."""
    module = "[System.Console]::OutputEncoding = [System.Text.Encoding]::GetEncoding(437)"
    foreign = "\uff03\uff03\uff4f\uff43\uff54\uff4f\uff50\uff55\uff53\uff3bx\uff3d \u2190 \u2022"

    step = world.run("wait", world.server(waiting(1, f"Waiting: {foreign}"), granted()), module=module)

    assert said(step, r"Waiting: # #octopus\[x\] {4}") == step.printed.at("wait")


def test_names_of_all_scopes_stand_in_nobody_s_way(world: World) -> None:
    """Those of the script itself, as a module might have them."""
    module = """
        Set-Variable -Name octowait -Value 'x' -Option ReadOnly -Scope Global
        Set-Variable -Name octowaitClock -Value 'x' -Option Constant -Scope Global
        [int]$global:octowaitBody = 7
        Set-StrictMode -Version Latest
        $global:ErrorActionPreference = 'SilentlyContinue'
    """
    server = world.server(waiting(), granted())

    assert world.run("wait", server, module=module).printed.variables["Octowait.State"] == "granted"


#: Failures as .NET Framework tells them (WebException, its status and the exception in it), their kind and their words.
FRAMEWORK = {
    "no name": (
        "NameResolutionFailure",
        "",
        "silence",
        "the name octowait.test does not resolve (why): check Octowait.Url",
    ),
    "no name of the proxy": ("ProxyNameResolutionFailure", "", "silence", "the name octowait.test does not resolve"),
    "no connection": (
        "ConnectFailure",
        "System.Net.Sockets.SocketException 10061",
        "silence",
        "no connection to octowait.test:443 (",
    ),
    "a reset": ("ReceiveFailure", "System.Net.Sockets.SocketException 10054", "silence", "the answer broke off"),
    "an early end": ("ConnectionClosed", "", "silence", "the answer broke off"),
    "an untrusted certificate": (
        "TrustFailure",
        "System.Security.Authentication.AuthenticationException Ung\u00fcltig",
        "heard",
        "the certificate of octowait.test is not accepted: Ung\u00fcltig; if an authority of your own",
    ),
    "no cipher in common": ("SecureChannelFailure", "", "heard", "no TLS connection with octowait.test (why)"),
    "no HTTP": ("ServerProtocolViolation", "", "heard", "no HTTP answer (why)"),
}

_AROUND = """
$octowait = @{}
$octowaitProxy = $null
$address = [System.Uri]'https://octowait.test/api'
$found = @{}
foreach ($case in @(ConvertFrom-Json ([System.IO.File]::ReadAllText($args[0])))) {
    $inner = $null
    if ($case.inner) {
        $type, $argument = $case.inner -split ' ', 2
        $inner = New-Object $type($(if ($argument -match '^[0-9]+$') { [int]$argument } else { $argument }))
    }
    $web = New-Object System.Net.WebException('why', $inner, [System.Net.WebExceptionStatus]$case.status, $null)
    $request = New-Object System.Net.Http.HttpRequestException('An error occurred while sending the request.', $web)
    $all = New-Object System.AggregateException($request)
    $found[$case.name] = Get-OctowaitFailure $all $address $address
}
ConvertTo-Json $found
"""


@pytest.fixture(scope="module")
def framework(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What the script makes of all of them, by one start of PowerShell, which has these exceptions, too."""
    needs_powershell()
    folder = tmp_path_factory.mktemp("framework")
    parts = "\n".join((build.PARTS / "powershell" / f"{name}.ps1").read_text() for name in ("route", "http"))
    cases = [{"name": name, "status": case[0], "inner": case[1]} for name, case in FRAMEWORK.items()]
    (folder / "cases.json").write_text(json.dumps(cases))
    head, parts_and_cases = "$octowait = @{}\n", f"{parts}\n{_AROUND}"
    (folder / "cases.ps1").write_text(head + parts_and_cases)
    command = [
        POWERSHELL,
        "-NoLogo",
        "-NonInteractive",
        "-NoProfile",
        "-File",
        folder / "cases.ps1",
        folder / "cases.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", FRAMEWORK)
def test_failures_of_net_framework_have_a_kind_and_words(framework: dict[str, dict[str, str]], name: str) -> None:
    _, _, kind, words = FRAMEWORK[name]

    assert framework[name]["kind"] == kind
    assert framework[name]["reason"].startswith(words)
