"""The table: every condition in every language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import CONDITIONS, LANGUAGES, Condition
from conditions.world import World
from not_yet import NOT_YET
from powershell import needs_powershell

from tests.steps.powershell_host import PowerShellHost


@pytest.fixture
def world(language: str, tmp_path: Path, powershell_host: PowerShellHost) -> Iterator[World]:
    made = World(language, tmp_path, host=powershell_host if language == "powershell" else None)
    yield made
    made.close()


def _cells() -> list[object]:
    cells = []
    for condition in CONDITIONS:
        for language in condition.languages:
            late = condition.name in NOT_YET[language]
            # What hangs until its time-out is not waited for in every run.
            marks = [pytest.mark.xfail(reason="not yet", run=False)] if late else []
            cells.append(pytest.param(condition, language, id=f"{condition.name}-{language}", marks=marks))
    return cells


@pytest.fixture
def language(request: pytest.FixtureRequest) -> str:
    if request.param == "powershell":
        needs_powershell()
    return str(request.param)


@pytest.mark.parametrize(("condition", "language"), _cells(), indirect=["language"])
def test_condition(condition: Condition, world: World) -> None:
    condition.act(world)


def test_every_condition_has_one_name_and_a_rule() -> None:
    names = [condition.name for condition in CONDITIONS]

    assert len(set(names)) == len(names)
    assert all(condition.rule for condition in CONDITIONS)


def test_what_is_not_passed_yet_is_in_the_table() -> None:
    table = {(language, condition.name) for condition in CONDITIONS for language in condition.languages}

    assert set(NOT_YET) == set(LANGUAGES)
    assert {(language, name) for language, names in NOT_YET.items() for name in names} <= table
