"""A small soak; the large one is ``make bench ARGS=soak``."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.coordination.embedded import EmbeddedServer
from tests.simulator.soak import polling_loop, server, soak


@pytest.mark.timeout(400)
def test_nothing_is_lost_where_everything_goes_wrong(tmp_path: Path) -> None:
    redis = EmbeddedServer(tmp_path / "redis")
    try:
        with server(tmp_path, seed=11) as octopus:
            result = soak(octopus, redis.acquire(), "soak", tmp_path, deployments=60, seed=11)
    finally:
        redis.release()

    assert result.problems == [], "\n".join(result.lines())
    assert result.repairs["event caught up"] > 10


@pytest.mark.timeout(200)
def test_polling_loop_that_octowait_replaces_finishes_and_costs_more(tmp_path: Path) -> None:
    with server(tmp_path, seed=11) as octopus:
        result = polling_loop(octopus, deployments=25, seed=11)

    assert set(result.states) == {"Success"}
    assert result.calls_a_waited_minute >= 12
