"""How many runs of a token wait at once: every run that waits counts, however it came into the line."""

from __future__ import annotations

import pytest

from app.coordination.board import Policy
from app.domain.access.identity import Identity, Limits
from app.domain.errors import TooManyWaiting
from app.domain.run import RunRequest

CLAIM = "0123456789abcdef"
LIMITED = Identity("web", Limits(max_waiting=1))


def ask(board, number, who=LIMITED, **fields):
    return board.join(RunRequest(f"ServerTasks-{number}", identity=who, **fields), {"Machines-7"})


def one_more_may_wait(board):
    try:
        return ask(board, 9).is_waiting
    except TooManyWaiting:
        return False


def test_run_whose_grant_was_withdrawn_counts_again(board):
    assert ask(board, 1, claim=CLAIM).is_granted
    board.close(by="ann")

    assert board.poll("ServerTasks-1", claim=CLAIM).is_waiting

    assert not one_more_may_wait(board)
    board.open("operator")
    assert board.place("ServerTasks-1").is_granted
    assert one_more_may_wait(board)


@pytest.mark.parametrize(
    "before", [None, Identity("web"), Identity("api"), Identity("api", Limits(max_waiting=5))],
    ids=["nobody's", "without a limit", "another's", "another's with a limit"],
)  # fmt: skip
def test_run_that_comes_to_an_owner_while_it_waits_counts_for_that_one(board, before):
    board.join(RunRequest("ServerTasks-8"), {"Machines-7"})
    ask(board, 1, before)

    ask(board, 1, verdict="take" if before and before.owner == "api" else None)

    assert board.place("ServerTasks-1").run.owner == "web"
    assert not one_more_may_wait(board)
    board.release("ServerTasks-1")
    assert one_more_may_wait(board)


def test_run_that_two_owners_share_counts_for_the_first(board):
    board.join(RunRequest("ServerTasks-8"), {"Machines-7"})
    ask(board, 1, Identity("api", Limits(max_waiting=1)))

    ask(board, 1, verdict="share")

    assert one_more_may_wait(board)


def test_withdrawn_run_that_octopus_has_not_been_asked_about_takes_no_task_slot(make_board):
    board = make_board(Policy(has_key=True))
    ask(board, 1, claim=CLAIM)
    board.close(by="ann")

    board.poll("ServerTasks-1", claim=CLAIM)

    assert not board.client.smembers(board.keys.blocking)
