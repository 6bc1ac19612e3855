"""Rule 17: one clock, and its tolerance towards that of Octopus."""

from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.integration.rules.helpers import minutes, seconds


def test_end_within_the_tolerance_before_the_request_counts(board, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=seconds(4)) == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_end_before_the_request_by_more_than_the_tolerance_is_of_an_earlier_run(board, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=seconds(6)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_timeline_does_not_go_back_when_the_clock_does(board, timeline, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    clock.advance(-minutes(10))

    board.join(a_run(), {"Machines-7"})

    records = list(timeline.read(Filter()))
    assert [record.kind for record in records] == ["joined", "granted", "joined"]
    assert len({record.id for record in records}) == 3
