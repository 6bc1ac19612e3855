"""A wait as it is told: its stretches and sentences, with the names that people know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.domain.analysis.fronts import Stretch
from app.domain.analysis.narrative import story
from app.domain.analysis.replay import Wait
from app.domain.wording import Names

#: Stretches of one wait that an answer shows.
MOST_STRETCHES = 200


@dataclass(frozen=True)
class ToldStretch:
    """A stretch with what people call its machine and the run in the way; all else is the stretch's."""

    part: Stretch
    names: Names

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    @property
    def machine(self) -> str | None:
        return self.names.machine(self.part.machine_id) if self.part.machine_id else None

    @property
    def label(self) -> str | None:
        return self.names.run(self.part.task_id) if self.part.task_id else None

    @property
    def url(self) -> str | None:
        return self.names.urls.get((self.part.task_id or "").lower())


@dataclass(frozen=True)
class WaitStory:
    """A wait with its first stretches and its story; all else is the wait's."""

    wait: Wait
    names: Names

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wait, name)

    @property
    def label(self) -> str:
        return self.names.run(self.wait.task_id)

    @property
    def url(self) -> str | None:
        return self.names.urls.get(self.wait.task_id.lower())

    @property
    def stretches(self) -> list[ToldStretch]:
        return [ToldStretch(part, self.names) for part in self.wait.stretches[:MOST_STRETCHES]]

    @property
    def more_stretches(self) -> int:
        return max(0, len(self.wait.stretches) - MOST_STRETCHES)

    @property
    def story(self) -> list[str]:
        return story(self.wait, self.names)
