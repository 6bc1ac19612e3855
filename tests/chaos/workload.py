"""Who does what the plan says: the clients of octowait, Octopus's webhooks, and an operator."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tests.chaos.doors import Caller, Doors
from tests.chaos.history import History
from tests.chaos.octopus import CLAIMS, PLAIN, WAITS, SmallOctopus, Task
from tests.chaos.operator import Operator
from tests.chaos.plan import End, Plan, RunPlan, Told, Vanishes
from tests.chaos.script import Kit, ScriptedStep
from tests.chaos.step import Client, Step
from tests.chaos.wire import Broken

#: Seconds that a wait may last: more than any does, and less than some jumps of a clock.
TIMEOUT_SECONDS = 600

#: Seconds that a late webhook is late, at most.
LATEST = 3.0


class Workload:
    """Carries a plan out.

    Args:
        slots: How many runs at once.
        stuck: Seconds without any end of a run after which all that goes on is given up. One run alone may stand behind
            others for long: those of higher priority come first.
        block: Seconds that a poll blocks.
        kit: What step scripts need.
        seconds: After which no further runs are begun; None: all of the plan are.
    """

    def __init__(
        self, plan: Plan, history: History, octopus: SmallOctopus, steps: Doors, plain: Doors, *, slots: int,
        stuck: float, block: float, kit: Kit, seconds: float | None = None,
    ) -> None:  # fmt: skip
        self.plan = plan
        self.history = history
        self.octopus = octopus
        self._steps, self._plain = steps, plain
        self._slots, self._stuck, self._block = slots, stuck, block
        self._kit = kit
        self._ends_at = time.monotonic() + seconds if seconds else float("inf")
        #: Runs that are over: as long as it grows, something goes on.
        self._ended = 0
        self._side: set[asyncio.Task[None]] = set()
        self._dice = random.Random(plan.seed)
        self._courier = Caller(plain, "webhook", self._dice)
        self._courier_free = asyncio.Lock()
        #: Steps whose clients live, by task.
        self.steps: dict[str, Client] = {}
        #: Runs that did not end, and answers that nobody should get.
        self.stuck: list[str] = []
        self.surprises: list[str] = []
        #: Strikes of the plan that have begun.
        self.struck = 0

    async def run(self) -> None:
        """All runs of the plan, and all that they left behind."""
        runs = iter(self.plan.runs)
        last = {run.number for run in self.plan.runs[-self._slots :]}
        operator = asyncio.ensure_future(Operator(self.plan, self.history, self._plain, self.steps, self._dice).run())

        async def slot(number: int) -> None:
            caller = Caller(self._steps, "step", random.Random(self.plan.seed + number))
            for run in runs:
                while run.number in last and self._is_strike_due():
                    await asyncio.sleep(0.02)  # between two looks at a fact, not instead of one
                if time.monotonic() > self._ends_at:
                    break
                await self._one(run, caller)
            caller.drop()

        work = asyncio.gather(*(slot(number) for number in range(self._slots)))
        watch = asyncio.ensure_future(self._watch(work))
        try:
            await work
            while self._side:
                await asyncio.gather(*self._side)
        except asyncio.CancelledError:
            if not watch.done():
                raise
        finally:
            operator.cancel()
            watch.cancel()

    def _is_strike_due(self) -> bool:
        """Whether one is late since others take long: each has to find somebody who works."""
        to_come = self.plan.strikes[self.struck :]
        return bool(to_come) and to_come[0].at <= self.history.grants

    async def _watch(self, work: asyncio.Future[Any]) -> None:
        """Give everything up where nothing goes on any more."""
        ended = -1
        while ended < self._ended:
            ended = self._ended
            await asyncio.sleep(self._stuck)
        self.stuck += [f"{step.task} #{step.turn}" for step in self.steps.values()]
        print(f"given up: nothing has ended for {self._stuck:.0f} s", flush=True)
        work.cancel()
        for side in self._side:
            side.cancel()

    def aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _one(self, run: RunPlan, caller: Caller) -> None:
        dice = random.Random(self.plan.seed * 1_000_003 + run.number)
        for turn in range(1, run.again + 2):
            try:
                may_go_on = await self._turn(run, turn, caller, dice)
            except Exception as error:
                self.surprises.append(f"{run.task} #{turn}: {type(error).__name__}: {error}")
                return
            finally:
                self.steps.pop(run.task, None)
                self._ended += 1
            if not may_go_on:
                return

    async def _turn(
        self, run: RunPlan, turn: int, caller: Caller, dice: random.Random, parent: str = ""
    ) -> bool:  # fmt: skip
        """One run of a task; whether the task may be run again."""
        process = PLAIN if run.is_observed else CLAIMS if run.parked else WAITS
        task = self.octopus.begin(
            run.number, run.machines, turn=turn, priority=run.priority, parent=parent, process=process
        )
        self._tell(run, "DeploymentStarted", task, task.started_ms, dice)
        if run.is_observed:
            self.aside(self._observed(run, task, dice))
            return False
        ask: dict[str, Any] = {
            "priority": run.priority, "parked": run.parked, "timeout_seconds": TIMEOUT_SECONDS,
            "deployment_id": f"Deployments-{run.number}",
            "project": {"id": task.project}, "environment": {"id": "Environments-1"},
            **({"on_behalf_of": parent} if parent else {}),
        }  # fmt: skip
        if run.script:
            await self._scripted(run, task, ask, dice)
            return False
        step = self.steps[run.task] = Step(
            self.history, caller, run.task, turn, run.machines, dice, block=self._block, has_claim=run.has_claim
        )
        if run.vanishes is not Vanishes.NEVER:
            await self._vanish(run, task, step, ask, dice)
            return False
        if run.nap_ms:
            self.aside(self._nap(step, run.nap_ms))
        if run.parked:
            word = await self._parked(run, task, step, ask, dice)
        else:
            word = await self._wait(step, ask)
        may_go_on = await self._after(word, run, task, step, dice)
        return may_go_on and not step.is_loose and not step.is_being_forced

    async def _scripted(self, run: RunPlan, task: Task, ask: dict[str, Any], dice: random.Random) -> None:
        """One run of a task whose steps are scripts."""
        step = ScriptedStep(self.history, self._kit, run.script, run.task, run.machines, dice)
        self.steps[run.task] = step
        if run.vanishes is Vanishes.ASKING:
            self.aside(step.dies_at_start())
        elif run.vanishes is not Vanishes.NEVER:
            self.aside(later(dice.uniform(0.0, 1.5), step.dies))
        if run.nap_ms:
            self.aside(self._nap(step, run.nap_ms))
        await self._after(await self._wait(step, ask), run, task, step, dice)

    async def _after(self, word: str, run: RunPlan, task: Task, step: Client, dice: random.Random) -> bool:
        """What follows a wait that came to *word*; False when its client was killed."""
        if word == "killed":
            self.aside(self._cancelled(run, task, step, dice))
            return False
        if word == "granted":
            step.works()
            await self._work(run, step, dice)
        step.stops()
        await self._end(run, task, step, dice)
        return True

    async def _wait(self, step: Client, ask: dict[str, Any]) -> str:
        """What its wait came to, or ``killed``."""
        step.call = asyncio.ensure_future(step.wait(**ask))
        try:
            return await step.call
        except asyncio.CancelledError:
            if not step.was_killed:
                raise
            return "killed"
        finally:
            step.call = None

    async def _work(self, run: RunPlan, step: Client, dice: random.Random) -> None:
        child = run.child and asyncio.ensure_future(self._child(run.child, dice, run.task))
        await asyncio.sleep(run.hold_ms / 1000)
        if child and run.outlived:
            self.aside(child_done(child))
        elif child:
            await child

    async def _child(self, run: RunPlan, dice: random.Random, parent: str) -> None:
        caller = Caller(self._steps, "step", dice)
        try:
            await self._turn(run, 1, caller, dice, parent)
        except Exception as error:
            self.surprises.append(f"{run.task}, child of {parent}: {type(error).__name__}: {error}")
        finally:
            self.steps.pop(run.task, None)
            caller.drop()

    async def _parked(
        self, run: RunPlan, task: Task, step: Step, ask: dict[str, Any], dice: random.Random
    ) -> str:  # fmt: skip
        """A claim, and the intervention that waits for it: ``granted`` once it may go on."""
        word = "broken"
        while word == "broken":
            try:
                word = await step.put(**ask)
            except Broken:
                await asyncio.sleep(dice.uniform(0.05, 0.5))
        if word != "waiting":
            return word
        self.octopus.raise_intervention(task)
        self._tell(run, "ManualInterventionInterruptionRaised", task, task.raised_ms, dice)
        await task.answered.wait()
        return "granted" if task.result == "Proceed" else "aborted"

    async def _end(self, run: RunPlan, task: Task, step: Client, dice: random.Random) -> None:
        if run.end is End.STEP:
            await step.give_back()
        self.octopus.end(task)
        self._tell(run, "DeploymentSucceeded", task, task.completed_ms, dice)

    async def _vanish(
        self, run: RunPlan, task: Task, step: Step, ask: dict[str, Any], dice: random.Random
    ) -> None:  # fmt: skip
        """Its client is killed; its task ends a while later."""
        call = asyncio.ensure_future(step.put(**ask) if run.vanishes is Vanishes.ASKING else step.wait(**ask))
        patience = {Vanishes.ASKING: 0.004, Vanishes.WAITING: 0.3}.get(run.vanishes)
        await asyncio.wait((call,), timeout=patience and patience * dice.random())
        if call.done() and not call.exception() and call.result() == "granted":
            step.works()
        call.cancel()
        step.dies()
        self.aside(self._cancelled(run, task, step, dice))

    async def _cancelled(self, run: RunPlan, task: Task, step: Client, dice: random.Random) -> None:
        await asyncio.sleep((run.hold_ms if step.is_working else run.linger_ms) / 1000 + dice.uniform(0.02, 0.3))
        step.stops()
        self.octopus.end(task, "Canceled")
        self._tell(run, "TaskCanceled", task, task.completed_ms, dice)

    async def _observed(self, run: RunPlan, task: Task, dice: random.Random) -> None:
        await asyncio.sleep(run.hold_ms / 1000)
        self.octopus.end(task)
        self._tell(run, "DeploymentSucceeded", task, task.completed_ms, dice)

    async def _nap(self, step: Client, nap_ms: int) -> None:
        step.halt()
        await asyncio.sleep(nap_ms / 1000)
        step.go_on()

    # Webhooks

    def _tell(self, run: RunPlan, category: str, task: Task, occurred_ms: float, dice: random.Random) -> None:
        if run.told is Told.NOTHING:
            return
        body = self.octopus.event(category, task, occurred_ms)
        if run.told is not Told.DROPPED:
            late = dice.uniform(0.1, LATEST) if run.told is Told.LATE else 0.0
            self.aside(self._post(body, late))
        if run.told is Told.DOUBLED:
            self.aside(self._post(body, dice.uniform(0.0, LATEST)))

    async def _post(self, body: dict[str, Any], late: float) -> None:
        await asyncio.sleep(late)
        async with self._courier_free:
            try:
                answer = await self._courier.call("POST", "/webhooks/octopus", body)
            except Broken:
                return  # Octopus does not send it again.
        if answer.status != 202:
            self.surprises.append(f"webhook: {answer.status} {answer.body}")


async def later(seconds: float, act: Callable[[], None]) -> None:
    await asyncio.sleep(seconds)
    act()


async def child_done(child: asyncio.Future[None]) -> None:
    await child
