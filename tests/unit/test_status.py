"""What ``octowait status`` says of what needs somebody."""

from __future__ import annotations

from typing import Any

from app.cli.tables import status_lines
from app.domain.wording import closed_words

BOARD: dict[str, Any] = {"now_ms": 0, "machines": [], "unresolved": [], "closed_since_ms": None}
NO_WAITS: dict[str, Any] = {"waits": []}
NONE_KEPT: dict[str, Any] = {"kept": []}


def test_run_that_cannot_be_looked_after_is_named_with_the_reason():
    run = {"task_id": "ServerTasks-3", "space_id": "Spaces-99", "why": "Octopus answers 403 for Spaces-99"}

    lines = status_lines({**BOARD, "unseen": [run]}, NO_WAITS, NONE_KEPT)

    assert "ServerTasks-3 cannot be looked after: Octopus answers 403 for Spaces-99" in lines


def test_octowait_of_a_version_before_says_nothing_of_that():
    assert not any("looked after" in line for line in status_lines(BOARD, NO_WAITS, NONE_KEPT))


def a_machine(status: str, *line: str) -> dict[str, Any]:
    return {"name": "web-01", "status": status, "line": list(line), "reservation": None}


def test_machine_that_is_free_for_the_first_in_line_is_not_idle():
    machines = [a_machine("busy", "ServerTasks-2"), a_machine("idle", "ServerTasks-2"), a_machine("idle")]

    first = status_lines({**BOARD, "machines": machines}, NO_WAITS, NONE_KEPT)[0]

    assert first == "3 machines: 1 busy, 0 reserved, 1 free and in demand, 1 idle; 0 waiting"


def test_closed_octowait_says_why():
    why = closed_words("unwitnessed")

    first = status_lines({**BOARD, "now_ms": 9000, "closed_since_ms": 1000, "closed_why": why}, NO_WAITS, NONE_KEPT)[0]

    assert first.startswith(f"CLOSED for 8 s: {why}; nobody is granted until it is known what runs where.")
