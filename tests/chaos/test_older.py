"""A Redis that comes back older is noticed before it grants, whatever made it so."""

from __future__ import annotations

import pytest

from tests.chaos import older


@pytest.mark.timeout(180)
@pytest.mark.parametrize("act", [older.older_file, older.told_by_a_closed_board, older.lost_behind_a_proxy])
def test_nothing_is_granted_on_what_is_older(act, tmp_path):
    assert list(act(tmp_path)) == []
