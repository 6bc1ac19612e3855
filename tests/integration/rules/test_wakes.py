"""A waiter is woken once, by the word of its new state."""

from datetime import timedelta

import pytest

from app.domain.run import RunRequest
from tests.integration.rules.helpers import minutes


def test_wake_list_has_the_new_state_once(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    assert not board.client.exists(board.keys.wake(waiter.task_id))

    board.release(holder.task_id)

    assert board.client.lrange(board.keys.wake(waiter.task_id), 0, -1) == [b"granted"]
    assert 0 < board.client.pttl(board.keys.wake(waiter.task_id)) <= 120_000


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (lambda board, clock: board.release("ServerTasks-2"), b"left"),
        (lambda board, clock: (clock.advance(minutes(2)), board.sweep()), b"expired"),
    ],
)
def test_wake_list_tells_of_every_end_of_a_wait(board, clock, end, word):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"}, ttl=minutes(1))

    end(board, clock)

    assert board.client.lrange(board.keys.wake("ServerTasks-2"), 0, -1) == [word]


def test_grant_is_published(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    with board.client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(board.keys.wakes)
        subscription.get_message(timeout=5)

        board.release(holder.task_id)

        assert subscription.get_message(timeout=5)["data"] == waiter.task_id.lower().encode()


def test_nobody_is_woken_for_a_run_that_never_waited(board, a_run):
    run = a_run()
    with board.client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(board.keys.wakes)
        subscription.get_message(timeout=5)

        assert board.join(run, {"Machines-7"}).is_granted
        board.client.publish(board.keys.wakes, "the next")

        assert subscription.get_message(timeout=5)["data"] == b"the next"
    assert not board.client.exists(board.keys.wake(run.task_id))


def test_old_wake_does_not_wake_who_joins_again(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    board.release(waiter.task_id)

    board.join(waiter, {"Machines-7"})

    assert not board.client.exists(board.keys.wake(waiter.task_id))


def test_waiting_returns_at_once_when_the_wake_came_before(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    board.release(holder.task_id)

    place = board.wait(waiter.task_id, timeout=minutes(1))

    assert place.is_granted
    assert place.run.collected


def test_waiting_returns_a_waiter_when_its_time_is_over(board, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    assert board.wait(waiter.task_id, timeout=timedelta(milliseconds=30)).is_waiting
    assert board.wait("ServerTasks-404", timeout=timedelta(0)) is None
