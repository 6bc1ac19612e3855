import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.durations import format_duration, format_ms


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (499, "0 s"),
        (999, "1 s"),
        (59_499, "59 s"),
        (59_999, "1 min"),
        (60_000, "1 min"),
        (89_000, "1 min"),
        (899_900, "15 min"),
        (900_000, "15 min"),
        (3_569_499, "59 min"),
        (3_599_999, "1 h"),
        (3_600_000, "1 h"),
        (7_500_000, "2 h 5 min"),
        (86_369_499, "23 h 59 min"),
        (86_399_999, "1 d"),
        (86_400_000, "1 d"),
        (273_600_000, "3 d 4 h"),
    ],
)
def test_durations_in_words(milliseconds, expected):
    assert format_duration(milliseconds) == expected


@settings(deadline=None)  # What else runs here is not the matter.
@given(ms=st.integers(0, 10**11))
def test_a_duration_in_words_is_the_nearest_that_these_units_have(ms):
    numbers = re.findall(r"(\d+) (s|min|h|d)", format_duration(ms))

    units = {"s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    said = sum(int(number) * units[unit] for number, unit in numbers)
    finest = 1000 if ms < 59_500 else 60_000 if ms < 86_370_000 else 3_600_000
    assert abs(said - ms) <= finest // 2 + 30_000 * (finest > 60_000) + 500 * (finest > 1000)


@pytest.mark.parametrize(("ms", "expected"), [(1_577_836_800_000, "2020-01-01 00:00:00 UTC"), (900_000, "15 min")])
def test_a_field_of_milliseconds_is_no_number_for_people(ms, expected):
    assert format_ms(ms) == expected
