import threading

import pytest

from app.web.api.joins_in_turn import WIDE, JoinsInTurn
from app.web.errors import Problem
from tests.conftest import eventually


class Join(threading.Thread):
    """A join that is under way until it `may_end`."""

    def __init__(self, joins, order, name, token="web", machines=1):
        super().__init__(daemon=True, name=name)
        self._joins, self._order, self._token, self._machines = joins, order, token, machines
        self.may_end = threading.Event()
        before = self._count()
        self.start()
        eventually(lambda: self._count() == before + 1)

    def _count(self):
        """Those that are under way, or wait for it."""
        return len(self._order) + sum(len(turns._queue._waiting) for turns in (self._joins._all, self._joins._wide))

    def run(self):
        with self._joins.turn(self._token, self._machines):
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


def test_token_with_few_joins_has_its_turn_before_all_of_one_with_many():
    joins, order = JoinsInTurn(most=1), []
    first = Join(joins, order, "flood 0", "flood")
    flood = [Join(joins, order, f"flood {number}", "flood") for number in range(1, 10)]
    others = [Join(joins, order, "web", "web"), Join(joins, order, "billing", "billing")]

    for number, join in enumerate([first, flood[0], *others], 2):
        join.may_end.set()
        eventually(lambda number=number: len(order) == number)

    assert order == ["flood 0", "flood 1", "web", "billing", "flood 2"]
    for join in flood:
        join.may_end.set()
    for join in flood:
        join.join(10)


def test_joins_for_many_machines_are_under_way_one_at_a_time():
    joins, order = JoinsInTurn(most=5), []
    wide = [Join(joins, order, f"wide {number}", machines=WIDE) for number in range(2)]
    narrow = Join(joins, order, "narrow", machines=WIDE - 1)
    assert order == ["wide 0", "narrow"]

    wide[0].may_end.set()
    eventually(lambda: len(order) == 3)

    for join in (*wide, narrow):
        join.may_end.set()
        join.join(10)


def test_join_whose_turn_does_not_come_is_told_so_in_time():
    joins = JoinsInTurn(most=1, longest=0.05)

    with joins.turn("web", 1), pytest.raises(Problem) as problem, joins.turn("web", 1):
        pass

    assert (problem.value.status, problem.value.code) == (503, "too_many_joins")


def test_join_that_fails_keeps_no_turn():
    joins = JoinsInTurn(most=1, longest=0.05)

    for _ in range(3):
        with pytest.raises(LookupError), joins.turn("web", 1):
            raise LookupError
