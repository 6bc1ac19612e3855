"""A join whose turn does not come changes nothing, and lets no script go on without waiting."""

from __future__ import annotations

from functools import partial

import pytest

from app.web import create_app
from app.web.api.joins_in_turn import JoinsInTurn
from tests.conftest import TOKENS, WEBHOOK_SECRET, services_on


@pytest.fixture
def join(board, redis_url, monkeypatch):
    monkeypatch.setattr("app.web.JoinsInTurn", partial(JoinsInTurn, most=1, longest=0.01))
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    app = create_app(services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens))
    joins = app.extensions["octowait.joins"]
    client = app.test_client()

    def join(**headers):
        given = {"Authorization": f"Bearer {TOKENS['step']}", "Accept": "text/plain", **headers}
        with joins.turn("test", 1):
            return client.put("/api/waits/ServerTasks-1", json={"machines": ["Machines-1"]}, headers=given)

    return join


def test_script_of_before_is_told_to_wait(board, join):
    """After two minutes of 503 it would go on without waiting, under "proceed"."""
    answer = join()

    assert answer.status_code == 200
    assert answer.text.startswith("waiting 0\nWaiting for a place in the line: others asked before")
    assert board.place("ServerTasks-1") is None


@pytest.mark.parametrize("headers", [{"X-Octowait-Version": "2"}, {"X-Octowait-Claim": "c" * 32}])
def test_others_are_told_when_to_ask_again(board, join, headers):
    answer = join(**headers)

    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "too_many_joins", "1")
    assert board.place("ServerTasks-1") is None
