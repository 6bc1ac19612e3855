"""What the command line says while it waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.client.waiting import wait_for_grant


class Scripted:
    """A gate that gives these answers, ``(news, message)`` each, one a call."""

    def __init__(self, *told: tuple[str, str]) -> None:
        self._answers = iter([*({"state": "waiting", "news": news, "message": message} for news, message in told),
                              {"state": "granted", "news": "granted", "message": "Granted."}])  # fmt: skip

    def call(self, method: str, path: str, **options: Any) -> Any:
        return next(self._answers)

    def lines(self, path: str, *, query: Mapping[str, object]) -> Iterator[str]:
        raise NotImplementedError


def said(*told: tuple[str, str]) -> list[str]:
    lines: list[str] = []
    answer = wait_for_grant(Scripted(*told), "ServerTasks-9", {"timeout_seconds": 60}, say=lines.append)
    assert answer["state"] == "granted"
    return lines


def test_what_is_news_is_said():
    assert said(("a", "Held for 3 min."), ("b", "Held for 1 s."), ("a", "Held for 4 min.")) == [
        "Held for 3 min.", "Held for 1 s.", "Held for 4 min.",
    ]  # fmt: skip


def test_what_is_no_news_is_not_said_again_however_it_is_worded():
    assert said(("a", "Held for 3 min."), ("a", "For 4 min now: held.")) == ["Held for 3 min."]
