"""Polls of steps that block over HTTP: many of them go to Redis together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.store.witness import Seen


def newest_number(seen: Sequence[Seen]) -> str:
    """As ``lua/poll.lua`` takes it: the number of the latest change that an answer "granted" has told of.

    Zero where there was no such answer, and empty where its step says nothing.
    """
    return str(max(each.number if each.is_told else 0 for each in seen)) if seen else ""


@dataclass(frozen=True)
class Poll:
    """A call of `WaitVerbs.poll`, with its arguments.

    Args:
        is_brief: The step is about to block: of a run that waits `StillWaits` is enough.
        seen: What those have seen for whom it is made.
    """

    task_id: str
    claim: str | None = None
    blocks: bool = False
    owner: str | None = None
    is_brief: bool = False
    seen: tuple[Seen, ...] = ()

    @property
    def who(self) -> str:
        """Who asks, as ``lua/poll.lua`` calls it."""
        if self.is_brief:
            return "sleep"
        return "block" if self.blocks else "poll"

    @property
    def arguments(self) -> tuple[str, str, str, str, str]:
        """What ``lua/poll.lua`` is given."""
        return self.task_id, self.who, self.claim or "", self.owner or "", newest_number(self.seen)


@dataclass(frozen=True)
class StillWaits:
    """That a run waits, and no more. *slice_seconds* is as in `RunStatus`."""

    slice_seconds: float
