"""When two comparisons of clocks say that one of them has jumped, and when they may only have been slow or drifted."""

from __future__ import annotations

import pytest

from app.store.clock import TOLERANCE_MS, Comparison

HOUR = 3_600_000
JUMP = 600_000

BEFORE = Comparison(1_000_000, 1_000_010, at_ms=0, changes=0)


def later(offset_ms: int, *, width_ms: int = 10, after_ms: int = 1000) -> Comparison:
    return Comparison(1_000_000 + offset_ms, 1_000_000 + offset_ms + width_ms, at_ms=after_ms, changes=0)


@pytest.mark.parametrize("jump", [JUMP, -JUMP, 8_000, -8_000, TOLERANCE_MS + 100, -TOLERANCE_MS - 100])
def test_what_is_farther_than_clocks_drift_is_a_jump(jump):
    assert BEFORE.jump_to(later(jump)) == jump


@pytest.mark.parametrize(
    "now",
    [
        later(0),
        later(TOLERANCE_MS - 100),
        later(-TOLERANCE_MS + 100),
        later(3_000, after_ms=HOUR),  # drifted
        later(-JUMP, width_ms=JUMP),  # this process was paused while it compared them
    ],
)
def test_what_drift_or_a_slow_answer_explains_is_none(now):
    assert BEFORE.jump_to(now) == 0
