"""Rule 9: paused is busy, unless the setting says otherwise."""

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.conftest import Clock
from tests.integration.octopus_tells import WEB, Octopus
from tests.integration.rules.helpers import minutes, seconds


def test_paused_holder_keeps_its_machines(board, a_run, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.PAUSED) == "applied"

    place = board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    assert place.is_waiting
    assert "is paused on it" in place.message


def test_resumed_holder_is_no_longer_shown_as_paused(board, octopus, clock):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    clock.advance(seconds(5))
    octopus.tells(Effect.RESUMED)

    assert "has held it" in board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).message


@pytest.fixture
def yielding(make_board):
    board = make_board(Policy(paused_holds=False))
    return board, Octopus(board, Clock(board)), Clock(board)


def test_paused_holder_gives_way_where_the_setting_says_so(yielding):
    board, octopus, _ = yielding
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})

    octopus.tells(Effect.PAUSED)

    assert "give way" in board.place("ServerTasks-1").reason
    assert board.place("ServerTasks-2").is_granted


def test_run_that_gave_way_is_observed_when_it_resumes(yielding):
    board, octopus, clock = yielding
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    clock.advance(minutes(5))

    assert octopus.tells(Effect.RESUMED) == "applied"

    assert board.place("ServerTasks-1").state == "observed"
    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_waiting


def test_resuming_into_the_lease_of_another_is_an_overlap(yielding, timeline):
    board, octopus, clock = yielding
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    assert board.poll("ServerTasks-2").is_granted
    clock.advance(minutes(5))

    octopus.tells(Effect.RESUMED)

    [record] = timeline.read(Filter(kind="overlapped"))
    assert record.detail["with"] == "ServerTasks-2"


def test_pause_that_arrives_after_its_resumption_takes_nothing_away(yielding):
    board, octopus, clock = yielding
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    clock.advance(minutes(5))
    octopus.tells(Effect.RESUMED, ago=seconds(1))

    assert octopus.tells(Effect.PAUSED, ago=seconds(60)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_pause_of_an_earlier_run_takes_nothing_away(yielding):
    board, octopus, clock = yielding
    octopus.tells(Effect.ENDED, ago=seconds(60))
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.PAUSED, ago=seconds(90)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_resumption_that_arrives_after_the_end_leaves_nothing_held(yielding):
    board, octopus, clock = yielding
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    clock.advance(minutes(5))
    octopus.tells(Effect.ENDED)

    octopus.tells(Effect.RESUMED, ago=seconds(60))

    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_granted


def test_a_run_paused_before_its_machines_are_known_gives_way_where_paused_runs_do(make_board):
    board = make_board(Policy(paused_holds=False))
    octopus = Octopus(board, Clock(board))
    octopus.tells(Effect.STARTED, ago=seconds(2))
    octopus.tells(Effect.PAUSED, ago=seconds(1))

    assert board.observe("ServerTasks-1", WEB, info={}) == "late"
    assert board.place("ServerTasks-1").state == "ended"
    assert octopus.tells(Effect.RESUMED) == "applied"
    assert board.place("ServerTasks-1").state == "observed"
