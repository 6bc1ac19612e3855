"""Who does harm, as the plan says, and how long octowait takes to be right again."""

from __future__ import annotations

import asyncio
import random
import signal
from dataclasses import dataclass

from tests.chaos.faults import CLOCK_STEP, Fault, Strike
from tests.chaos.history import History, now_ms
from tests.chaos.processes import Cast, Process, Web
from tests.chaos.proxy import Mood, Proxy
from tests.chaos.script import ScriptedStep
from tests.chaos.store import Store
from tests.chaos.workload import Workload

#: Seconds that a thing may take to be over before the next strike, so that each can be told from the others.
PAUSE = 0.2

MOODS = {
    Fault.DELAY: Mood.DELAY, Fault.LOSE: Mood.LOSE, Fault.HOLD: Mood.HOLD, Fault.HOLD_RELEASES: Mood.HOLD_RELEASES,
    Fault.CUT: Mood.CUT, Fault.DEAD_LINKS: Mood.DEAD,
}  # fmt: skip


@dataclass(frozen=True)
class Blow:
    """A strike that was carried out: from *began_ms* until *over_ms* something was not as it should be."""

    strike: Strike
    began_ms: float
    over_ms: float


class Nemesis:
    """Strikes one thing after the other."""

    def __init__(
        self, strikes: tuple[Strike, ...], history: History, cast: Cast, store: Store, proxies: list[Proxy],
        workload: Workload, seed: int,
    ) -> None:  # fmt: skip
        self._strikes = strikes
        self._history = history
        self._cast, self._store, self._proxies = cast, store, proxies
        self._workload = workload
        self._dice = random.Random(seed)
        self.blows: list[Blow] = []
        self._is_over = False

    async def stop(self, running: asyncio.Future[None]) -> None:
        """Carry out the strike that is under way, and no other."""
        self._is_over = True
        await running

    async def run(self) -> None:
        for strike in self._strikes:
            while self._history.grants < strike.at and not self._is_over:
                await asyncio.sleep(0.02)  # between two looks at a fact, not instead of one
            if self._is_over:
                return
            began_ms = now_ms()
            self._workload.struck += 1
            await self._do(strike)
            self.blows.append(Blow(strike, began_ms, now_ms()))
            await asyncio.sleep(PAUSE)

    async def _do(self, strike: Strike) -> None:
        web = self._cast.webs[strike.which % len(self._cast.webs)]
        match strike.fault:
            case Fault.KILL_WEB:
                await self._kill(web, strike)
            case Fault.KILL_WORKER:
                await self._kill(self._cast.worker, strike)
            case Fault.KILL_SCHEDULER:
                await self._kill(self._cast.scheduler, strike)
            case Fault.STOP_WEB:
                await self._stop(web, strike)
            case Fault.STOP_WORKER:
                await self._stop(self._cast.worker, strike)
            case Fault.STOP_SCHEDULER:
                await self._stop(self._cast.scheduler, strike)
            case Fault.STOP_STORE:
                await self._stop(self._store, strike)
            case Fault.KILL_STORE | Fault.EMPTY_STORE:
                await self._kill_store(strike)
            case Fault.OLDER_STORE:
                await self._go_back(strike)
            case Fault.CLOCK_AHEAD | Fault.CLOCK_BACK:
                self._store.shift((1 if strike.fault is Fault.CLOCK_AHEAD else -1) * strike.count * CLOCK_STEP)
                await asyncio.sleep(strike.seconds)
            case Fault.KILL_STEPS | Fault.STOP_STEPS:
                await self._steps(strike)
            case _:
                await self._network(strike)

    async def _kill(self, process: Process, strike: Strike) -> None:
        await asyncio.to_thread(process.kill)
        await asyncio.sleep(strike.seconds)
        process.start()
        if isinstance(process, Web):
            await asyncio.to_thread(process.await_ready)

    async def _stop(self, target: Process | Store, strike: Strike) -> None:
        target.signal(signal.SIGSTOP)
        await asyncio.sleep(strike.seconds)
        target.signal(signal.SIGCONT)

    async def _kill_store(self, strike: Strike) -> None:
        await asyncio.to_thread(self._store.kill)
        await asyncio.sleep(strike.seconds / 2)
        if strike.fault is Fault.EMPTY_STORE:
            self._store.empty()
        await asyncio.to_thread(self._store.start)

    async def _go_back(self, strike: Strike) -> None:
        """To what was on the disk some grants ago; in between, clients were told of what it does not know."""
        copy = await asyncio.to_thread(self._store.copy, f"backup-{len(self.blows)}")
        before = self._history.grants
        while self._history.grants < before + strike.count and not self._is_over:
            await asyncio.sleep(0.02)  # between two looks at a fact, not instead of one
        await asyncio.to_thread(self._store.kill)
        await asyncio.to_thread(self._store.go_back_to, copy)
        await asyncio.to_thread(self._store.start)

    async def _steps(self, strike: Strike) -> None:
        """Those that are scripts, and some others."""
        waiting = [step for step in self._workload.steps.values() if step.is_waiting and step.call]
        scripts = [step for step in waiting if isinstance(step, ScriptedStep)]
        chosen = scripts + self._dice.sample(waiting, min(strike.count, len(waiting)))
        for step in chosen:
            if strike.fault is Fault.STOP_STEPS:
                step.halt()
            elif not step.was_killed:
                step.dies()
        if strike.fault is Fault.STOP_STEPS:
            await asyncio.sleep(strike.seconds)
            for step in chosen:
                step.go_on()

    async def _network(self, strike: Strike) -> None:
        for proxy in self._proxies:
            proxy.be(MOODS[strike.fault], count=strike.count, seconds=strike.seconds)
        await asyncio.sleep(strike.seconds)
        for proxy in self._proxies:
            proxy.be(Mood.CALM)
            if strike.fault is Fault.DEAD_LINKS:
                proxy.cut()
