import threading

import pytest

from app.web.api.joins_in_turn import JoinsInTurn
from app.web.errors import Problem
from tests.conftest import eventually


class Join(threading.Thread):
    """A join that is under way until it `may_end`."""

    def __init__(self, joins, order, name):
        super().__init__(daemon=True, name=name)
        self._joins, self._order = joins, order
        self.may_end = threading.Event()
        before = len(order) + len(joins._turns._waiting)
        self.start()
        eventually(lambda: len(order) + len(joins._turns._waiting) == before + 1)

    def run(self):
        with self._joins.turn():
            self._order.append(self.name)
            assert self.may_end.wait(10)


def test_some_joins_are_under_way_at_once_and_the_others_come_in_their_order():
    joins, order = JoinsInTurn(most=2), []
    all_of_them = [Join(joins, order, name) for name in "abcde"]
    assert order == ["a", "b"]

    for number, join in enumerate(all_of_them[:3], 3):
        join.may_end.set()
        eventually(lambda number=number: len(order) == number)

    assert order == list("abcde")
    for join in all_of_them:
        join.may_end.set()
        join.join(10)


def test_join_whose_turn_does_not_come_is_told_so_in_time():
    joins = JoinsInTurn(most=1, longest=0.05)

    with joins.turn(), pytest.raises(Problem) as problem, joins.turn():
        pass

    assert (problem.value.status, problem.value.code) == (503, "too_many_joins")


def test_join_that_fails_keeps_no_turn():
    joins = JoinsInTurn(most=1, longest=0.05)

    for _ in range(3):
        with pytest.raises(LookupError), joins.turn():
            raise LookupError
