"""The scenarios, each by the model and by octowait, step by step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.gate import Gate
from tests.chaos.scenarios import FILES, Scenario


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    made = Gate(tmp_path_factory.mktemp("scenarios"), ttl=3)
    yield made
    made.stop()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(gate: Gate, file: Path) -> None:
    told = json.loads(file.read_text())
    scenario = Scenario(gate, file.stem, FILES.index(file) + 1)

    scenario.run(told["steps"])
