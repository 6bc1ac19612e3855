"""How long an answer of Octopus can make us hold back, whatever it says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from app.octopus import answers
from app.octopus.errors import OctopusBusy

#: What reading the clock may take.
NEAR = 10.0


def header_of(said: str | timedelta) -> str:
    """A header as it is, or the date that is so far from now."""
    return said if isinstance(said, str) else format_datetime(datetime.now(UTC) + said, usegmt=True)


def an_answer(status: int, **headers: str) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer.reason, answer.url = status, "because", "https://octopus.example.com/api/tasks"
    answer.request = requests.Request("GET", answer.url).prepare()
    answer.headers = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    return answer


def asked_by(answer: requests.Response, *, urgent: bool) -> float | None:
    with pytest.raises(OctopusBusy) as busy:
        answers.check(answer, "GET /api/tasks", urgent=urgent)
    assert isinstance(busy.value, OctopusBusy)
    return busy.value.retry_after


# What stands in Retry-After, and the seconds for those who are urgent and for the others.
RETRY_AFTER = [
    ("0", 0, 0), ("7", 7, 7), (" 18 ", 18, 18), ("60", 60, 60), ("61", 60, 61), ("600", 60, 600), ("601", 60, 600),
    ("172800", 60, 600), ("99999999999999999999", 60, 600), ("9" * 5000, 60, 600), ("0" * 5000, 0, 0),
    (timedelta(seconds=-30), 0, 0), (timedelta(days=-400), 0, 0), (timedelta(minutes=5), 60, 300),
    (timedelta(days=2), 60, 600),
    (timedelta(days=40_000), 60, 600), ("Fri, 31 Dec 9999 23:59:59 GMT", 60, 600),
    ("", None, None), ("soon", None, None), ("-5", None, None), ("1.5", None, None), ("1e9", None, None),
    ("0x10", None, None), ("٣", None, None), ("Infinity", None, None), ("NaN", None, None), ("2 days", None, None),
    ("Fri, 32 Dec 2026 25:61:61 GMT", None, None), ("2026-12-31T00:00:00Z", None, None), ("5, 10", None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "urgent", "other"), RETRY_AFTER, ids=[str(case[0])[:24] or "nothing" for case in RETRY_AFTER]
)
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_pause_that_an_error_asks_for_is_bounded(status, said, urgent, other):
    answer = an_answer(status, Retry_After=header_of(said))

    for is_urgent, expected in ((True, urgent), (False, other)):
        found = asked_by(answer, urgent=is_urgent)
        assert found == (None if expected is None else pytest.approx(expected, abs=NEAR))
        assert found is None or 0 <= found <= (60 if is_urgent else 600)


@pytest.mark.parametrize(
    ("said", "urgent", "other"), RETRY_AFTER, ids=[str(case[0])[:24] or "nothing" for case in RETRY_AFTER]
)
def test_pause_for_everybody_is_bounded(said, urgent, other):
    header = header_of(said)

    assert answers.pause_of(an_answer(503, Retry_After=header)) == pytest.approx(other or 0, abs=NEAR)
    assert answers.pause_of(an_answer(500, Retry_After=header)) == 0


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("r=0;t=18", 18), ("r=0;t=0", 0), ("r=0;t=172800", 600), ("r=1;t=172800", 0), ("r=-1;t=9", 0), ("r=0;t=-9", 0),
     ("", 0), ("nonsense", 0)],
)  # fmt: skip
def test_pause_of_a_spent_rate_limit_is_bounded(limit, expected):
    assert answers.pause_of(an_answer(200, Octopus_RateLimit=limit)) == expected


@given(
    header=st.text(st.characters(codec="latin-1"), max_size=40) | st.from_regex(r"[A-Za-z]{3}, \d+ [A-Za-z]+ -?\d+ .*")
)
@example(header="Fri, 1 Jan 1 00:00:00 +9999")
@example(header="Fri, 31 Dec 9999 23:59:59 -9999")
@example(header="Fri, 31 Dec 99999 23:59:59 GMT")
@example(header="1 1 1 1 1")
def test_no_header_is_an_error_of_ours(header):
    for urgent, longest in ((True, 60), (False, 600)):
        asked = asked_by(an_answer(503, Retry_After=header), urgent=urgent)
        assert asked is None or 0 <= asked <= longest
    assert 0 <= answers.pause_of(an_answer(429, Retry_After=header)) <= 600
