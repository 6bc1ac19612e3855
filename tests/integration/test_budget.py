"""The request budget on a real Redis."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.coordination.budget import WINDOW_MS, Budget
from app.store.connection import connect
from app.store.errors import StoreUnreachable
from app.store.keys import Keys


@pytest.fixture
def client(redis_url):
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def make_budget(client, namespace):
    return lambda per_minute=4, name=namespace: Budget(client, Keys(name), per_minute)


def test_budget_is_spent_and_comes_back_after_its_window(make_budget):
    budget = make_budget(3)

    assert [budget.take(urgent=True) for _ in range(3)] == [0, 0, 0]
    wait = budget.take(urgent=True)
    assert 60 < wait <= WINDOW_MS / 1000

    budget.offset_ms += int(wait * 1000) + 1
    assert budget.take(urgent=True) == 0


def test_budget_is_one_for_all_processes(redis_url, namespace, client):
    granted = []

    def spend():
        own = connect(redis_url)
        budget = Budget(own, Keys(namespace), 20)
        granted.extend(budget.take(urgent=True) == 0 for _ in range(15))
        own.close()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(granted) == 20
    assert Budget(client, Keys(namespace), 20).calls() == {"other": 20}


def test_namespaces_spend_their_own(make_budget):
    assert make_budget(1).take(urgent=True) == 0
    assert make_budget(1).take(urgent=True) > 0
    assert make_budget(1, "another-" + "x" * 8).take(urgent=True) == 0


def test_quarter_is_left_to_those_who_are_urgent(make_budget):
    budget = make_budget(8)

    assert sum(budget.take(urgent=False) == 0 for _ in range(20)) == 6
    assert sum(budget.take(urgent=True) == 0 for _ in range(20)) == 2


def test_smallest_budget_still_lets_everybody_through(make_budget):
    assert make_budget(1).take(urgent=False) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 30_000), st.booleans()), min_size=1, max_size=60), salt=st.uuids())
def test_no_minute_ever_sees_more_than_the_budget(make_budget, steps, salt):
    budget = make_budget(5, f"h{salt.hex[:16]}")
    permitted = []

    for pause_ms, urgent in steps:
        budget.offset_ms += pause_ms
        if budget.take(urgent) == 0:
            permitted.append((budget.offset_ms, urgent))

    times = [at for at, _ in permitted]
    for first in times:
        # Real time passes too, but far less than the window is longer than the minute.
        assert sum(first <= at < first + 60_000 for at in times) <= 5


def test_wait_that_was_told_is_enough(make_budget):
    budget = make_budget(2)
    for _ in range(6):
        wait = budget.take(urgent=True)
        if wait:
            budget.offset_ms += int(wait * 1000)
            assert budget.take(urgent=True) == 0


def test_pause_holds_everybody_back_until_it_ends(make_budget):
    budget, other = make_budget(9), make_budget(9)

    budget.pause(18)
    budget.pause(2)

    assert 15 < other.take(urgent=True) <= 18
    other.offset_ms += 18_001
    assert other.take(urgent=True) == 0


@pytest.mark.parametrize(
    ("asked", "urgent", "other"), [(18, 18, 18), (60, 60, 60), (300, 60, 300), (172_800, 60, 600), (1e12, 60, 600)]
)
def test_endless_pause_is_cut_and_shorter_for_what_somebody_waits_on(make_budget, asked, urgent, other):
    budget = make_budget()
    budget.pause(asked)

    assert urgent - 10 < budget.take(urgent=True) <= urgent
    assert other - 10 < budget.take(urgent=False) <= other
    budget.offset_ms += 60_001
    assert budget.take(urgent=True) == 0
    budget.offset_ms += 540_000
    assert budget.take(urgent=False) == 0


def test_longer_pause_stays_for_both_kinds_of_callers(make_budget):
    budget = make_budget()
    budget.pause(300)
    budget.offset_ms += 30_000
    budget.pause(5)

    assert 25 < budget.take(urgent=True) <= 30
    assert 265 < budget.take(urgent=False) <= 270
    assert budget.left() == 0


def test_pause_of_nothing_is_none(make_budget):
    budget = make_budget()
    budget.pause(0)

    assert budget.take() == 0


def test_clock_that_goes_back_lets_no_more_through_and_nobody_wait_longer(make_budget):
    budget = make_budget(2)
    assert [budget.take(urgent=True) for _ in range(2)] == [0, 0]

    budget.offset_ms -= 20_000
    assert 60 < budget.take(urgent=True) <= WINDOW_MS / 1000


def test_clock_that_goes_back_by_a_day_blocks_nobody(make_budget):
    budget = make_budget(2)
    budget.pause(5)
    budget.offset_ms += 6_000
    assert [budget.take(urgent=True) for _ in range(2)] == [0, 0]

    budget.offset_ms -= timedelta(days=1) // timedelta(milliseconds=1)
    assert budget.take(urgent=True) == 0


def test_calls_are_counted_by_kind(make_budget):
    budget = make_budget(4)
    for kind in ("tasks", "tasks", "events", "machines", "tasks"):
        budget.take(urgent=True, kind=kind)

    assert budget.calls() == {"tasks": 2, "events": 1, "machines": 1}


def test_absent_redis_is_an_error_and_no_permit():
    with pytest.raises(StoreUnreachable):
        Budget(connect("redis://127.0.0.1:1"), Keys("default"), 4).take()


def test_nothing_is_kept_for_ever_but_the_counts(make_budget, client, namespace):
    budget = make_budget()
    budget.take()
    budget.pause(3)

    permanent = [key for key in client.keys(f"octowait:{{{namespace}}}:*") if client.pttl(key) == -1]
    assert permanent == [Keys(namespace).named("octopus-calls").encode()]
