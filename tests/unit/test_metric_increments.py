"""What records add to the metrics."""

import pytest

from app.domain.events import WEBHOOK_MS
from app.domain.records import Record
from app.followers.metrics import HANDOFF, REPAIRS, MetricIncrements
from app.web.pages.health import is_repair

RELEASED_MS = 1_763_838_000_000


def record(kind, at_ms, number=0, **detail):
    return Record(f"{at_ms}-{number}", at_ms, kind, "ServerTasks-1", 1, ("Machines-7",), detail=detail)


def hand_off(joined_ms, granted_ms):
    """What a grant adds after a release at `RELEASED_MS`."""
    derived = MetricIncrements({})
    derived.add(record("released", RELEASED_MS, held_ms=5))
    derived.increments.clear()
    derived.add(record("granted", granted_ms, 1, waited_ms=granted_ms - joined_ms))
    return {name: number for name, number in derived.increments.items() if HANDOFF.name in str(name)}


@pytest.mark.parametrize("joined_ms", [RELEASED_MS - 60_000, RELEASED_MS])
def test_wait_of_one_who_joined_by_the_millisecond_of_the_release_counts(joined_ms):
    """Its join, the release and its grant can all be of one millisecond."""
    assert hand_off(joined_ms, RELEASED_MS) == dict(HANDOFF.observe(0))


def test_run_that_came_after_the_release_has_not_waited_for_it():
    assert hand_off(RELEASED_MS + 1, RELEASED_MS + 1) == {}


@pytest.mark.parametrize("via", ["catch_up", "reconcile"])
@pytest.mark.parametrize("late_ms", [0, WEBHOOK_MS, WEBHOOK_MS + 1])
def test_event_whose_webhook_may_be_under_way_is_no_repair(via, late_ms):
    derived, event = MetricIncrements({}), record("event", RELEASED_MS, via=via, late_ms=late_ms)

    derived.add(event)

    repairs = {name: n for name, n in derived.increments.items() if REPAIRS.name in str(name)}
    assert repairs == (dict(REPAIRS.count(via)) if late_ms > WEBHOOK_MS else {})
    assert is_repair(event) is (late_ms > WEBHOOK_MS)
