import math
import random
from array import array
from hashlib import sha1
from statistics import fmean

import pytest

from app.domain.eta import (
    SCENARIOS,
    Eta,
    Kind,
    Prediction,
    accuracy,
    eta_of,
    likely,
    many,
    one_after_another,
    spread,
    the_longest,
)

KIND = Kind("Projects-1", "Environments-2", ("Machines-8", "Machines-7"))


def history(**levels):
    kept = {name.replace("_", ":"): durations for name, durations in levels.items()}
    return lambda key: kept.get(key.split(":")[0], [])


def test_levels_are_the_narrowest_first_and_know_no_letter_case():
    levels = KIND.levels

    assert [level.split(":")[0] for level in levels] == [
        "machines", "environment", "project", "machine", "machine", "all",
    ]  # fmt: skip
    assert levels == Kind("PROJECTS-1", "environments-2", ("machines-7", "MACHINES-8")).levels
    assert levels[3:5] == ("machine:machines-7", "machine:machines-8")
    assert Kind(None, None, ("Machines-7",)).levels == ("machine:machines-7", "all")


@pytest.mark.parametrize(
    ("past", "elapsed_ms", "expected"),
    [
        ({"machines": [5, 5, 5], "all": [90, 90, 90]}, 0, 5),
        ({"machines": [5, 5], "project": [7, 7, 7], "all": [90]}, 0, 7),
        ({"machines": [5, 5], "all": [90]}, 0, 5),
        ({"machines": [5, 5, 5], "all": [90, 90, 90]}, 6, 84),
        ({"machines": [5, 5, 5], "all": [90]}, 6, 84),
        ({"machines": [5, 5, 5]}, 6, None),
        ({}, 0, None),
    ],
)
def test_narrowest_past_that_can_say_decides(past, elapsed_ms, expected):
    found = likely(KIND.levels, history(**past), elapsed_ms=elapsed_ms)

    assert found == (None if expected is None else array("d", [expected] * SCENARIOS))


def test_remaining_time_is_that_of_runs_that_took_longer():
    found = likely(["all"], history(all=[10, 20, 30, 40, 50]), elapsed_ms=25)

    assert min(found) == pytest.approx(5, abs=1)
    assert eta_of(found).p50 == pytest.approx(15, abs=1)
    # Of three, the longest is not nine in ten.
    assert 25 < eta_of(found).p90 < 45


@pytest.mark.parametrize(("size", "expected"), [(3, 0.83), (10, 0.9), (50, 0.9)])
def test_share_of_durations_that_is_below_p90_is_nine_in_ten(size, expected):
    chance = random.Random(4)

    def share():
        p90 = eta_of(spread([chance.expovariate(1 / 60_000) for _ in range(size)])).p90
        return 1 - math.exp(-p90 / 60_000)

    assert fmean(share() for _ in range(500)) == pytest.approx(expected, abs=0.02)


def test_sum_has_the_percentiles_that_drawing_at_random_finds():
    chance = random.Random(4)
    drawn = sorted(sum(chance.lognormvariate(11, 0.8) for _ in range(6)) for _ in range(20_000))

    found = [
        eta_of(one_after_another([spread([chance.lognormvariate(11, 0.8) for _ in range(50)]) for _ in range(6)]))
        for _ in range(40)
    ]

    assert fmean(eta.p50 for eta in found) == pytest.approx(drawn[10_000], rel=0.04)
    assert fmean(eta.p90 for eta in found) == pytest.approx(drawn[18_000], rel=0.06)


def test_many_is_near_the_sum_of_as_many():
    chance = random.Random(5)
    sample = [chance.uniform(10_000, 50_000) for _ in range(50)]
    mean = sum(sample) / 50
    deviation = (sum((value - mean) ** 2 for value in sample) / 50) ** 0.5

    one, other = eta_of(many(mean, deviation, 30)), eta_of(one_after_another([spread(sample)] * 30))

    assert one.p50 == pytest.approx(other.p50, rel=0.03)
    assert one.p90 == pytest.approx(other.p90, rel=0.05)


def test_same_past_gives_same_answer_and_lines_at_once_the_slower():
    slow, fast = spread([100, 200, 300]), spread([1, 2, 3])

    assert one_after_another([slow, fast, slow]) == one_after_another([slow, fast, slow])
    assert the_longest([slow, fast]) == slow


def test_eta_in_words():
    assert Eta(180_000, 480_000).message == "Expected in about 3 min, in nine of ten cases in at most 8 min."
    assert Eta(0, 0).message == "Expected to start at once."


def test_accuracy_counts_what_came_true():
    counts = {}
    for waited_ms in (50, 100, 150, 300):
        for name, count in Prediction.parsed(b"100 200").judged(waited_ms).items():
            counts[name] = counts.get(name, 0) + count

    found = accuracy({**counts, "without_eta": 3})

    assert (found["waits"], found["without_eta"]) == (4, 3)
    assert (found["share_within_p50"], found["share_within_p90"]) == (0.5, 0.75)
    assert found["mean_error_ms"] == 75
    assert accuracy({})["share_within_p50"] is None


def test_the_levels_of_a_wide_run_are_found_once(monkeypatch):
    digests = []
    monkeypatch.setattr("app.domain.eta.sha1", lambda *args, **how: digests.append(args) or sha1(*args, **how))
    wide = Kind("Projects-1", "Environments-2", tuple(f"Wide-{n}" for n in range(10_000)))

    assert [wide.levels for _ in range(50)][0] == wide.levels
    assert len(digests) == 1
