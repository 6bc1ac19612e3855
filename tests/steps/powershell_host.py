"""A PowerShell that runs many steps, each in a runspace of its own: a start takes a second and a half of a core.

What a process of its own is needed for is run in one: a script module, other surroundings, a step that is looked at
while it runs; and so is each step of `tests/bench/steps_conditions.py`.
"""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

HOST = Path(__file__).with_suffix(".ps1")

_ENDED = re.compile(rb"\x0cENDED (\d+) (\d+)\n\Z")


def is_hostable(env: Mapping[str, str]) -> bool:
    """Whether a process that runs can take over *env*: what only the script reads, and nothing below it."""
    return sys.platform != "win32" and all(
        name.startswith("OCTOWAIT_") or name.lower().endswith("_proxy") for name in env
    )


class PowerShellHost:
    """Starts its process with the first step, and anew after one that had to be killed."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._command = [*command, "-NoProfile", "-File", str(HOST)]
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._number = 0

    def start(self, command: str, env: Mapping[str, str], log: Path) -> HostedStep:
        """Start *command*, whose output goes to *log*. The step before must have ended."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._number += 1
        environment = [f"{name}={value}" for name, value in env.items()]
        request = {"number": self._number, "command": command, "environment": environment}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return HostedStep(self._process, self._number, log)

    def stop(self) -> None:
        if self._process is not None and self._process.stdin and self._process.stdout:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait(30)
            self._process.stdout.close()


class HostedStep:
    """A step in a host, with what `subprocess.Popen` has for one that is a process; killing it kills the host."""

    def __init__(self, process: subprocess.Popen[bytes], number: int, log: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._number = number
        self._log = log
        self._output = b""
        self._status: int | None = None

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while self._status is None:
            assert self._process.stdout
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(self._process.args, timeout)
            self._take(self._process.stdout.read1(65536))
        return self._status

    def _take(self, data: bytes) -> None:
        self._output += data
        if ended := _ENDED.search(self._output):
            assert int(ended[1]) == self._number
            self._output = self._output[: ended.start()]
            self._status = int(ended[2])
        elif not data:
            self._status = self._process.wait(10)
        self._log.write_bytes(self._output)
