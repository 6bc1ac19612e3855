"""What is read from Octopus before its webhook comes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.followers.notices import notice_of
from tests.e2e.repairs.helpers import records, works
from workers import catch_up


@pytest.mark.parametrize(("seconds", "is_lost"), [(0, False), (50, False), (56, True)])
def test_webhook_that_may_be_under_way_is_not_counted_as_lost(board, clock, octopus, do, seconds, is_lost):
    """Octopus takes up to 50 s to send it, and its clock may be 5 s off."""
    works(octopus, "Web")
    clock.advance(timedelta(seconds=seconds))

    do(catch_up)

    [caught_up] = records(board, kind="caught_up")
    assert caught_up.detail["missed"] >= 1, "it counts all the same"
    assert (caught_up.detail["lost"] > 0) == is_lost
    assert (notice_of(caught_up) is not None) == is_lost
