"""Records of a Redis whose clock was shifted, and of one that came back older."""

from __future__ import annotations

from tests.chaos.records import Record, inherited, true_times

#: When the clock was shifted, milliseconds.
SHIFTED = 100_000


def times(shift_ms, *at_ms):
    """As the records of these times are read, with how much later each may have been written."""
    found = true_times([Record(at, "event") for at in at_ms], [(SHIFTED, shift_ms)])
    return [(record.at_ms, record.late_ms) for record in found]


def test_times_after_a_clock_jumped_ahead_are_those_of_this_machine():
    assert times(60_000, 90_000, 99_999, 160_001, 170_000) == [(90_000, 0), (99_999, 0), (100_001, 0), (110_000, 0)]


def test_times_are_unsure_until_a_clock_that_jumped_back_has_come_by_again():
    read = times(-60_000, 90_000, 99_990, 99_990, 100_001)

    # The second of the two that have one time may have been written at any time until the clock came by.
    assert read == [(90_000, 0), (99_990, 60_000), (99_990, 60_000), (160_001, 0)]


def test_records_that_an_older_redis_came_back_with_are_inherited():
    before = [Record(1, "joined", stamp="1-0"), Record(2, "granted", stamp="2-0"), Record(3, "released", stamp="3-0")]

    assert inherited([*before[:2], Record(9, "closed", stamp="9-0")], before) == 2
    assert inherited(before[:1], before) == 1
    assert inherited([Record(9, "closed", stamp="9-0")], before) == 0
