"""The client of one run, as its users have it: the scripts of `steps/`, in processes of their own."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.history import History, Kind
from tests.chaos.processes import TOKENS
from tests.chaos.step import Client
from tests.steps import run_step

#: What a release script says first, and what the release came to then.
RELEASED = {"Released:": "released", "Left:": "left", "Nothing to release": "nothing"}


@dataclass(frozen=True)
class Kit:
    """What scripts need: a *directory* for their files, and the *ports* at which octowait answers."""

    directory: Path
    ports: list[int]


class ScriptFailed(Exception):
    """A script ended otherwise than it may; the message has what it said last."""


class ScriptedStep(Client):
    """A run whose wait and whose release are step scripts.

    What a script says to octowait nobody sees: the history has its start, what it said to Octopus, and its end.

    Args:
        language: As `tests.steps.run_step` has it.
    """

    def __init__(
        self, history: History, kit: Kit, language: str, task: str, machines: tuple[str, ...], dice: random.Random
    ) -> None:  # fmt: skip
        super().__init__(history, task, 1, machines)
        self._kit = kit
        self._language = language
        self._script: run_step.Step | None = None
        self._variables = {
            "Octopus.Task.Id": task, "Octopus.Space.Id": "Spaces-1", "Octopus.Deployment.Machines": ",".join(machines),
            "Octowait.Url": f"http://127.0.0.1:{dice.choice(kit.ports)}", "Octowait.Token": TOKENS["step"],
        }  # fmt: skip

    async def wait(self, **ask: Any) -> str:
        """Run the wait step: ``granted``. Raises: ScriptFailed."""
        project, environment = ask["project"], ask["environment"]
        self.note(Kind.ASKED, verb="script")
        self.is_waiting = True
        script = await self._run("wait", {
            "Octowait.Priority": str(ask["priority"]), "Octopus.Deployment.Id": ask["deployment_id"],
            "Octopus.Project.Id": project["id"], "Octopus.Environment.Id": environment["id"],
        })  # fmt: skip
        self.is_waiting = False
        word = script.variables.get("Octowait.State", "")
        if script.process.returncode or word != "granted":
            raise ScriptFailed(f"{self._language}: exit {script.process.returncode}, {word}: {script.output[-800:]}")
        self.token = int(script.variables["Octowait.FencingToken"])
        self.note(Kind.TOLD, verb="script", word=word, token=self.token, machines=self.machines)
        return word

    async def give_back(self) -> str:
        """Run the release step, which never fails. Raises: ScriptFailed."""
        script = await self._run("release", {})
        if script.process.returncode:
            raise ScriptFailed(f"{self._language}: exit {script.process.returncode}: {script.output[-800:]}")
        said = (word for line in script.lines for start, word in RELEASED.items() if line.startswith(start))
        word = next(said, "")
        self.note(Kind.TOLD if word else Kind.BROKEN, verb="delete", word=word or script.lines[-1])
        return word

    async def _run(self, name: str, variables: Mapping[str, str]) -> run_step.Step:
        """Start a script, and wait for its end."""
        given = {**self._variables, **variables}
        script = self._script = run_step.Step(self._language, name, given, self._kit.directory, sys.executable)
        if not self.awake.is_set():
            self._signal(signal.SIGSTOP)
        try:
            while script.process.poll() is None:
                await asyncio.sleep(0.02)  # between two looks at a fact, not instead of one
        finally:
            script.kill()
        return script

    def halt(self) -> None:
        super().halt()
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        super().go_on()
        self._signal(signal.SIGCONT)

    def dies(self) -> None:
        """It is killed with all that it started, unless it has just ended by itself."""
        if self.is_waiting and self._signal(signal.SIGKILL):
            super().dies()

    async def dies_at_start(self) -> None:
        """It is killed as soon as it runs."""
        while self._script is None:
            await asyncio.sleep(0.005)  # between two looks at a fact, not instead of one
        self.dies()

    def _signal(self, number: signal.Signals) -> bool:
        """Whether there was somebody to get it."""
        if self._script is None or self._script.process.poll() is not None:
            return False
        os.killpg(self._script.process.pid, number)
        return True
