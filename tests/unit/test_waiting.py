"""What the command line says while it waits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from app.client.api import CannotReach, Refused
from app.client.waiting import give_back, wait_for_grant


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


class Claiming:
    """A gate that says these states, one a call, each with the claim of the call, and notes what it was asked."""

    def __init__(self, *states: str | Exception) -> None:
        self._states = iter(states)
        self.asked: list[str] = []
        self.claims: set[str | None] = set()

    def call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> Any:
        query = options.get("query") or {}
        self.asked.append(" ".join([method, *(f"{name}={value}" for name, value in query.items() if value)]))
        claim = (headers or {}).get("X-Octowait-Claim")
        self.claims.add(claim)
        state = next(self._states)
        if isinstance(state, Exception):
            raise state
        return {"state": state, "message": state, "news": state, "claim": claim, "outcome": state}

    def lines(self, path: str, *, query: Mapping[str, object]) -> Iterator[str]:
        raise NotImplementedError


def waits(gate: Any) -> str:
    return str(wait_for_grant(gate, "ServerTasks-9", {"timeout_seconds": 60}, say=lambda line: None)["state"])


def test_grant_is_confirmed_by_a_call_that_does_not_block() -> None:
    gate = Claiming("waiting", "granted", "granted")

    assert waits(gate) == "granted"
    assert gate.asked == ["PUT", "GET block_seconds=50", "GET"]
    assert len(gate.claims) == 1 and re.fullmatch("[0-9a-f]{32}", str(*gate.claims))


def test_grant_that_is_not_confirmed_is_waited_for() -> None:
    gate = Claiming("granted", "waiting", "granted", "granted")

    assert waits(gate) == "granted"
    assert gate.asked == ["PUT", "GET", "GET block_seconds=50", "GET"]


def test_answer_to_the_confirmation_that_was_lost_is_asked_for_again() -> None:
    gate = Claiming("granted", CannotReach("cut"), "granted", "granted")

    assert waits(gate) == "granted"
    assert gate.asked == ["PUT", "GET", "PUT", "GET"]


def test_place_that_octowait_does_not_know_any_more_is_asked_for_again() -> None:
    gate = Claiming("waiting", Refused(404, "unknown_run", "unknown"), "granted", "granted")

    assert waits(gate) == "granted"
    assert gate.asked == ["PUT", "GET block_seconds=50", "PUT", "GET"]


def test_end_that_another_execution_made_is_the_answer() -> None:
    assert waits(Claiming("granted", "left")) == "left"


def test_octowait_of_before_claims_is_not_asked_to_confirm() -> None:
    gate = Scripted(("a", "Held for 3 min."))

    assert wait_for_grant(gate, "ServerTasks-9", {"timeout_seconds": 60}, say=lambda line: None)["state"] == "granted"


@pytest.mark.parametrize(
    ("states", "claims"),
    [
        (["waiting", "released"], {None}),
        ([Refused(422, "invalid", "look: Extra inputs are not permitted"), "released"], {None}),
        ([Refused(404, "unknown_run", "unknown"), "nothing"], {None}),
    ],
)
def test_what_a_task_has_is_looked_up_before_it_is_given_back(states: list[Any], claims: set[str | None]) -> None:
    gate = Claiming(*states)

    give_back(gate, "ServerTasks-9", reason="done")

    assert gate.asked == ["GET look=1", "DELETE reason=done"]
    assert gate.claims == claims
