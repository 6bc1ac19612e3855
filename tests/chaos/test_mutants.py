"""Every mutant can be made of the code as it is."""

from __future__ import annotations

import pytest

from tests.chaos.evidence import CHECKS
from tests.chaos.mutants import MUTANTS
from tests.chaos.processes import ROOT
from tests.chaos.profiles import PROFILES


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_applies(mutant):
    for edit in mutant.edits:
        assert edit.old != edit.new
        edit.find(ROOT)

    assert mutant.profile in PROFILES
    assert set(mutant.caught_by) <= CHECKS.keys()


def test_mutants_are_many_and_different():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 24
