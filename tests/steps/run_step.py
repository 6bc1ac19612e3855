"""Runs a step script as Octopus does: as a process of its own, with variables, and output that means something."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.steps.powershell_host import HostedStep, PowerShellHost, is_hostable
from tests.steps.service_messages import Printed, parse

HERE = Path(__file__).parent
STEPS = HERE.parent.parent / "steps"

#: The scripts of before claims, which releases made with them still run.
VERSION_1 = HERE / "version_1"

#: What the file names of a language end with.
SUFFIXES = {"bash": "sh", "powershell": "ps1", "python": "py"}

#: PowerShell 7; ``OCTOWAIT_TEST_POWERSHELL=powershell`` is Windows PowerShell 5.1, on Windows.
POWERSHELL = os.environ.get("OCTOWAIT_TEST_POWERSHELL") or "pwsh"

#: The Bash to try; on macOS ``/bin/bash`` is 3.2.
BASH = os.environ.get("OCTOWAIT_TEST_BASH") or "bash"

_POWERSHELL = (POWERSHELL, "-NoLogo", "-NonInteractive", "-ExecutionPolicy", "Unrestricted")

#: PowerShell neither reports its start to anybody nor looks for a newer version.
_QUIET = {"POWERSHELL_TELEMETRY_OPTOUT": "1", "POWERSHELL_UPDATECHECK": "Off"}

_MESSAGE = re.compile(r"^##octopus\[([\w-]+)(.*)\]$")
_ATTRIBUTE = re.compile(r"(\w+)='([^']*)'")


def eventually(condition: Callable[[], Any], timeout: float = 45.0) -> Any:
    """What *condition* returns as soon as it is true; fails after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {timeout} s"
        time.sleep(0.02)  # between two looks at a fact, not instead of one
    return value


