"""A run that is about to ask is no overlap: its project came with a step last time, or its plan begins with one."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.integration.octopus_tells import WEB
from tests.integration.rules.helpers import kinds, minutes, seconds

INFO = {"space_id": "Spaces-1", "project": {"id": "Projects-7"}, "environment": {"id": "Environments-2"}}


@pytest.fixture
def board(make_board):
    return make_board(Policy(has_key=True, expect_step=timedelta(seconds=120)))


@pytest.fixture
def gated(board):
    """The last run of the project came with a step; ServerTasks-1 holds the machine now."""
    board.join(RunRequest("ServerTasks-800", info=INFO), {"Machines-7"})
    board.release("ServerTasks-800")
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.poll("ServerTasks-1")


def overlaps(timeline):
    return [(record.task_id, record.detail["with"]) for record in timeline.read(Filter(kind="overlapped"))]


def starts(octopus, board, task="ServerTasks-900", **fields):
    octopus.tells(Effect.STARTED, task, info=INFO, **fields)
    assert board.observe(task, WEB, info={}) == "observed"


def test_gated_run_that_asks_in_time_is_no_overlap(board, gated, octopus, timeline, clock):
    starts(octopus, board)
    clock.advance(seconds(100))

    board.join(RunRequest("ServerTasks-900", info=INFO), {"Machines-7"})
    clock.advance(minutes(30))
    board.sweep()

    assert overlaps(timeline) == []
    joined = list(timeline.read(Filter(task_id="ServerTasks-900", kind="joined")))
    assert joined[0].detail["expected"] is True


def test_gated_run_that_does_not_ask_is_one_after_all(board, gated, octopus, timeline, clock):
    starts(octopus, board)

    clock.advance(seconds(121))
    board.sweep()
    board.sweep()

    assert overlaps(timeline) == [("ServerTasks-900", "ServerTasks-1")]


def test_gated_run_that_ended_before_it_asked_is_none(board, gated, octopus, timeline, clock):
    starts(octopus, board)
    octopus.tells(Effect.ENDED, "ServerTasks-900")

    clock.advance(seconds(121))
    board.sweep()

    assert overlaps(timeline) == []


def test_its_machines_are_busy_meanwhile(board, gated, octopus):
    starts(octopus, board)
    board.release("ServerTasks-1")

    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_waiting


def test_first_run_of_a_project_may_be_about_to_ask_and_the_next_is_not(board, octopus, timeline, clock):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.poll("ServerTasks-1")
    starts(octopus, board)
    assert overlaps(timeline) == []
    clock.advance(seconds(121))
    board.sweep()
    assert overlaps(timeline) == [("ServerTasks-900", "ServerTasks-1")]

    starts(octopus, board, "ServerTasks-901")

    assert {("ServerTasks-901", "ServerTasks-1")} <= set(overlaps(timeline))


def test_run_of_no_known_project_is_an_overlap_at_once(board, octopus, timeline):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    octopus.runs("ServerTasks-900")

    assert overlaps(timeline) == [("ServerTasks-900", "ServerTasks-1")]


def test_step_in_one_environment_tells_of_the_project_in_all(board, gated, octopus, timeline):
    octopus.tells(Effect.STARTED, "ServerTasks-900", info=INFO | {"tenant": {"id": "Tenants-1"}})
    board.observe("ServerTasks-900", WEB, info={})

    assert overlaps(timeline) == []


def test_somebody_who_comes_upon_an_expected_run_is_told_once_it_has_not_asked(board, gated, octopus, timeline, clock):
    board.release("ServerTasks-1")
    starts(octopus, board)
    octopus.tells(Effect.STARTED, "ServerTasks-950")
    board.observe("ServerTasks-950", WEB, info={})
    assert overlaps(timeline) == []

    clock.advance(seconds(121))
    board.sweep()

    assert overlaps(timeline) == [("ServerTasks-900", "ServerTasks-950")]


def test_start_of_long_ago_is_not_expected_any_more(board, gated, octopus, timeline):
    starts(octopus, board, ago=minutes(10))

    assert overlaps(timeline) == [("ServerTasks-900", "ServerTasks-1")]


def test_project_that_ran_without_asking_is_not_expected_to_ask_next_time(board, gated, octopus, timeline, clock):
    board.release("ServerTasks-1")
    starts(octopus, board, "ServerTasks-900")
    octopus.tells(Effect.ENDED, "ServerTasks-900", outcome="succeeded")
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})

    starts(octopus, board, "ServerTasks-901")

    assert overlaps(timeline) == [("ServerTasks-901", "ServerTasks-2")]


def plans(octopus, board, task="ServerTasks-900", **fields):
    octopus.tells(Effect.STARTED, task, **fields)
    return board.observe(task, WEB, info={}, expects_step=True)


def test_plan_that_begins_with_a_step_holds_nothing_until_it_asks(board, octopus, timeline):
    assert plans(octopus, board) == "expected"

    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_granted
    assert board.join(RunRequest("ServerTasks-900"), {"Machines-7"}).is_waiting
    assert kinds(timeline, task_id="ServerTasks-900") == ["event", "expected", "joined"]


def test_plan_that_begins_with_a_step_ends_what_was_presumed(board, gated, octopus):
    octopus.tells(Effect.STARTED, "ServerTasks-900", info=INFO)
    board.release("ServerTasks-1")
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})

    assert board.observe("ServerTasks-900", WEB, info={}, expects_step=True) == "expected"

    assert board.place("ServerTasks-2").is_granted


def test_plan_that_begins_with_a_step_that_never_asks_is_observed(board, octopus, clock, timeline):
    plans(octopus, board)
    assert not board.place("ServerTasks-900").is_to_resolve

    clock.advance(seconds(121))
    board.sweep()

    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_waiting
    assert board.place("ServerTasks-900").state == "observed"


def test_plan_of_a_run_that_started_long_ago_is_observed_at_once(board, octopus):
    assert plans(octopus, board, ago=minutes(10)) == "observed"


def test_planned_run_that_ends_leaves_nothing(board, octopus, clock):
    plans(octopus, board)

    octopus.tells(Effect.ENDED, "ServerTasks-900")
    clock.advance(seconds(121))
    board.sweep()

    assert board.place("ServerTasks-900").state == "ended"
    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_granted
