"""Who has an answer rests until those have theirs who are to get one now, and not longer than to the next period."""

import gevent
import pytest

from app.coordination.ticks import Ticks
from app.web.polls.quiet import Quiet


@pytest.fixture
def ticks():
    return Ticks(gevent.spawn, gevent.sleep)


@pytest.fixture
def quiet(ticks):
    return Quiet(ticks)


def turns(count=5):
    for _ in range(count):
        gevent.sleep(0)


def test_where_it_is_quiet_nobody_rests(quiet, ticks):
    quiet.rest()

    assert len(ticks) == 0


def test_all_rest_until_the_last_answer_is_given(quiet):
    with quiet.disturbed():
        with quiet.disturbed():
            resting = [gevent.spawn(quiet.rest) for _ in range(3)]
            turns()
        turns()
        assert not any(each.dead for each in resting)
    turns()

    assert all(each.dead for each in resting)


def test_who_rests_goes_on_at_the_next_period(quiet):
    with quiet.disturbed():
        gevent.spawn(quiet.rest).get(timeout=5)


def test_who_is_killed_while_resting_holds_up_nobody(quiet):
    with quiet.disturbed():
        killed, other = gevent.spawn(quiet.rest), gevent.spawn(quiet.rest)
        turns()
        killed.kill()

    other.get(timeout=5)


def test_an_answer_that_fails_leaves_it_quiet(quiet):
    with pytest.raises(ValueError, match="broken"), quiet.disturbed():
        raise ValueError("broken")

    quiet.rest()
