"""A run whose wait is over while its task works is observed until that ends: in doubt its machines are busy."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.run import RunRequest, TaskEnd
from tests.conftest import Clock
from tests.integration.octopus_tells import WEB, Octopus
from tests.integration.rules.helpers import holders, kinds, minutes, seconds


@pytest.fixture
def board(make_board):
    return make_board(Policy(has_key=True, waiter_ttl=seconds(50)))


def goes(board, clock, how):
    """ServerTasks-1 waits for Machines-7, which ServerTasks-9 holds, and its wait ends so."""
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    timeout = seconds(20) if how == "timed_out" else None
    board.join(RunRequest("ServerTasks-1", timeout=timeout), {"Machines-7"})
    board.poll("ServerTasks-9")
    if how == "left":
        board.release("ServerTasks-1")
    else:
        clock.advance(seconds(60))
        board.sweep()
    assert board.place("ServerTasks-1").state == how
    board.join(RunRequest("ServerTasks-2", parked=True), {"Machines-7"})
    board.release("ServerTasks-9")


ENDS = ["left", "expired", "timed_out"]


@pytest.mark.parametrize("how", ENDS)
def test_its_machines_are_busy_until_it_is_known(board, clock, how):
    goes(board, clock, how)

    assert board.place("ServerTasks-2").is_waiting
    assert holders(board, "ServerTasks-2") == [("provisional", "ServerTasks-1")]
    assert board.place("ServerTasks-1").is_to_resolve


@pytest.mark.parametrize("how", ENDS)
def test_works_on_and_is_observed_until_its_end(board, clock, octopus, how):
    goes(board, clock, how)

    assert board.observe("ServerTasks-1", WEB, info={}) == "observed"

    assert holders(board, "ServerTasks-2") == [("observed", "ServerTasks-1")]
    octopus.tells(Effect.ENDED, "ServerTasks-1")
    assert board.place("ServerTasks-2").is_granted


@pytest.mark.parametrize("how", ENDS)
def test_next_is_granted_once_its_task_is_known_to_have_ended(board, clock, how):
    goes(board, clock, how)

    seen = board.place("ServerTasks-1")
    assert board.release("ServerTasks-1", cause="reconciled", seen=seen, ended=TaskEnd("failed")) == "released"

    assert board.place("ServerTasks-2").is_granted
    assert board.place("ServerTasks-1").state == how
    assert not board.place("ServerTasks-1").is_to_resolve


@pytest.mark.parametrize("how", ENDS)
def test_event_of_its_end_frees_them(board, clock, octopus, how):
    goes(board, clock, how)

    octopus.tells(Effect.ENDED, "ServerTasks-1")

    assert board.place("ServerTasks-2").is_granted


def test_step_that_asks_again_joins_at_the_end(board, clock):
    goes(board, clock, "expired")

    asked = board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert board.place("ServerTasks-2").is_granted
    assert (asked.state, asked.place) == ("waiting", 1)
    assert "removed from the line" in asked.reason


def test_step_that_asks_again_after_it_was_observed_is_told_why_too(board, clock):
    goes(board, clock, "expired")
    board.observe("ServerTasks-1", WEB, info={})

    asked = board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert board.place("ServerTasks-2").is_granted
    assert "removed from the line" in asked.reason


@pytest.mark.parametrize("how", ["refused", "timed_out"])
def test_step_that_has_not_heard_of_the_end_of_its_wait_is_told_of_it_after_it_was_observed(make_board, how):
    board = make_board(Policy(has_key=True, waiter_ttl=seconds(50), task_cap=4, task_cap_reserve=1))
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    board.poll("ServerTasks-9")
    for number in (7, 8) if how == "refused" else ():
        board.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})
    request = RunRequest("ServerTasks-1", claim="a" * 32, timeout=seconds(20))
    board.join(request, {"Machines-7"})
    Clock(board).advance(seconds(30))
    board.sweep()
    before = board.poll("ServerTasks-1", claim="a" * 32)
    assert (before.state, board.place("ServerTasks-1").is_to_resolve) == (how, True)

    assert board.observe("ServerTasks-1", WEB, info={}) == "observed"

    # A step that reads that its wait has timed out gives back what its run holds: that is its task's by now.
    state, why = {"refused": ("refused", before.reason), "timed_out": ("left", "its time-out has passed")}[how]
    assert why
    calls = [
        board.poll("ServerTasks-1", claim="a" * 32, blocks=True),
        board.poll("ServerTasks-1", claim="a" * 32),
        board.join(request, {"Machines-7"}),
    ]
    assert [(call.state, call.reason, call.run.machines) for call in calls] == [(state, why, ("Machines-7",))] * 3
    assert board.place("ServerTasks-1").state == "observed"
    # Nobody else hears of it, and the next execution asks for itself.
    assert board.poll("ServerTasks-1", claim="b" * 32) is None
    assert board.poll("ServerTasks-1").state == "observed"
    for number in (7, 8) if how == "refused" else ():
        board.release(f"ServerTasks-{number}")
    assert board.join(RunRequest("ServerTasks-1", claim="b" * 32), {"Machines-7"}).is_waiting
    assert board.poll("ServerTasks-1", claim="a" * 32).state == "left"


def test_release_step_at_the_end_of_its_work_gives_them_back_for_good(board, clock, octopus):
    goes(board, clock, "expired")

    assert board.release("ServerTasks-1") == "released"

    assert board.place("ServerTasks-2").is_granted
    octopus.tells(Effect.STARTED, "ServerTasks-1", ago=minutes(2))
    assert not board.place("ServerTasks-1").is_to_resolve


def test_operator_can_free_them(board, clock, timeline):
    goes(board, clock, "expired")

    assert board.release("ServerTasks-1", cause="forced", by="ann", reason="I looked") == "released"

    assert board.place("ServerTasks-2").is_granted
    assert kinds(timeline, task_id="ServerTasks-1") == ["joined", "expired", "presumed", "dropped"]


@pytest.mark.parametrize("how", ENDS)
def test_its_late_start_is_observed(board, clock, octopus, how):
    goes(board, clock, how)
    board.refuse_plan("ServerTasks-1")
    clock.advance(minutes(2))
    board.sweep()
    assert board.place("ServerTasks-2").is_granted  # nobody could say

    assert octopus.tells(Effect.STARTED, "ServerTasks-1", ago=minutes(4)) == "unresolved"
    board.release("ServerTasks-2")

    assert board.place("ServerTasks-1").is_to_resolve
    assert board.observe("ServerTasks-1", WEB, info={}) == "observed"
    assert board.join(RunRequest("ServerTasks-3"), {"Machines-7"}).is_waiting


def test_end_that_was_told_leaves_no_doubt(board, clock, octopus):
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    octopus.tells(Effect.ENDED, "ServerTasks-1")
    board.release("ServerTasks-9")

    assert not board.place("ServerTasks-1").is_to_resolve
    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_granted


def test_parked_run_is_paused_in_octopus_until_it_is_answered(board, clock):
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-1", parked=True, timeout=seconds(20)), {"Machines-7"})
    clock.advance(seconds(30))
    board.sweep()
    assert board.place("ServerTasks-1").state == "timed_out"

    board.release("ServerTasks-9")
    board.answered("ServerTasks-1", "octowait", result="Abort")

    assert not board.place("ServerTasks-1").is_to_resolve
    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_granted


def test_without_a_key_a_dead_waiter_is_simply_gone(make_board):
    board = make_board(Policy(waiter_ttl=seconds(50)))
    goes(board, Clock(board), "expired")

    assert board.place("ServerTasks-2").is_granted
    assert not board.place("ServerTasks-1").is_to_resolve


def test_without_a_key_its_late_start_makes_them_busy_for_a_while(make_board):
    board = make_board(Policy(waiter_ttl=seconds(50)))
    clock = Clock(board)
    goes(board, clock, "expired")
    board.release("ServerTasks-2")

    Octopus(board, clock).tells(Effect.STARTED, "ServerTasks-1", ago=seconds(70))

    assert board.join(RunRequest("ServerTasks-3", parked=True), {"Machines-7"}).is_waiting
    clock.advance(seconds(61))
    board.sweep()
    assert board.place("ServerTasks-3").is_granted
    assert not board.place("ServerTasks-1").is_to_resolve


def test_resume_does_not_move_the_start(board, clock, octopus):
    octopus.tells(Effect.STARTED, "ServerTasks-1")
    began = board.place("ServerTasks-1").run.started_oct_ms
    clock.advance(minutes(3))
    octopus.tells(Effect.PAUSED, "ServerTasks-1")
    clock.advance(minutes(3))

    octopus.tells(Effect.RESUMED, "ServerTasks-1")

    assert board.place("ServerTasks-1").run.started_oct_ms == began


def test_start_that_comes_after_the_resume_is_the_start(board, clock, octopus):
    octopus.tells(Effect.RESUMED, "ServerTasks-1")

    octopus.tells(Effect.STARTED, "ServerTasks-1", ago=minutes(9))

    place = board.place("ServerTasks-1")
    assert abs(place.run.started_oct_ms - (place.now_ms - timedelta(minutes=9) // timedelta(milliseconds=1))) < 2000


def test_second_start_of_a_deployment_under_another_task_is_known(board, octopus):
    octopus.tells(Effect.STARTED, "ServerTasks-1", deployment_id="Deployments-10")
    assert not board.place("ServerTasks-1").is_second_start

    octopus.tells(Effect.STARTED, "ServerTasks-2", deployment_id="deployments-10")

    assert board.place("ServerTasks-2").is_second_start


def test_second_start_under_the_same_task_is_known(board, octopus, clock):
    octopus.tells(Effect.STARTED, "ServerTasks-1", deployment_id="Deployments-10")
    octopus.tells(Effect.ENDED, "ServerTasks-1", deployment_id="Deployments-10")
    clock.advance(minutes(1))

    octopus.tells(Effect.STARTED, "ServerTasks-1", deployment_id="Deployments-10")

    assert board.place("ServerTasks-1").is_second_start
