"""An operator, who reserves machines, moves waiters, takes leases away and closes the board, as the plan says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping

from tests.chaos.doors import Caller, Doors
from tests.chaos.history import History, Kind, now_ms
from tests.chaos.plan import Act, ActKind, Plan
from tests.chaos.step import Client
from tests.chaos.wire import Broken


class Operator:
    """Acts on *steps*, the runs whose clients live, by task."""

    def __init__(
        self, plan: Plan, history: History, doors: Doors, steps: Mapping[str, Client], dice: random.Random
    ) -> None:  # fmt: skip
        self._plan = plan
        self._history = history
        self._doors = doors
        self._steps = steps
        self._dice = dice

    async def run(self) -> None:
        """All acts of the plan; whoever has enough of it cancels this."""
        caller = Caller(self._doors, "admin", self._dice)
        for act in self._plan.acts:
            while self._history.grants < act.at:
                await asyncio.sleep(0.02)  # between two looks at a fact, not instead of one
            try:
                await self._act(act, caller)
            except Broken:
                pass

    async def _act(self, act: Act, caller: Caller) -> None:
        why = {"reason": "chaos"}
        if act.kind is ActKind.RESERVE:
            until_ms = round(now_ms() + 1000 * act.seconds)
            await caller.call(
                "PUT",
                f"/api/machines/{act.machine}/reservation",
                {"note": "chaos", "until_ms": until_ms, "create": True},
            )
        elif act.kind is ActKind.CLOSE:
            await caller.call("POST", "/api/rebuild", why)
        elif act.kind is ActKind.FORCE:
            await self._force(caller, self._chosen("is_working", act))
        elif step := self._chosen("is_waiting", act):
            await caller.call("POST", f"/api/waits/{step.task}/priority", {"priority": act.priority, **why})

    def _chosen(self, state: str, act: Act) -> Client | None:
        found = [step for step in self._steps.values() if getattr(step, state)]
        return found[act.at % len(found)] if found else None

    async def _force(self, caller: Caller, step: Client | None) -> None:
        if step is None:
            return
        # From here on somebody else may get its machines, while it works: the operator has said so.
        step.note(Kind.FORCED)
        step.stops("forced")
        step.is_being_forced = True
        await caller.call("POST", f"/api/waits/{step.task}/force-release", {"reason": "chaos", "confirm": True})
        step.is_being_forced = False
