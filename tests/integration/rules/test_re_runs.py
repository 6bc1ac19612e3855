"""Rule 7: the end of one run does not end the next run of the same task."""

from datetime import timedelta

import pytest

from app.domain.events import Effect
from app.domain.run import RunRequest
from tests.integration.rules.helpers import seconds


def test_old_end_does_not_end_the_re_run(board, clock, octopus):
    """ServerTasks-1 ends, Octopus holds its event back, a trigger re-runs it, and only then the event arrives."""
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1")
    clock.advance(seconds(20))
    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_granted

    assert octopus.tells(Effect.ENDED, ago=seconds(19)) == "ignored"
    assert board.place("ServerTasks-1").is_granted
    clock.advance(seconds(60))
    octopus.tells(Effect.ENDED)

    assert board.place("ServerTasks-1").state == "released"


def test_owed_end_of_the_same_moment_does_not_end_who_asked_again(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.release("ServerTasks-1")
    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_granted

    assert octopus.tells(Effect.ENDED) == "ignored"
    assert board.place("ServerTasks-1").is_granted
    clock.advance(seconds(10))
    assert octopus.tells(Effect.ENDED) == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_old_end_does_not_end_the_re_run_that_asks_while_its_lease_is_still_there(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    assert not board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_new

    assert octopus.tells(Effect.ENDED, ago=seconds(30)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_re_run_that_was_observed_is_not_ended_by_the_old_end(board, clock, octopus, a_run):
    octopus.runs()
    clock.advance(seconds(60))
    held_back = octopus.event(Effect.ENDED)
    clock.advance(seconds(10))
    octopus.tells(Effect.STARTED)

    assert board.deliver(held_back) == "ignored"

    assert board.place("ServerTasks-1").state == "observed"


def test_re_run_after_an_end_is_another_run(board, clock, octopus):
    octopus.runs()
    octopus.tells(Effect.ENDED)
    clock.advance(seconds(10))

    octopus.runs()

    place = board.place("ServerTasks-1")
    assert (place.state, place.run.run) == ("observed", 2)


@pytest.mark.parametrize(("cause", "number"), [("reconciled", 2), ("step", 1)])
def test_who_asks_again_after_its_task_was_found_ended_is_another_run(board, cause, number):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.release("ServerTasks-1", cause=cause)

    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).run.run == number


def test_late_start_after_a_reconciled_end_leaves_nothing_held(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1", cause="reconciled")

    assert octopus.tells(Effect.STARTED, ago=seconds(61)) == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_re_run_after_a_reconciled_end_is_observed(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1", cause="reconciled")
    clock.advance(seconds(60))

    assert octopus.tells(Effect.STARTED) == "unresolved"

    assert board.place("ServerTasks-1").run.run == 2


def test_end_seen_after_a_reconciled_end_lets_a_quick_re_run_be_observed(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1", cause="reconciled")
    octopus.tells(Effect.ENDED, ago=seconds(30))

    assert octopus.tells(Effect.STARTED, ago=seconds(20)) == "unresolved"


def test_a_second_event_of_the_end_that_was_owed_does_not_end_the_next_run(board, octopus, clock, a_run):
    run, other = a_run(), a_run()
    board.join(run, {"Machines-7"})
    board.release(run.task_id)
    clock.advance(seconds(3))
    board.join(run, {"Machines-7"})
    board.join(other, {"Machines-7"})

    first = octopus.tells(Effect.ENDED, run.task_id, ago=seconds(2))
    second = octopus.tells(Effect.ENDED, run.task_id, ago=timedelta(seconds=1.9))

    assert (first, second) == ("ignored", "ignored")
    assert board.place(run.task_id).is_granted
    assert board.place(other.task_id).is_waiting


def test_a_second_event_of_an_end_that_was_seen_does_not_end_the_next_run(board, octopus, clock, a_run):
    run, other = a_run(), a_run()
    board.join(run, {"Machines-7"})
    clock.advance(seconds(100))
    octopus.tells(Effect.ENDED, run.task_id)
    clock.advance(seconds(3))
    board.join(run, {"Machines-7"})
    board.join(other, {"Machines-7"})

    assert octopus.tells(Effect.ENDED, run.task_id, ago=seconds(3)) == "ignored"
    assert board.place(run.task_id).is_granted
    assert board.place(other.task_id).is_waiting
