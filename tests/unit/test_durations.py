import pytest

from app.domain.durations import format_duration


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (999, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (3_599_999, "59 min"),
        (3_600_000, "1 h"),
        (7_500_000, "2 h 5 min"),
        (86_399_999, "23 h 59 min"),
        (86_400_000, "1 d"),
        (273_600_000, "3 d 4 h"),
    ],
)
def test_durations_in_words(milliseconds, expected):
    assert format_duration(milliseconds) == expected
