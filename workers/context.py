"""What a job works with: the process that runs it says so before each one."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from app.coordination.board import Board
from app.coordination.unresolved import Unresolved
from app.octopus.client import OctopusClient
from app.settings import Settings


@dataclass(frozen=True)
class Context:
    """*octopus* is None without OCTOPUS_URL or OCTOPUS_API_KEY."""

    settings: Settings
    board: Board
    octopus: OctopusClient | None

    @property
    def unresolved(self) -> Unresolved:
        return Unresolved(self.board.client, self.board.keys)


current: ContextVar[Context] = ContextVar("current")
