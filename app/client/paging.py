"""Answers of octowait's API that come in pages, put together."""

from __future__ import annotations

from typing import Any

from app.client.api import Gate


def call_all(gate: Gate, path: str, name: str) -> dict[str, Any]:
    """The first page of *path* with the entries of all pages under *name*.

    Raises:
        CannotReach: nobody answers, or Redis does not.
        Refused: any other error answer.
    """
    answer: dict[str, Any] = gate.call("GET", path)
    entries, page = list(answer[name]), answer
    while cursor := page.get("next_cursor"):
        page = gate.call("GET", path, query={"cursor": cursor})
        entries += page[name]
    return {**answer, name: entries, "next_cursor": None}
