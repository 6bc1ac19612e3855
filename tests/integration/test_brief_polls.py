"""A poll that is about to block reads of a run that waits only that, and lets it live on."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.coordination.board import Poll, StillWaits

TTL = timedelta(seconds=64)

#: What a life may be too short: a sixty-fourth of it.
SLACK = timedelta(seconds=1)


@pytest.fixture
def ask(board):
    def ask(run, **how):
        [answer] = board.poll_many([Poll(run.task_id, run.claim, blocks=True, is_brief=True, **how)])
        return answer

    return ask


@pytest.fixture
def held(board, a_run):
    """Who holds the machine."""
    run = a_run()
    board.join(run, {"Machines-7"})
    return run


@pytest.fixture
def waiter(board, a_run, held):
    run = replace(a_run(), claim="c" * 32)
    board.join(run, {"Machines-7"}, ttl=TTL)
    return run


def written(board):
    return board.client.info("persistence")["rdb_changes_since_last_save"]


def test_run_that_waits_is_told_that_alone_and_lives_on(board, clock, ask, waiter):
    for _ in range(4):
        clock.advance(TTL - SLACK)

        assert ask(waiter) == StillWaits(TTL.total_seconds() / 2)
    assert board.place(waiter.task_id).is_waiting


@pytest.mark.parametrize("waits, writes", [(timedelta(), False), (SLACK / 2, False), (2 * SLACK, True)])
def test_life_is_written_only_where_it_has_become_shorter(board, clock, ask, waiter, waits, writes):
    ask(waiter)
    clock.advance(waits)
    before = written(board)

    ask(waiter)

    assert (written(board) > before) == writes


def test_parked_run_waits_without_a_life(board, ask, a_run, held, clock):
    run = replace(a_run(), parked=True)
    board.join(run, {"Machines-7"}, ttl=TTL)

    assert isinstance(ask(run), StillWaits)
    clock.advance(10 * TTL)
    assert board.place(run.task_id).is_waiting


def test_grant_is_told_whole_and_not_collected(board, ask, waiter, held):
    board.release(held.task_id)

    first, second = ask(waiter), ask(waiter)

    assert first.is_granted and [machine.id for machine in first.machines] == ["Machines-7"]
    assert second.is_granted and second.run.told and not second.run.collected


@pytest.mark.parametrize("claim, answer", [("c" * 32, "left"), ("d" * 32, None)])
def test_claim_that_is_over_or_another_one_is_answered_as_ever(board, ask, waiter, claim, answer):
    board.release(waiter.task_id, claim=waiter.claim)

    assert (told := ask(replace(waiter, claim=claim))) is None or told.state == answer
    assert (told is None) == (answer is None)
