import os
import signal
import threading
from queue import Empty, Full
from types import SimpleNamespace

import pytest

from app.store.fair_queue import FairQueue, NoTurn, _Turn
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


def a_connection(*, is_connected=True):
    return SimpleNamespace(is_connected=is_connected)


def test_items_are_handed_out_in_the_order_in_which_they_were_asked_for():
    queue = FairQueue(3)
    waiting = [Waiting(queue) for _ in range(3)]

    for item in ("first", "second", "third"):
        queue.put_nowait(item)
    for each in waiting:
        each.join(10)

    assert [each.item for each in waiting] == ["first", "second", "third"]


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
    ("is_connected", "reason"), [(False, "none came back for 0.2 s"), (True, "were in use for 0.6 s")]
)
def test_turn_is_waited_for_while_connections_come_back_that_are_still_ones(is_connected, reason):
    queue = FairQueue(1, longest=0.6)
    waiting = Waiting(queue, timeout=0.2)
    queue._waiting.extendleft(_Turn() for _ in range(10_000))  # Those who came before.

    while waiting.is_alive():
        queue.put_nowait(a_connection(is_connected=is_connected))
        waiting.join(0.001)

    assert reason in str(waiting.error)


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
