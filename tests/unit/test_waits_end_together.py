"""Waits of many requests that end for their time alone end at the same moments, so that one script looks at all."""

import pytest

from app.web.long_poll import TOGETHER_SECONDS, _together


def test_waits_that_began_one_after_the_other_end_at_few_moments():
    begins = [1000 + number / 1000 for number in range(1000)]

    ends = {_together(begin + 50, 50) for begin in begins}

    assert len(ends) <= 1 / TOGETHER_SECONDS + 1


@pytest.mark.parametrize("seconds", [1.5, 25, 50, 55])
@pytest.mark.parametrize("begin", [0.0, 1000.05, 123456.789])
def test_no_wait_is_longer_than_its_request_or_much_shorter(begin, seconds):
    end = begin + seconds

    assert end - TOGETHER_SECONDS < _together(end, seconds) <= end


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.0])
def test_short_waits_last_as_long_as_they_may(seconds):
    assert _together(1000.05 + seconds, seconds) == 1000.05 + seconds
