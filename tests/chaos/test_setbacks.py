"""A Redis that goes back in each of five ways: nothing is granted twice, and no token comes again."""

from __future__ import annotations

import pytest

from tests.chaos import setbacks
from tests.chaos.store import STORES, NoStore


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("act", setbacks.SETBACKS)
def test_nothing_is_granted_twice(act, kind, tmp_path):
    try:
        trial = act(kind, tmp_path)
    except NoStore as error:
        pytest.skip(str(error))

    assert trial.wrong == []
    assert len(trial.tokens) == 3 and len(set(trial.tokens)) == 3
    assert 0 < trial.closed_s < trial.opened_s


def test_setback_that_nobody_notices_is_found(monkeypatch, tmp_path):
    """The judge of the trials."""
    monkeypatch.setattr("app.store.witness.Witness.testimony", lambda self: "ab")
    monkeypatch.setattr("app.store.greeting._run_id", lambda info: "")

    assert "was granted while ServerTasks-2 works" in setbacks.restored_backup("valkey", tmp_path).wrong[0]
