"""Rule 6: a holder lives as long as its task."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.conftest import Clock
from tests.integration.rules.helpers import minutes, seconds


def test_silent_holder_keeps_its_machines(board, clock, a_run):
    holder, waiter = a_run(), a_run(parked=True)
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})

    clock.advance(timedelta(days=30))
    board.sweep()

    assert board.place(holder.task_id).is_granted
    assert board.place(waiter.task_id).is_waiting


@pytest.mark.parametrize("cause", ["step", "forced", "reconciled"])
def test_release_says_why(board, timeline, a_run, cause):
    run = a_run()
    board.join(run, {"Machines-7"})

    assert board.release(run.task_id, cause=cause, by="ann", reason="stuck") == "released"

    [record] = timeline.read(Filter(kind="released"))
    assert (record.cause, record.detail["by"], record.detail["reason"]) == (cause, "ann", "stuck")
    assert "held_ms" in record.detail


def test_releasing_twice_is_nothing(board, a_run):
    run = a_run()
    board.join(run, {"Machines-7"})
    board.release(run.task_id)

    assert board.release(run.task_id) == "nothing"
    assert board.release("ServerTasks-404") == "nothing"


def test_releasing_a_waiter_takes_it_out_of_the_line(board, a_run):
    holder, leaving, last = a_run(), a_run(), a_run()
    for run in (holder, leaving, last):
        board.join(run, {"Machines-7"})

    assert board.release(leaving.task_id) == "left"

    assert board.place(leaving.task_id).state == "left"
    assert board.place(last.task_id).place == 1


def test_end_event_releases_the_lease(board, octopus, clock):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, outcome="failed") == "applied"

    assert board.place("ServerTasks-1").state == "released"
    assert board.place("ServerTasks-1").run.outcome == "failed"


def test_end_event_takes_a_waiter_out_of_the_line(board, octopus):
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    octopus.tells(Effect.ENDED, outcome="canceled")

    assert board.place("ServerTasks-1").state == "left"


def test_longest_hold_ends_a_lease_where_it_is_set(make_board, a_run):
    board = make_board(Policy(max_hold=minutes(10)))
    clock = Clock(board)
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"}, ttl=minutes(60))

    clock.advance(minutes(9))
    assert board.poll(waiter.task_id).is_waiting
    clock.advance(minutes(2))

    assert board.poll(waiter.task_id).is_granted
    assert "longest hold" in board.place(holder.task_id).reason


def test_an_end_that_was_found_out_about_an_earlier_request_changes_nothing(board, clock, a_run):
    run = a_run()
    seen = board.join(run, {"Machines-7"})
    clock.advance(seconds(1))
    board.join(run, {"Machines-7"})

    assert board.release(run.task_id, cause="reconciled", seen=seen) == "nothing"
    assert board.release(run.task_id, cause="reconciled", seen=board.place(run.task_id)) == "released"
