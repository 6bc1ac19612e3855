"""When a run of the benches fails: a target that was met when it was last written is missed by a fifth."""

import math

import pytest

from tests.bench.record import read_record, regressions, write_record
from tests.bench.report import Check, Report
from tests.bench.targets import TARGETS


def a_check(value, limit=10, *, at_least=False, what="CPU"):
    return Check("P15", what, value, limit, at_least, "%", "63–74 %")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "measurements.md"


def test_what_was_measured_is_read_again(file):
    write_record([a_check(8.3), a_check(12, what="memory")], "2026-11-26 bc671be", file)

    rows = read_record(file).values()

    assert [row.cells() for row in rows] == [
        ("P15", "CPU", "63–74 %", "8.3 %", "≤ 10 %", "met", "2026-11-26 bc671be"),
        ("P15", "memory", "63–74 %", "12 %", "≤ 10 %", "NOT met", "2026-11-26 bc671be"),
    ]


def test_run_of_some_targets_leaves_the_others_as_they_are(file):
    write_record([a_check(8), a_check(7, what="memory")], "yesterday", file)

    write_record([a_check(9, what="memory")], "today", file)

    assert {row.what: (row.measured, row.by) for row in read_record(file).values()} == {
        "CPU": ("8 %", "yesterday"), "memory": ("9 %", "today"),
    }  # fmt: skip


def test_targets_stand_in_the_order_of_their_numbers(file):
    checks = [Check(number, "what", 1, 2) for number in ("soak", "P10", "P2", "scripts", "P1")]

    write_record(checks, "today", file)

    assert [row.target for row in read_record(file).values()] == ["P1", "P2", "P10", "scripts", "soak"]


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "fails"),
    [
        (10, 10, False, False),
        (11.9, 10, False, False),
        (12, 10, False, True),
        (0.75, 0.75, True, False),
        (0.61, 0.75, True, False),
        (0.6, 0.75, True, True),
        (0, 0, False, False),
        (1, 0, False, True),
        (math.nan, 10, False, True),
        (math.nan, 10, True, True),
    ],
)
def test_target_that_was_met_fails_when_it_is_missed_by_a_fifth(file, value, limit, at_least, fails):
    write_record([a_check(limit, limit, at_least=at_least)], "yesterday", file)

    assert bool(regressions([a_check(value, limit, at_least=at_least)], read_record(file))) == fails


def test_failure_says_what_is_missed_and_what_it_was(file):
    write_record([a_check(8)], "2026-11-26 bc671be", file)

    assert regressions([a_check(13)], read_record(file)) == [
        "P15 CPU: 13 %, bound ≤ 10 %, was 8 % (2026-11-26 bc671be)"
    ]


def test_target_that_was_not_met_does_not_fail(file):
    write_record([a_check(40)], "yesterday", file)

    assert regressions([a_check(50), a_check(50, what="never measured")], read_record(file)) == []


def test_without_a_record_nothing_fails(file):
    assert regressions([a_check(50)], read_record(file)) == []


def test_bound_of_a_target_comes_from_the_table():
    report = Report(quick=False)

    report.measured("P2.p99", 2.5, blocked=5000)

    assert report.checks == [Check("P2", "release → blocked GET, p99 ÷ python-redis-lock, 5,000 blocked", 2.5, 3)]
    with pytest.raises(KeyError):
        report.measured("P2.p99", 2.5, waiters=5000)


def test_no_two_targets_have_the_same_name():
    assert len({(target.number, target.what) for target in TARGETS.values()}) == len(TARGETS)