def encode(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def decode(value: str) -> str:
    return base64.b64decode(value).decode()


def _command(language: str, files: Sequence[str], python: str) -> list[str]:
    """What starts the stand-in for Octopus with its *files*."""
    if language == "bash":
        return [BASH, *files]
    if language == "python":
        return [python, "-u", *files]
    # As Octopus does: in the global scope, where "exit" ends a script only, and its status has to be passed on.
    pass_on = "if (Test-Path variable:global:lastexitcode) { exit $LastExitCode }"
    return [*_POWERSHELL, "-Command", f"try {{ . {{ {_call(files)}; {pass_on} }} }} catch {{ throw }}"]


def _call(files: Sequence[str]) -> str:
    return ". " + " ".join(f"'{file}'" for file in files)


def _unproxied(env: Mapping[str, str]) -> dict[str, str]:
    """What a worker's environment has, without the proxies of the machine that runs the tests."""
    return {name: value for name, value in env.items() if not name.lower().endswith("_proxy")}


def powershell_host() -> PowerShellHost:
    return PowerShellHost(_POWERSHELL, {**_unproxied(os.environ), "LC_ALL": "C", **_QUIET})


class Step:
    """A running step script. *module*: lines before it; *around*: a command that starts it in another surrounding;
    *host*: what runs it instead of a process of its own."""

    def __init__(
        self,
        language: str,
        name: str,
        variables: Mapping[str, str],
        directory: Path,
        python: str = sys.executable,
        *,
        env: Mapping[str, str] | None = None,
        module: str = "",
        around: Sequence[str] = (),
        scripts: Path = STEPS,
        host: PowerShellHost | None = None,
    ) -> None:
        suffix = SUFFIXES[language]
        stem = directory / f"{name}-{time.monotonic_ns()}"
        file, self.log = stem.with_suffix(".variables"), stem.with_suffix(".log")
        if language == "python":
            text = json.dumps(variables)
        else:
            text = "".join(f"{encode(key)} {encode(value)}\n" for key, value in variables.items())
        file.write_text(text, encoding="utf-8")
        files = [str(HERE / f"octopus_bootstrap.{suffix}"), str(file), str(scripts / f"{name}.{suffix}")]
        if module:
            before = stem.with_name(f"{stem.name}-module.{suffix}")
            # Windows PowerShell reads a script without a mark in the code page of the machine.
            before.write_text(module, encoding="utf-8-sig" if language == "powershell" else "utf-8")
            files.append(str(before))
        # A worker's service often has no locale; a short pause instead of a second keeps the tests quick.
        own = {"OCTOWAIT_RETRY_BASE_SECONDS": "0.1", **(env or {})}
        self.process: subprocess.Popen[bytes] | HostedStep
        if host:
            self.process = host.start(_call(files), own, self.log)
            return
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*around, *_command(language, files, python)],
                env={**_unproxied(os.environ), "LC_ALL": "C", **_QUIET, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def printed(self) -> Printed:
        """The output as Octopus takes it."""
        return parse(self.output)

    @property
    def lines(self) -> list[str]:
        """What people read: the output without service messages and without the link to the run."""
        return [line for line in self.output.splitlines() if not line.startswith(("##octopus[", "Details: "))]

    @property
    def messages(self) -> list[tuple[str, dict[str, str]]]:
        """The service messages: kind and attributes."""
        found = filter(None, map(_MESSAGE.match, self.output.splitlines()))
        return [(m[1], {key: decode(value) for key, value in _ATTRIBUTE.findall(m[2])}) for m in found]

    @property
    def variables(self) -> dict[str, str]:
        """The output variables."""
        return {m["name"]: m.get("value", "") for kind, m in self.messages if kind == "setVariable"}

    @property
    def result(self) -> str:
        """What the failed step said to Octopus."""
        return next((m["message"] for kind, m in self.messages if kind == "resultMessage"), "")

    def says(self, text: str, timeout: float = 45.0) -> None:
        """Wait until *text* is in the output."""
        try:
            eventually(lambda: text in self.output, timeout)
        except AssertionError as error:
            raise AssertionError(f"{text!r} is not in:\n{self.output}") from error

    def ends(self, timeout: float = 30.0) -> int:
        """Wait for the end: the exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout} s:\n{self.output}") from error

    def kill(self) -> None:
        """SIGKILL to the script and all it started, as a cancelled step gets it."""
        if self.process.poll() is None and sys.platform == "win32":
            self.process.kill()
        elif self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class Steps:
    """Starts steps of one language for one service. *host*: what may run those that are only looked at afterwards."""

    def __init__(
        self,
        language: str,
        directory: Path,
        *,
        url: str,
        token: str,
        scripts: Path = STEPS,
        host: PowerShellHost | None = None,
    ) -> None:
        self.language = language
        self._host = host
        self._scripts = scripts
        self._directory = directory
        self._defaults = {"Octowait.Url": url, "Octowait.Token": token}
        self.started: list[Step] = []

    #: How the language says that a step failed.
    @property
    def failed(self) -> int:
        if self.language == "bash":
            return 1
        return 0xFFFFFFFF if sys.platform == "win32" else 255  # exit -1

    def start(
        self, name: str, task: str, variables: Mapping[str, str] | None = None, python: str = "", **around: Any
    ) -> Step:
        """Start *name* (``wait``, ``release``) for *task*, on Machines-7 unless *variables* say otherwise.

        *around* is what `Step` takes besides.
        """
        given = {
            **self._defaults,
            "Octopus.Task.Id": task,
            "Octopus.Deployment.Machines": "Machines-7",
            "Octopus.Space.Id": "Spaces-1",
            **(variables or {}),
        }
        step = Step(
            self.language,
            name,
            given,
            self._directory,
            python=python or sys.executable,
            scripts=self._scripts,
            **around,
        )
        self.started.append(step)
        return step

    def run(self, name: str, task: str, variables: Mapping[str, str] | None = None, **around: Any) -> Step:
        """Start a step to wait for its end: in the host, if it needs no process of its own."""
        if self._host and around.keys() <= {"env"} and is_hostable(around.get("env") or {}):
            around["host"] = self._host
        return self.start(name, task, variables, **around)
