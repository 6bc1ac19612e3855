"""What the command line says while it waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.client.waiting import wait_for_grant


class Scripted:
    """A gate that gives these answers, one a call."""

    def __init__(self, *messages: str) -> None:
        self._answers = iter([*({"state": "waiting", "message": message} for message in messages),
                              {"state": "granted", "message": "Granted."}])  # fmt: skip

    def call(self, method: str, path: str, **options: Any) -> Any:
        return next(self._answers)

    def lines(self, path: str, *, query: Mapping[str, object]) -> Iterator[str]:
        raise NotImplementedError


def said(*messages: str) -> list[str]:
    lines: list[str] = []
    answer = wait_for_grant(Scripted(*messages), "ServerTasks-9", {"timeout_seconds": 60}, say=lines.append)
    assert answer["state"] == "granted"
    return lines


def test_another_holder_is_news():
    first = "Waiting for web-01, place 2: ServerTasks-1 (Api) has held it for 3 min."
    second = "Waiting for web-01, place 1: ServerTasks-2 (Web) has held it for 1 s."

    assert said(first, second) == [first, second]


def test_time_that_passes_is_no_news():
    first = "Waiting for web-01, place 2: ServerTasks-1 (Api) has held it for 3 min."

    assert said(first, first.replace("3 min", "4 min")) == [first]
