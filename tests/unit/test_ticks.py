"""Who sleeps until a tick wakes with all others of that tick: not later than he wants to, and hardly earlier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.coordination.ticks import TICK_SECONDS, Ticks, last_tick, tick_of
from app.web.polls.crowd import MANY, Crowd

SECONDS = st.floats(min_value=0, max_value=1e7)


class Beside:
    """What a `Ticks` runs beside its caller, on a clock that goes on while it sleeps."""

    def __init__(self, now):
        self.now, self.runs = now, []
        self.ticks = Ticks(self.runs.append, self._sleep, lambda: self.now)

    def _sleep(self, seconds):
        assert 0 < seconds < 1.01 * TICK_SECONDS
        self.now += seconds

    def run(self):
        """Until nobody sleeps any more."""
        self.runs.pop()()
        assert self.runs == [] and len(self.ticks) == 0


@given(SECONDS)
def test_a_tick_is_never_later_than_its_moment_and_hardly_earlier(moment):
    assert moment - TICK_SECONDS < last_tick(moment) <= moment + TICK_SECONDS / 100
    assert tick_of(last_tick(moment)) == tick_of(moment)


@given(SECONDS, st.lists(st.floats(min_value=-5, max_value=3), min_size=1))
def test_everybody_is_woken_at_his_tick_and_nobody_before(begin, waits):
    beside, woken = Beside(begin), {}
    for number, wait in enumerate(waits):
        beside.ticks.add(lambda number=number: woken.setdefault(number, tick_of(beside.now)), begin + wait)
    assert len(beside.ticks) == len(waits) and len(beside.runs) == 1
    beside.run()

    assert woken == {
        number: max(tick_of(begin + wait), tick_of(begin) + 1) for number, wait in enumerate(waits)
    }  # fmt: skip


def test_who_is_removed_is_not_woken_and_an_end_is_no_end_for_ever():
    beside, woken = Beside(1000.0), []
    gone, stays = (lambda: woken.append("gone")), (lambda: woken.append("stays"))
    beside.ticks.remove(gone, beside.ticks.add(gone, 1000.15))
    beside.ticks.add(stays, 1000.15)
    beside.run()
    assert woken == ["stays"]

    beside.ticks.remove(stays, tick_of(1000.15))  # It has been woken already.
    beside.ticks.add(stays, 0)
    beside.run()
    assert woken == ["stays", "stays"]


@pytest.mark.parametrize("per_tick", [1, MANY - 1, MANY, 100])
def test_those_are_a_crowd_of_whom_many_come_in_a_tick(per_tick):
    now = 1000.0
    crowd = Crowd(lambda: now)
    answers = []
    for _ in range(5):
        answers += [crowd.is_large() for _ in range(per_tick)]
        now += TICK_SECONDS

    alone = MANY - 1 if per_tick >= MANY else 5 * per_tick
    assert answers == [False] * alone + [True] * (5 * per_tick - alone)
    now += 2 * TICK_SECONDS
    assert crowd.is_large() is False
