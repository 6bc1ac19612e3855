"""A small soak at the same intervals and of the same kinds; the large one is ``make bench ARGS=soak``."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.store.embedded import EmbeddedServer
from tests.simulator.soak import polling_loop, server, soak


@pytest.mark.timeout(400)
def test_nothing_is_lost_where_everything_goes_wrong(tmp_path: Path) -> None:
    redis = EmbeddedServer(tmp_path / "redis")
    try:
        with server(tmp_path, seed=5) as octopus:
            result = soak(octopus, redis.acquire(), "soak", tmp_path, deployments=50, seed=5, longest_work=25)
    finally:
        redis.release()

    assert result.problems == [], "\n".join([*result.lines(), *result.problems])
    assert result.repairs["event caught up"] > 10


@pytest.mark.timeout(400)
def test_ledger_adds_up_to_what_octopus_saw(tmp_path: Path) -> None:
    """To five seconds a wait: a step's process has to start, to hear of its grant and to end, on two busy cores."""
    redis = EmbeddedServer(tmp_path / "redis")
    try:
        with server(tmp_path, seed=5) as octopus:
            result = soak(
                octopus, redis.acquire(), "soak", tmp_path, deployments=40, seed=5, chaos=False, tolerance_ms=5_000,
                longest_work=30,
            )  # fmt: skip
    finally:
        redis.release()

    assert result.problems == [], "\n".join(result.lines())
    assert result.waited_minutes > 1


@pytest.mark.timeout(200)
def test_polling_loop_that_octowait_replaces_finishes_and_costs_more(tmp_path: Path) -> None:
    with server(tmp_path, seed=11) as octopus:
        result = polling_loop(octopus, deployments=25, seed=11)

    assert set(result.states) == {"Success"}
    assert result.calls_a_waited_minute >= 12
