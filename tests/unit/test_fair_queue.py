import contextvars
import os
import signal
import threading
from queue import Empty, Full
from types import SimpleNamespace

import pytest

from app.store.fair_queue import DearTurns, FairQueue, NoTurn
from app.store.fairness import serve
from tests.conftest import eventually


class Waiting(threading.Thread):
    """Somebody who waits for an item; *queue* has him in its order once this is made."""

    def __init__(self, queue, **options):
        super().__init__(daemon=True)
        self._queue, self._options = queue, options
        self.item = self.error = None
        before = len(queue._waiting)
        self.start()
        eventually(lambda: len(queue._waiting) == before + 1)

    def run(self):
        try:
            self.item = self._queue.get(**self._options)
        except NoTurn as error:
            self.error = error


def test_items_are_handed_out_in_the_order_in_which_they_were_asked_for():
    queue = FairQueue(3)
    waiting = [Waiting(queue) for _ in range(3)]

    for item in ("first", "second", "third"):
        queue.put_nowait(item)
    for each in waiting:
        each.join(10)

    assert [each.item for each in waiting] == ["first", "second", "third"]


def test_groups_have_their_turn_one_after_the_other():
    queue, order = FairQueue(1), []
    waiting = [Waiting(queue, group=group) for group in ("many", "many", "many", "few", "one", "few")]

    for number in range(6):
        queue.put_nowait(number)
    for each in waiting:
        each.join(10)
        order.append(each.item)

    assert order == [0, 3, 5, 1, 2, 4]
    assert not queue._waiting


def test_nobody_who_comes_in_between_takes_what_somebody_waits_for():
    queue = FairQueue(1)
    waiting = Waiting(queue)

    queue.put_nowait("item")
    with pytest.raises(Empty):
        queue.get(block=False)

    waiting.join(10)
    assert waiting.item == "item"


def test_item_that_was_put_in_last_comes_out_first_and_no_more_than_there_are_go_in():
    queue = FairQueue(2)
    queue.put_nowait(None)
    queue.put_nowait("used lately")
    with pytest.raises(Full):
        queue.put_nowait(None)

    assert [queue.get(), queue.get()] == ["used lately", None]


def test_item_that_was_put_back_is_the_next_also_where_others_wait():
    queue = FairQueue(1)
    waiting = Waiting(queue)

    queue.put_back("item")

    assert queue.get(block=False) == "item"
    queue.put_nowait("item")
    waiting.join(10)
    assert waiting.item == "item"


@pytest.mark.parametrize(
    ("returns", "ends_at", "reason"),
    [
        ([], 5, "none came back for 5 s"),
        ([(4, False), (4.5, False)], 5, "none came back for 5 s"),  # They are broken: nobody answers.
        ([(4, True)], 9, "none came back for 5 s"),
        ([(4, True), (8, True), (12, True)], 15, "were in use for 15 s"),
    ],
)
def test_turn_is_waited_for_while_connections_come_back_that_are_still_ones(returns, ends_at, reason):
    seconds = 0
    queue = FairQueue(1, longest=15, now=lambda: seconds)

    for seconds, is_connected in returns:  # noqa: B007
        assert queue._reason_to_go(0, 5) is None
        queue.put_nowait(SimpleNamespace(is_connected=is_connected))
        queue.get()
    seconds = ends_at - 0.01
    assert queue._reason_to_go(0, 5) is None
    seconds = ends_at

    assert reason in queue._reason_to_go(0, 5)


def test_who_has_waited_long_enough_is_told_so_and_waits_no_longer():
    queue = FairQueue(1)

    with pytest.raises(NoTurn, match="none came back for 0.01 s"):
        queue.get(timeout=0.01)

    queue.put_nowait("item")
    assert queue.get(block=False) == "item"


@pytest.mark.parametrize("has_come", [False, True])
def test_turn_of_somebody_who_is_interrupted_is_that_of_the_next(has_come):
    queue = FairQueue(1)

    class Interrupted(BaseException):
        """As the time-out of a job comes, at any place."""

    def interrupt(*_):
        if has_come:
            queue.put_nowait("item")
        raise Interrupted

    def tell():
        eventually(lambda: len(queue._waiting) == 1)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Thread(target=tell, daemon=True).start()
        with pytest.raises(Interrupted):
            queue.get()
    finally:
        signal.signal(signal.SIGUSR1, before)

    if not has_come:
        queue.put_nowait("item")
    assert queue.get(block=False) == "item"


