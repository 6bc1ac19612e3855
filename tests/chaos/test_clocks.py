"""A clock of Redis that jumps, under real processes: nothing ends before its time, and nobody dead stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.expected import LATE, ONE, TWO, a_gate
from tests.chaos.gate import happens
from tests.chaos.store import NoStore, Store, a_clock


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    try:
        store = Store("valkey", tmp_path, clock=a_clock(tmp_path))
    except NoStore as error:
        pytest.skip(str(error))
    store.start()
    yield store
    store.kill()


def test_wait_is_not_timed_out_before_its_time(store, tmp_path):
    with a_gate(tmp_path, ttl=30, store=store) as gate:
        gate.put(ONE, "Machines-1")
        gate.put(TWO, "Machines-1", timeout_seconds=300)

        store.shift(600)

        assert happens(lambda: "clock_jumped" in [r["kind"] for r in gate.timeline()])
        assert gate.state(TWO) == "waiting" and gate.get(TWO) == "waiting"


def test_dead_waiter_goes_and_no_duration_is_negative(store, tmp_path):
    with a_gate(tmp_path, ttl=2, store=store) as gate:
        gate.put(ONE, "Machines-1")
        gate.put(TWO, "Machines-1")

        store.shift(-600)

        assert happens(lambda: gate.state(TWO) == "expired", 3 * LATE)
        gate.delete(ONE)
        details = [record["detail"] for record in gate.facts(ONE)["timeline"]]
        held = [detail["held_ms"] for detail in details if "held_ms" in detail]
        assert held and min(held) >= 0
