"""What ``octowait status`` says of what needs somebody."""

from __future__ import annotations

from typing import Any

from app.cli.tables import status_lines

BOARD: dict[str, Any] = {"now_ms": 0, "machines": [], "unresolved": [], "closed_since_ms": None}


def test_run_that_cannot_be_looked_after_is_named_with_the_reason():
    run = {"task_id": "ServerTasks-3", "space_id": "Spaces-99", "why": "Octopus answers 403 for Spaces-99"}

    lines = status_lines({**BOARD, "unseen": [run]}, {"waits": []}, {"kept": []})

    assert "ServerTasks-3 cannot be looked after: Octopus answers 403 for Spaces-99" in lines


def test_octowait_of_a_version_before_says_nothing_of_that():
    assert not any("looked after" in line for line in status_lines(BOARD, {"waits": []}, {"kept": []}))
