"""Events of Octopus for tests of the board: what occurred now, or some time ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.coordination.board import Board
from app.domain.events import Effect, Event
from tests.conftest import Clock

WEB = [{"id": "Machines-7", "name": "web-01"}]


class Octopus:
    """Delivers events that occurred now, or *ago*."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board, self._clock, self._number = board, clock, 0

    def event(
        self, effect: Effect, task: str | None = "ServerTasks-1", *, ago: timedelta = timedelta(0),
        number: int | None = None, **fields: Any,
    ) -> Event:  # fmt: skip
        self._number += 1
        key = f"events-{number or self._number}"
        occurred_ms = self._clock.now_ms - ago // timedelta(milliseconds=1)
        return Event(
            **{"key": key, "id": key, "category": f"Deployment{effect}", "effect": effect, "occurred_ms": occurred_ms,
               "task_id": task, "deployment_id": None, **fields}
        )  # fmt: skip

    def tells(self, effect: Effect, task: str | None = "ServerTasks-1", **fields: Any) -> str:
        return self._board.deliver(self.event(effect, task, **fields))

    def runs(self, task: str = "ServerTasks-1", machines: list[dict[str, str]] = WEB) -> None:
        """A run without a wait step that a worker has resolved."""
        assert self.tells(Effect.STARTED, task) == "unresolved"
        assert self._board.observe(task, machines, info={}) == "observed"
