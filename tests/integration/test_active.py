"""Which runs Octopus is asked about, what is missing of a batch, and how abandoned tasks end."""

from datetime import timedelta

import pytest

from app.coordination.batches import Batches, Gap
from app.coordination.board import Policy
from app.coordination.tracked import TrackedRuns
from app.domain.events import Batch, Effect
from app.domain.records import Filter
from app.domain.run import RunRequest, TaskEnd
from app.history.timeline import Timeline
from tests.conftest import Clock
from tests.integration.octopus_tells import WEB, Octopus

A, B = "Machines-1", "Machines-2"


@pytest.fixture
def tracked(board):
    return TrackedRuns(board.client, board.keys)


@pytest.fixture
def batches(board):
    return Batches(board.client, board.keys)


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


def seconds(number):
    return timedelta(seconds=number)


def test_holders_come_before_waiters_and_each_once(board, tracked):
    board.join(RunRequest("ServerTasks-1"), {A, B})
    board.join(RunRequest("ServerTasks-2"), {A, B})
    board.reserve(A, note="disk", by="ann")

    assert tracked.tasks() == ["ServerTasks-1", "ServerTasks-2"]


def test_watched_are_the_holders_that_somebody_waits_for(board, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    board.join(RunRequest("ServerTasks-2"), {B})
    octopus.runs("ServerTasks-3", [{"id": "Machines-10", "name": "db"}])
    assert board.watched() == []

    board.join(RunRequest("ServerTasks-4"), {A, "Machines-10"})
    board.join(RunRequest("ServerTasks-5"), {A})

    assert sorted(board.watched()) == ["ServerTasks-1", "ServerTasks-3"]


def test_long_line_is_looked_at_once(board):
    board.join(RunRequest("ServerTasks-1"), {A})
    board.join(RunRequest("ServerTasks-2"), {B})
    for number in range(3, 9):
        board.join(RunRequest(f"ServerTasks-{number}"), {A})
    board.join(RunRequest("ServerTasks-9"), {B})

    assert board.watched(most=2) == ["ServerTasks-1", "ServerTasks-2"]


def test_each_has_its_turn_whatever_their_number(board, tracked):
    tasks = [f"ServerTasks-{number}" for number in range(120)]

    turns = [tracked.in_turn(tasks, 50) for _ in range(3)]

    assert sorted(turns[0] + turns[1] + turns[2][:20]) == sorted(tasks)
    assert tracked.in_turn([], 50) == []


def test_gap_of_a_batch_is_told_once_when_no_more_of_it_comes(batches, clock, octopus):
    for number in (1, 2, 5):
        octopus.tells(Effect.OTHER, batch=Batch("b-1", number, 7))
    assert batches.take_gaps(quiet_ms=30_000, now_ms=clock.now_ms) == []

    clock.advance(seconds(31))

    assert batches.take_gaps(quiet_ms=30_000, now_ms=clock.now_ms) == [Gap("b-1", 3, 7)]
    assert batches.take_gaps(quiet_ms=30_000, now_ms=clock.now_ms) == []


def test_batch_that_came_whole_has_no_gap_however_it_came(batches, clock, octopus):
    doubled = octopus.event(Effect.OTHER, batch=Batch("b-1", 2, 2))
    board = octopus._board
    for event in (doubled, doubled, octopus.event(Effect.OTHER, batch=Batch("b-1", 1, 2))):
        board.deliver(event)

    clock.advance(seconds(31))

    assert batches.take_gaps(quiet_ms=30_000, now_ms=clock.now_ms) == []
    assert not board.client.exists(board.keys.batches)


def test_event_that_a_repair_brings_says_so_and_how_late(board, octopus, timeline):
    board.join(RunRequest("ServerTasks-1"), {A})

    board.deliver(octopus.event(Effect.ENDED, ago=seconds(-1), occurred_ms=octopus._clock.now_ms), via="catch_up")

    record = next(timeline.read(Filter(kind="event")))
    assert record.detail["via"] == "catch_up"
    assert 0 <= record.detail["late_ms"] < 1000


def test_end_that_was_reconciled_says_how_late(board, clock, timeline):
    board.join(RunRequest("ServerTasks-1"), {A})
    ended_ms = clock.now_ms
    clock.advance(seconds(20))

    board.release("ServerTasks-1", cause="reconciled", ended=TaskEnd("failed", ended_ms))

    record = next(timeline.read(Filter(kind="released")))
    assert record.cause == "reconciled"
    assert record.detail["outcome"] == "failed"
    assert 20_000 <= record.detail["late_ms"] < 21_000


def test_late_event_of_a_reconciled_end_does_not_end_the_run_anew(board, clock, octopus):
    """The task is run again at once, and its second run has the machine when the event of the first end comes."""
    board.join(RunRequest("ServerTasks-1"), {A})
    end = octopus.event(Effect.ENDED)
    board.release("ServerTasks-1", cause="reconciled", ended=TaskEnd("failed", end.occurred_ms))
    clock.advance(seconds(2))
    board.join(RunRequest("ServerTasks-1"), {A})

    board.deliver(end)

    assert board.place("ServerTasks-1").is_granted


def test_reconciler_that_looked_before_the_run_anew_ends_nothing(board, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    seen = board.place("ServerTasks-1")
    octopus.tells(Effect.STARTED, ago=seconds(-1))

    assert board.release("ServerTasks-1", cause="reconciled", seen=seen, ended=TaskEnd("failed")) == "nothing"

    assert board.place("ServerTasks-1").is_granted


# Abandoned tasks


@pytest.fixture
def patient(make_board):
    return make_board(Policy(abandoned_grace=timedelta(minutes=5)))


def abandoned(board, clock):
    """A holder whose task Octopus could not cancel for eleven minutes."""
    board.join(RunRequest("ServerTasks-1"), {A})
    board.note_cancelling(board.place("ServerTasks-1"))
    clock.advance(timedelta(minutes=11))
    board.join(RunRequest("ServerTasks-2", parked=True), {A})
    return TaskEnd("canceled", clock.now_ms)


def test_abandoned_task_keeps_its_machines_for_its_grace_time(patient):
    clock = Clock(patient)
    end = abandoned(patient, clock)

    assert patient.release("ServerTasks-1", cause="reconciled", ended=end) == "grace"
    assert patient.place("ServerTasks-2").is_waiting
    clock.advance(timedelta(minutes=6))
    patient.sweep()

    assert patient.place("ServerTasks-2").is_granted
    records = Timeline(patient.client, patient.keys).read(Filter(task_id="ServerTasks-1"))
    assert [(r.kind, r.cause) for r in records][-2:] == [("abandoned", None), ("released", "abandoned")]


def test_event_of_an_abandoned_task_leaves_it_its_grace_time(patient):
    clock = Clock(patient)
    abandoned(patient, clock)

    Octopus(patient, clock).tells(Effect.ENDED, outcome="canceled")

    assert patient.place("ServerTasks-2").is_waiting


def test_grace_time_is_not_prolonged_by_looking_again(patient):
    clock = Clock(patient)
    end = abandoned(patient, clock)
    for _ in range(4):
        patient.release("ServerTasks-1", cause="reconciled", ended=end)
        clock.advance(timedelta(minutes=2))

    patient.sweep()

    assert patient.place("ServerTasks-2").is_granted


def test_task_that_was_cancelled_soon_needs_no_grace(patient):
    patient.join(RunRequest("ServerTasks-1"), {A})
    patient.note_cancelling(patient.place("ServerTasks-1"))

    assert patient.release("ServerTasks-1", cause="reconciled", ended=TaskEnd("canceled")) == "released"


def test_without_a_grace_time_an_abandoned_task_ends_at_once(board, clock):
    end = abandoned(board, clock)

    assert board.release("ServerTasks-1", cause="reconciled", ended=end) == "released"


def test_run_anew_of_an_abandoned_task_is_not_ended_by_its_grace_time(patient):
    clock = Clock(patient)
    end = abandoned(patient, clock)
    patient.release("ServerTasks-1", cause="reconciled", ended=end)

    patient.join(RunRequest("ServerTasks-1"), {A})
    clock.advance(timedelta(minutes=6))
    patient.sweep()

    assert patient.place("ServerTasks-1").is_granted


def test_observed_run_that_was_abandoned_keeps_its_machines_too(patient):
    clock = Clock(patient)
    octopus = Octopus(patient, clock)
    octopus.runs("ServerTasks-1", WEB)
    octopus.tells(Effect.ENDED, outcome="abandoned")

    assert patient.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_waiting
    clock.advance(timedelta(minutes=6))

    patient.sweep()

    assert patient.join(RunRequest("ServerTasks-3"), {"Machines-7"}).is_granted


@pytest.mark.parametrize("was", ["granted", "observed"])
def test_run_anew_of_an_abandoned_task_keeps_its_machines_beyond_the_grace_time(patient, was):
    """The grace time was the first run's; the second is at work when it is over."""
    clock = Clock(patient)
    octopus = Octopus(patient, clock)
    if was == "observed":
        octopus.runs("ServerTasks-1", WEB)
    else:
        patient.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    patient.note_cancelling(patient.place("ServerTasks-1"))
    clock.advance(timedelta(minutes=11))
    octopus.tells(Effect.ENDED, outcome="canceled")
    clock.advance(timedelta(minutes=1))

    octopus.tells(Effect.STARTED)
    clock.advance(timedelta(minutes=30))

    assert patient.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_waiting
    octopus.tells(Effect.ENDED, outcome="succeeded")
    assert patient.place("ServerTasks-2").is_granted
    assert patient.client.zrange(patient.keys.holders, 0, -1) == [b"machines-7\0lease\0ServerTasks-2"]
