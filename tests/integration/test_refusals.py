"""Refused calls: a line a minute for each caller and reason, and what Health and the doctor say of them."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from app.coordination.refusals import CallRefusal, Refusals
from app.web.refusals import MOST_KINDS, RefusalLog

WRONG = CallRefusal("unknown token", "192.0.2.7", "expected a token")


@pytest.fixture
def kept(board) -> Refusals:
    return Refusals(board.client, board.keys)


def test_same_refusal_is_said_once_a_minute_with_its_count(kept):
    now = 0.0
    refusal_log = RefusalLog(kept, clock=lambda: now)

    with capture_logs() as lines:
        for now in (0.0, 1.0, 30.0, 61.0):  # noqa: B007 (the clock reads it)
            refusal_log.count(WRONG)

    assert [(line["who"], line["address"], line["count"]) for line in lines] == [
        ("unknown token", "192.0.2.7", 1), ("unknown token", "192.0.2.7", 3),
    ]  # fmt: skip
    [listed] = kept.recent()
    assert (listed.count, listed.who, listed.why) == (4, "unknown token", "expected a token")


def test_callers_without_number_are_counted_together(kept):
    refusal_log = RefusalLog(kept)
    refusal_log.count(WRONG)
    for number in range(MOST_KINDS + 100):
        refusal_log.count(CallRefusal("nobody", f"192.0.2.{number}", "expected a token"))

    assert len(refusal_log._counts) == MOST_KINDS + 1
    assert refusal_log._counts[CallRefusal("others", "several addresses", "expected a token")] == 100


def test_refusals_of_more_than_a_day_ago_are_forgotten(kept, board):
    kept.add({WRONG: 1})
    old = board.now_ms() - 25 * 3_600_000
    board.client.delete(board.keys.refused)
    board.client.xadd(board.keys.refused, {"who": "a", "address": "b", "why": "c", "count": 1}, id=f"{old}-0")

    assert kept.recent() == []
    kept.add({WRONG: 2})
    assert [each.count for each in kept.recent()] == [2]
    assert 0 < board.client.ttl(board.keys.refused) <= 86_400
