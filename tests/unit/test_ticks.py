"""Who sleeps until a tick wakes with all others of that tick: not later than he wants to, and hardly earlier."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.coordination.ticks import TICK_SECONDS, Ticks, last_tick, tick_of
from app.web.polls.crowd import LONG_SECONDS, MANY, PERIOD_SECONDS, Crowd, end_of_poll, next_period

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


@pytest.mark.parametrize("per_period", [1, MANY - 1, MANY, 100])
def test_those_are_a_crowd_of_whom_many_come_in_a_period(per_period):
    now = 1000.0
    crowd = Crowd(lambda: now)
    answers = []
    for _ in range(5):
        answers += [crowd.is_large() for _ in range(per_period)]
        now += PERIOD_SECONDS

    alone = MANY - 1 if per_period >= MANY else 5 * per_period
    assert answers == [False] * alone + [True] * (5 * per_period - alone)
    now += 2 * PERIOD_SECONDS
    assert crowd.is_large() is False


@given(SECONDS, st.floats(min_value=0, max_value=55))
def test_a_poll_ends_in_time_with_others_and_never_late(now, seconds):
    end = end_of_poll(now, seconds)
    early = PERIOD_SECONDS if seconds > LONG_SECONDS else TICK_SECONDS if seconds > 1 else 0

    assert now + seconds - early - 1e-6 <= end <= now + seconds + TICK_SECONDS / 100


@given(SECONDS)
def test_long_polls_end_when_those_of_a_crowd_begin(now):
    begin = next_period(now)

    assert now < begin <= now + PERIOD_SECONDS + 1e-6
    assert tick_of(begin) == tick_of(end_of_poll(begin, 30 + PERIOD_SECONDS / 2) - 30)
