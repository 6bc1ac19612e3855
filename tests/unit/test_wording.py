"""Wording: what there is a table for has all of its words, and no two places say the same in their own."""

import re

import pytest

from app.domain import wording
from app.domain.analysis.fronts import Reason, Stretch
from app.domain.analysis.replay import Wait
from app.domain.run import State
from app.domain.status import WAIT_STATES
from app.web.pages.run import waited_for
from tests.conftest import ROOT

STANDING = {State.WAITING, State.GRANTED}


@pytest.mark.parametrize("state", sorted([*(set(State) - STANDING)]))
def test_state_that_stands_nowhere_has_words(state):
    assert wording.STATES[state]


def test_each_cause_that_ends_something_has_words_in_a_table_too():
    assert set(wording.ENDS) <= set(wording.CAUSES)


def test_run_is_told_that_it_joins_again_after_what_it_was():
    assert set(wording.REJOINED) <= set(wording.BEFORE) and set(wording.BEFORE) & set(WAIT_STATES)


@pytest.mark.parametrize("reason", list(Reason))
def test_blocker_is_a_clause_with_one_name_for_those_that_are_no_runs(reason):
    task = "ServerTasks-1" if reason in (Reason.HOLDER, Reason.AHEAD) else None
    part = Stretch(0, 1, reason, "Machines-1", task, note="disk, by ann")

    assert not wording.blocker(part, wording.Names()).endswith(".")
    assert (reason in wording.BLOCKERS) == (task is None)


@pytest.mark.parametrize(
    ("kind", "is_paused", "verb"),
    [
        ("lease", False, "has held"), ("lease", True, "is paused on"),
        ("provisional", False, "has started and is presumed to use"), ("reservation", False, "has held"),
    ],
)  # fmt: skip
def test_holder_has_a_verb(kind, is_paused, verb):
    assert wording.holding(kind, is_paused=is_paused) == verb


@pytest.mark.parametrize("reason", list(wording.BLOCKERS))
def test_run_page_says_for_whom_a_wait_was_that_no_run_caused(reason):
    part = Stretch(1000, 2000, reason, "Machines-1", note="disk, by ann")
    wait = Wait("ServerTasks-2", 1, ("Machines-1",), None, None, 1000, 2000, "granted", None, False, (part,))

    assert waited_for([wait], 1000, wording.Names()) == {reason: ""}


def test_unknown_kind_is_called_by_its_name():
    assert wording.kind("moved_on") == "Moved on"


def test_ends_and_blockers_are_worded_here_only():
    sentences = [*wording.ENDS.values(), *wording.STATES.values(), *wording.REJOINED.values()]
    long = [sentence for sentence in sentences if len(sentence.split()) > 4]
    assert len(long) > 10
    for path in [*(ROOT / "app").rglob("*.py"), *(ROOT / "app").rglob("*.html")]:
        if path.name != "wording.py":
            text = re.sub(r"\s+", " ", re.sub(r"#.*", "", path.read_text()))
            assert [sentence for sentence in long if sentence in text] == [], path


@pytest.mark.parametrize("text", ["41000", "web-01", "Deployments-7", "ServerTasks-", "ServerTasks-7x"])
def test_what_is_no_id_of_a_task_is_told_what_was_expected(text):
    assert wording.never_named(text).endswith("expected the id of a server task, such as ServerTasks-4711")
    assert "expected" not in wording.never_named("servertasks-7")
