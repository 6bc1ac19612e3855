"""All that can happen to three runs breaks no rule of the model, and what is broken on purpose is found."""

from __future__ import annotations

import pytest

from tests.chaos import explore, model
from tests.chaos.accept import accept
from tests.chaos.explore import BOTH, SHORT, A, Case, Powers
from tests.chaos.model import Board, Run
from tests.chaos.records import Record


@pytest.mark.parametrize(("case", "powers"), SHORT, ids=lambda part: str(part))
def test_nothing_that_can_happen_breaks_a_rule(case, powers):
    found = explore.explore(case, powers)

    print(f"{case}: {found.states} states")
    assert (found.wrong, found.path) == ("", ())
    assert found.states > 1000


def test_an_older_redis_that_nobody_notices_lets_two_work_on_one_machine():
    found = explore.explore(Case((A, A)), Powers(rollback=True, witness=False))

    assert found.wrong == "clients 0 and 1 work on one machine"
    assert "back to the backup" in found.path


BROKEN = {
    "a busy machine counts as free": ("busy_with", lambda board, machine: []),
    "the last machine decides": ("may_start", lambda board, task: not board.busy_with(board.runs[task].machines[-1])),
    "a family is everybody": ("is_shared", lambda board, task, machine: bool(board.busy_with(machine))),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_rule_is_found(monkeypatch, name):
    method, broken = BROKEN[name]
    monkeypatch.setattr(Board, method, broken)

    assert explore.explore(Case((A, A, BOTH)), Powers()).wrong


def test_grant_that_counts_as_uncollected_while_it_works_is_found(monkeypatch):
    monkeypatch.setattr(model, "poll", lambda board, task: board)
    monkeypatch.setattr(model, "expire", lambda board, task, is_presumed: model.end(board, task))

    assert "works, and its machines count as free" in explore.explore(Case((A, A)), Powers()).wrong


def test_circle_is_refused():
    board = model.join(Board(), "parent", Run(("a",), family="f"))
    board = model.join(board, "other", Run(("a", "b")))
    board = model.join(board, "child", Run(("a", "b"), family="f"))

    assert {task: run.state for task, run in board.runs.items()} == {
        "parent": model.GRANTED, "other": model.WAITING, "child": model.PRESUMED,
    }  # fmt: skip


RECORDS = [
    Record(1, "opened", cause="rebuilt"),
    Record(2, "joined", "one", 1, ("a", "b")),
    Record(2, "granted", "one", 1, ("a", "b"), detail={"token": 1}),
    Record(3, "joined", "two", 1, ("a",)),
    Record(3, "joined", "three", 1, ("a",), detail={"priority": 1}),
    Record(4, "released", "one", 1, ("a", "b"), "step"),
    Record(4, "granted", "three", 1, ("a",), detail={"token": 2}),
    Record(5, "event", "one"),
]


def test_model_accepts_what_it_would_have_done():
    assert list(accept(RECORDS)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: r[:6] + r[7:], "three may start"),
        (lambda r: r[:5] + r[6:], "it may not start"),
        (lambda r: r[1:], "it may not start"),
        (lambda r: [*r[:6], Record(4, "granted", "two", 1, ("a",), detail={"token": 2})], "it may not start"),
        (lambda r: [*r[:6], Record(4, "granted", "three", 1, ("a",), detail={"token": 1})], "its token is not above 1"),
        (lambda r: [*r[:5], Record(4, "reserved", "", 0, ("a",)), *r[5:]], "it may not start"),
    ],
)
def test_model_does_not_accept(change, complaint):
    assert any(complaint in words for words in accept(change(RECORDS)))


def test_model_knows_the_family_of_a_parent_that_is_found_later():
    records = [
        Record(1, "opened"),
        Record(2, "joined", "child", 1, ("a",), detail={"family": 1, "on_behalf_of": "parent"}),
        Record(2, "granted", "child", 1, ("a",), detail={"token": 1, "family": 1}),
        Record(3, "observed", "parent", 1, ("a", "b")),
        Record(4, "joined", "second child", 1, ("b",), detail={"family": 1, "on_behalf_of": "parent"}),
        Record(4, "granted", "second child", 1, ("b",), detail={"token": 2, "family": 1}),
    ]

    assert list(accept(records)) == []


#: Two ends and the next start of a task, told late and applied as one.
AS_ONE = [
    *RECORDS,
    Record(6, "event", "three", detail={"event": "Events-1"}),
    Record(6, "released", "three", 1, ("a",), "event"),
    Record(6, "event", "three", detail={"event": "Events-3", "follows": "Events-1"}),
]

TWO_STARTS = Record(6, "granted", "two", 1, ("a",), detail={"token": 3})


@pytest.mark.parametrize(
    "last",
    [TWO_STARTS, Record(6, "presumed", "three", 2, ("a",), "last_run"),
     Record(6, "observed", "three", 2, ("a",), "resolved")],
)  # fmt: skip
def test_model_grants_behind_all_events_of_one_change(last):
    assert list(accept([*AS_ONE, last, Record(7, "event", "one", detail={"event": "Events-4"})])) == []


@pytest.mark.parametrize(
    "records",
    [
        # Nobody is granted behind the change, or before the event of another one.
        [*AS_ONE, Record(7, "event", "one", detail={"event": "Events-4"})],
        [*AS_ONE, Record(7, "event", "three", detail={"event": "Events-4", "follows": "Events-3"})],
        [*AS_ONE[:-1], Record(6, "event", "three", detail={"event": "Events-3", "follows": "Events-2"}), TWO_STARTS],
        [*AS_ONE[:-1], Record(6, "event", "three", detail={"event": "Events-3"}), TWO_STARTS],
        [*AS_ONE[:-1], Record(6, "joined", "four", 1, ("b",), detail={"follows": "Events-1"}), TWO_STARTS],
    ],
)
def test_model_grants_before_what_is_of_another_change(records):
    assert any("two may start" in words for words in accept(records))
