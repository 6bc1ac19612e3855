"""A step that repeats what it has seen is told of its grant without a write: that it was told it says itself."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest

from app.coordination.board import Poll
from app.domain.run import RunRequest
from app.store.witness import speaking_for
from tests.integration.rules.helpers import minutes, seconds

CLAIM, OTHER = "a" * 32, "b" * 32

TTL = timedelta(seconds=64)


@pytest.fixture
def waiter(board):
    """A run that waits behind ServerTasks-9."""
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-1", claim=CLAIM), {"Machines-7"}, ttl=TTL)
    return "ServerTasks-1"


def seen_by(board):
    """What a step has seen that was answered just now, and told of a grant."""
    return replace(board.script.witness.latest, is_told=True)


def blocks(board, task, seen):
    [answer] = board.poll_many([Poll(task, CLAIM, blocks=True, is_brief=True, seen=(seen,) if seen else ())])
    return answer


def confirms(board, task, seen, claim=CLAIM):
    with speaking_for(seen) if seen else nullcontext():
        return board.poll(task, claim=claim)


def changes(board):
    return board.client.info("persistence")["rdb_changes_since_last_save"]


def test_grant_is_told_without_a_write_and_confirmed_by_what_was_seen(board, clock, waiter):
    before_it = seen_by(board)
    board.release("ServerTasks-9")
    count = changes(board)

    assert blocks(board, waiter, before_it).is_granted
    assert changes(board) == count

    assert confirms(board, waiter, seen_by(board)).run.collected
    clock.advance(minutes(600))
    board.sweep()
    assert board.place(waiter).is_granted


def test_step_that_does_not_repeat_what_it_sees_is_noted_to_have_been_told(board, waiter):
    board.release("ServerTasks-9")
    count = changes(board)

    assert blocks(board, waiter, None).is_granted

    assert changes(board) > count
    assert confirms(board, waiter, None).run.collected


def test_call_from_before_the_grant_confirms_nothing(board, clock, waiter):
    before_it = seen_by(board)
    board.release("ServerTasks-9")
    blocks(board, waiter, before_it)

    assert not confirms(board, waiter, before_it).run.collected
    clock.advance(TTL + seconds(1))

    assert board.place(waiter).state == "expired"


def test_change_that_no_answer_of_a_grant_has_told_confirms_nothing(board, waiter):
    """An answer "waiting" can say a later change than it is about: another request sees that while it is made."""
    board.release("ServerTasks-9")

    assert not confirms(board, waiter, board.script.witness.latest).run.collected


def test_call_from_before_a_second_grant_confirms_nothing(board, waiter):
    board.release("ServerTasks-9")
    blocks(board, waiter, seen_by(board))
    first = seen_by(board)
    board.close(by="ann")
    assert confirms(board, waiter, first).is_waiting, "a closed board takes back what nobody has confirmed"
    board.open("operator", by="ann")
    assert board.place(waiter).is_granted

    assert not confirms(board, waiter, first).run.collected
    assert confirms(board, waiter, seen_by(board)).run.collected


def test_execution_that_follows_another_confirms_its_own_grant_only(board, waiter):
    board.release("ServerTasks-9")
    blocks(board, waiter, seen_by(board))
    board.join(RunRequest(waiter, claim=OTHER), {"Machines-7"}, ttl=TTL)

    assert confirms(board, waiter, seen_by(board)).state == "left"
    assert not board.place(waiter).run.collected
    assert confirms(board, waiter, seen_by(board), OTHER).run.collected


def test_one_who_hears_late_of_his_grant_has_all_his_time_to_confirm_it(board, clock, waiter):
    board.release("ServerTasks-9")
    clock.advance(TTL - seconds(2))

    assert blocks(board, waiter, seen_by(board)).is_granted
    clock.advance(TTL - seconds(2))

    assert confirms(board, waiter, seen_by(board)).run.collected


def test_what_somebody_else_has_seen_does_not_confirm_for_a_step_that_says_nothing(board, waiter):
    board.release("ServerTasks-9")
    now = seen_by(board)

    answers = board.poll_many([Poll("ServerTasks-404", OTHER, seen=(now,)), Poll(waiter, CLAIM)])

    assert answers[1].is_granted and not answers[1].run.collected