class Calling(threading.Thread):
    """A call of a group: its turn, a connection, and an answer of Redis that comes when the test `answer`s it."""

    def __init__(self, turns, pool, group):
        super().__init__(daemon=True)
        self._turns, self._pool, self.group = turns, pool, group
        self.is_in_redis, self._answered = False, threading.Event()
        self.start()

    def run(self):
        serve(self.group)
        is_dear = self._turns.enter()
        connection = self._pool.get()
        self.is_in_redis = True
        self._answered.wait(10)
        self.is_in_redis = False
        self._pool.put_nowait(connection)
        if is_dear:
            self._turns.leave()

    def answer(self):
        self._answered.set()
        self.join(10)


@pytest.fixture
def pool():
    pool = FairQueue(3)
    for number in range(3):
        pool.put_nowait(number)
    return pool


def dear_turns(*groups):
    turns = DearTurns()
    for group in groups:
        note(turns, 80, group)
    return turns


def note(turns, ms, *groups, **options):
    """As who serves *groups* does it."""
    contextvars.copy_context().run(lambda: (serve(*groups), turns.note(ms, **options)))


def in_redis(calls):
    return sorted(call.group for call in calls if call.is_in_redis)


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize("dear", [("wide",), ("wide", "wider", "widest", "")])
def test_cheap_call_finds_one_dear_one_in_front_of_it_however_many_wait(pool, count, dear):
    turns = dear_turns(*dear)
    calls = [Calling(turns, pool, group) for group in dear for _ in range(count)]
    eventually(lambda: len(turns._turns._waiting) == len(calls) - 1 and len(in_redis(calls)) == 1)

    for _ in range(2):
        cheap = [Calling(turns, pool, "small") for _ in range(2)]
        eventually(lambda: in_redis(cheap) == ["small", "small"])  # noqa: B023
        assert len(in_redis(calls)) == 1
        for call in cheap:
            call.answer()

    for _ in calls:
        eventually(lambda: len(in_redis(calls)) == 1)
        next(call for call in calls if call.is_in_redis).answer()
    assert not any(call.is_alive() for call in calls)


def test_dear_groups_have_their_turn_one_after_the_other(pool):
    turns, order, calls = dear_turns("wide", "sweep"), [], []
    for group in ("wide", "wide", "wide", "wide", "sweep", "sweep"):
        calls.append(Calling(turns, pool, group))
        eventually(lambda: len(turns._turns._waiting) == len(calls) - 1)

    for _ in calls:
        eventually(lambda: len(in_redis(calls)) == 1)
        call = next(call for call in calls if call.is_in_redis)
        order.append(call.group)
        call.answer()

    assert order == ["wide", "wide", "sweep", "wide", "sweep", "wide"]


def test_cheap_calls_use_all_connections_and_none_waits_for_a_turn(pool):
    turns = dear_turns("wide")
    calls = [Calling(turns, pool, "small") for _ in range(3)]

    eventually(lambda: in_redis(calls) == ["small"] * 3)

    for call in calls:
        call.answer()


def test_group_is_dear_until_many_of_its_calls_were_cheap():
    turns = DearTurns()
    note(turns, 20, "now and then")
    assert not turns.is_dear("now and then")
    note(turns, 80, "wide")

    for _ in range(20):
        note(turns, 0.2, "wide")
    assert turns.is_dear("wide")
    for _ in range(200):
        note(turns, 0.2, "wide")
    assert not turns.is_dear("wide")
    assert [*turns._means] == ["now and then"]  # Whoever is cheap takes no memory.


@pytest.mark.parametrize(("answered", "dear"), [(1, ["a"]), (2, ["a", "b"]), (20, [])])
def test_calls_that_went_together_share_what_they_took(answered, dear):
    turns = DearTurns()

    note(turns, 60, "a", "b", *["c"] * 18, answered=answered)

    assert [group for group in "abc" if turns.is_dear(group)] == dear
