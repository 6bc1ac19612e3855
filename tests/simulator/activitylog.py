"""The log of a task: a tree of steps, and below a step its targets, as ``/tasks/{id}/details`` shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulator.clock import Clock, iso

#: Lines kept of one node; a wait of hours prints many.
MAX_LINES = 500


@dataclass(kw_only=True)
class Node:
    """One step, target or the task itself. Status is Pending, Running, Success, Failed, Skipped, … ."""

    id: str
    name: str
    status: str = "Pending"
    started_ms: int | None = None
    ended_ms: int | None = None
    children: list[Node] = field(default_factory=list)
    lines: list[tuple[int, str, str]] = field(default_factory=list)
    #: Category and text of what a running script has said so far.
    tail: Callable[[], list[tuple[str, str]]] | None = None

    def child(self, name: str) -> Node:
        node = Node(id=f"{self.id}/{len(self.children) + 1}", name=name)
        self.children.append(node)
        return node

    def start(self) -> None:
        self.started_ms, self.status = Clock.now_ms(), "Running"

    def end(self, status: str) -> None:
        self.ended_ms, self.status = Clock.now_ms(), status

    def say(self, text: str, category: str = "Info") -> None:
        if len(self.lines) < MAX_LINES:
            self.lines.append((Clock.now_ms(), category, text))

    def _said(self) -> list[tuple[int, str, str]]:
        tail = self.tail
        return self.lines + ([(Clock.now_ms(), *line) for line in tail()[-MAX_LINES:]] if tail else [])

    def as_json(self) -> dict[str, Any]:
        return {
            "Id": self.id,
            "Name": self.name,
            "Status": self.status,
            "Started": iso(self.started_ms),
            "Ended": iso(self.ended_ms),
            "Children": [child.as_json() for child in self.children],
            "ShowAtSummaryLevel": True,
            "LogElements": [
                {"Category": category, "OccurredAt": iso(at), "MessageText": text, "Detail": None}
                for at, category, text in self._said()
            ],
            "ProgressPercentage": 0 if self.ended_ms is None else 100,
            "ProgressMessage": "",
        }

    def as_text(self, depth: int = 0) -> str:
        lines = ["  " * depth + f"{self.status}: {self.name}"]
        lines += [f"{iso(at)}   {'  ' * depth}{category:8} |   {text}" for at, category, text in self._said()]
        return "\n".join(lines + [child.as_text(depth + 1) for child in self.children])
