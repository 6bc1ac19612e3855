"""Two measures of how well octowait does, taken all the time: how soon a free machine is granted, and how soon a run
whose end nobody tells of makes room for the next.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.chaos.doors import Caller, Doors
from tests.chaos.history import History, now_ms
from tests.chaos.octopus import SmallOctopus
from tests.chaos.step import Step

#: Tasks of canaries are numbered from here.
FIRST_NUMBER = 90_000_000

#: Seconds between two looks.
PAUSE = 0.25


@dataclass
class Sung:
    """Looks that came to a good end, as (began, ended), milliseconds."""

    granted: list[tuple[float, float]] = field(default_factory=list)
    repaired: list[tuple[float, float]] = field(default_factory=list)


class Canary:
    """Looks until it is told to stop."""

    def __init__(self, history: History, octopus: SmallOctopus, doors: Doors) -> None:
        self._history = history
        self._octopus = octopus
        self._doors = doors
        self._numbers = FIRST_NUMBER
        self.is_over = False
        self.sung = Sung()

    async def sing(self) -> None:
        await asyncio.gather(self._again(self._grant, self.sung.granted), self._again(self._repair, self.sung.repaired))

    async def _again(self, look: Callable[[Caller], Awaitable[None]], sung: list[tuple[float, float]]) -> None:
        caller = Caller(self._doors, "step", random.Random(len(sung)))
        while not self.is_over:
            began_ms = now_ms()
            await look(caller)
            sung.append((began_ms, now_ms()))
            await asyncio.sleep(PAUSE)
        caller.drop()

    async def _grant(self, caller: Caller) -> None:
        await self._whole(caller, "Machines-canary-1")

    async def _repair(self, caller: Caller) -> None:
        step, end = await self._granted(caller, "Machines-canary-2")
        step.stops()
        # Nobody tells of it: no release, no webhook.
        end()
        await self._whole(caller, "Machines-canary-2")

    async def _whole(self, caller: Caller, machine: str) -> None:
        step, end = await self._granted(caller, machine)
        step.stops()
        await step.give_back()
        end()

    async def _granted(self, caller: Caller, machine: str) -> tuple[Step, Callable[[], None]]:
        self._numbers += 1
        number = self._numbers
        task = self._octopus.begin(number, (machine,), turn=1)
        step = Step(self._history, caller, task.id, 1, (machine,), random.Random(number))
        word = await step.wait(deployment_id=f"Deployments-{number}")
        assert word == "granted", f"{task.id}: {word}"
        step.works()
        return step, lambda: self._octopus.end(task)
