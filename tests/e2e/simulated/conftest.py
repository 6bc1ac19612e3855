"""The simulated Octopus Server does what the real one does: what octowait is tested with is itself tested here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.simulated.helpers import Make, Receiver
from tests.simulator.control import SimulatedOctopus


@pytest.fixture
def make_octopus(tmp_path: Path) -> Iterator[Make]:
    """Servers that look at their queue at every change: ``make_octopus(task_cap=2)``."""
    made: list[SimulatedOctopus] = []

    def make(**options: Any) -> SimulatedOctopus:
        made.append(SimulatedOctopus.start(tmp_path, **{"speed": 20, "look_seconds": 0, **options}))
        made[-1].machine("web-01")
        return made[-1]

    yield make
    for octopus in made:
        octopus.stop()


@pytest.fixture
def octopus(make_octopus: Make) -> SimulatedOctopus:
    return make_octopus()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.answers.set()
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """A script that starts a child, notes both process ids, and never ends."""
    script = tmp_path / "sleeper.sh"
    script.write_text(f"sleep 1000 & echo $! $$ > {tmp_path}/pids.new; mv {tmp_path}/pids.new {tmp_path}/pids; wait\n")
    return tmp_path / "sleeper"
