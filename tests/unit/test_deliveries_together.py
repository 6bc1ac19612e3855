"""Deliveries of a process go to Redis one script after the other, each with all that came meanwhile."""

import contextvars
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.events import Effect, Event
from app.store.errors import StoreError, StoreUnreachable
from app.store.fairness import served
from app.web.api.deliveries_together import MOST_EVENTS, DeliveriesTogether, _Delivery
from tests.conftest import eventually


def an_event(number):
    return Event(str(number), None, "DeploymentStarted", Effect.STARTED, 0, "ServerTasks-1", None)


class Board:
    """A board that applies events when it is let; *most* of them at once."""

    def __init__(self):
        self.calls = []
        self.most = 1000
        self.wrong = {}
        self.lets = threading.Semaphore(0)

    def deliver_many(self, events, *, confirm):
        assert confirm and served() == ("deliveries",) * len(events)
        self.calls.append([event.key for event in events])
        assert self.lets.acquire(timeout=20)
        error = self.wrong.get("all")
        if error:
            raise error
        return [self.wrong.get(event.key, f"applied {event.key}") for event in events[: self.most]]


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def together(board):
    return DeliveriesTogether(board, confirm=True)


@pytest.fixture
def come(board, together):
    """Has events come one after the other, each in a thread; of each what comes of it."""
    with ThreadPoolExecutor(100) as threads:

        def come(*numbers):
            outcomes = []
            for number in numbers:
                waiting = len(together._queue)
                outcomes.append(threads.submit(together.deliver, an_event(number)))
                eventually(lambda waiting=waiting: len(together._queue) > waiting)
                # The first one has gone, so that the others come meanwhile.
                eventually(lambda: board.calls)
            return outcomes

        yield come


def test_one_that_comes_alone_goes_at_once(board, come):
    [outcome] = come(1)
    board.lets.release()

    assert outcome.result(20) == "applied 1"
    [outcome] = come(2)
    board.lets.release()
    assert outcome.result(20) == "applied 2" and board.calls == [["1"], ["2"]]


def test_those_that_come_meanwhile_go_together_in_order(board, come):
    outcomes = come(*range(8))
    board.lets.release(2)

    assert [outcome.result(20) for outcome in outcomes] == [f"applied {number}" for number in range(8)]
    assert board.calls == [["0"], [*"1234567"]]


def test_no_more_go_together_than_redis_does_in_some_milliseconds(board, come):
    outcomes = come(*range(2 * MOST_EVENTS))
    board.lets.release(3)

    assert [outcome.result(20) for outcome in outcomes] == [f"applied {number}" for number in range(2 * MOST_EVENTS)]
    assert [len(call) for call in board.calls] == [1, MOST_EVENTS, MOST_EVENTS - 1]


def test_those_that_a_script_did_not_come_to_go_with_the_next(board, come):
    board.most = 3
    outcomes = come(*range(9))
    board.lets.release(4)

    assert [outcome.result(20) for outcome in outcomes] == [f"applied {number}" for number in range(9)]
    assert board.calls == [["0"], [*"12345678"], [*"45678"], [*"78"]]


def test_an_error_about_one_is_told_to_that_one(board, come):
    board.wrong["2"] = StoreError("its run is broken")
    outcomes = come(1, 2, 3)
    board.lets.release(2)

    with pytest.raises(StoreError, match="its run is broken"):
        outcomes[1].result(20)
    assert [outcomes[0].result(20), outcomes[2].result(20)] == ["applied 1", "applied 3"]


def test_an_error_about_all_is_told_to_each_and_the_next_goes(board, come):
    board.wrong["all"] = StoreError("Redis is away")
    outcomes = come(1, 2, 3)
    board.lets.release(2)
    for outcome in outcomes:
        with pytest.raises(StoreError, match="Redis is away"):
            outcome.result(20)
    del board.wrong["all"]

    [outcome] = come(4)
    board.lets.release()

    assert outcome.result(20) == "applied 4"


@pytest.mark.parametrize("error", [ValueError("a mistake"), SystemExit()], ids=["mistake", "end"])
def test_one_that_is_ended_from_outside_lets_those_behind_it_go(board, come, error):
    outcomes = come(1)
    outcomes += come(2, 3)
    board.wrong["all"] = error
    board.lets.release()
    with pytest.raises(type(error)):
        outcomes[0].result(20)
    eventually(lambda: len(board.calls) == 2)
    del board.wrong["all"]
    board.lets.release()

    assert [outcome.result(20) for outcome in outcomes[1:]] == ["applied 2", "applied 3"]


def test_one_that_waits_no_longer_holds_up_nobody(board, come, together, monkeypatch):
    outcomes = come(1)
    with monkeypatch.context() as patch:
        patch.setattr(_Delivery, "sleep", lambda delivery, seconds: sys.exit())
        with pytest.raises(SystemExit):
            together.deliver(an_event(2))
    outcomes += come(3)
    board.lets.release(2)

    assert [outcome.result(20) for outcome in outcomes] == ["applied 1", "applied 3"]
    assert board.calls == [["1"], ["3"]]


def test_where_redis_is_away_nobody_waits_for_the_tries_of_others(board, come):
    outcomes = come(*range(2 * MOST_EVENTS))
    board.wrong["all"] = StoreUnreachable("Redis does not answer")
    board.lets.release()

    for outcome in outcomes:
        with pytest.raises(StoreUnreachable, match="does not answer"):
            outcome.result(20)
    assert board.calls == [["0"]]


def test_nobody_waits_for_others_longer_than_that(board):
    together = DeliveriesTogether(board, confirm=True, longest=0.05)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(together.deliver, an_event(1))
        eventually(lambda: board.calls)
        with pytest.raises(StoreUnreachable, match="has not come to a delivery for 0.05 s"):
            together.deliver(an_event(2))
        board.lets.release(2)

        assert first.result(20) == "applied 1"
        assert threads.submit(together.deliver, an_event(3)).result(20) == "applied 3"
    assert board.calls == [["1"], ["3"]]


def test_who_has_gone_for_others_serves_deliveries_as_before(board, together):
    board.lets.release()
    context = contextvars.copy_context()

    context.run(together.deliver, an_event(1))

    assert context.run(served) == ("deliveries",)
