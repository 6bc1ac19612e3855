"""Rule 15 where Redis is not empty but older than it should be: a restored backup, a fail-over that lagged."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest, TaskEnd
from tests.integration.octopus_tells import WEB, Octopus

SETTLED = timedelta(seconds=45)


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


@pytest.fixture
def restored(board, clock):
    """ServerTasks-2 and 3 wait for Machines-7 behind ServerTasks-1, as far as the backup knows; the board is closed."""
    for number in (1, 2, 3):
        board.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})
    clock.advance(timedelta(seconds=1))
    board.close(by="ann", reason="restored a backup")
    clock.advance(timedelta(seconds=1))
    return board


def state(board, number):
    return str(board.place(f"ServerTasks-{number}").state)


def test_silent_waiter_that_octopus_runs_is_at_work(restored, clock, timeline):
    """It was granted after the backup was made, and its step has ended."""
    restored.poll("ServerTasks-3")
    clock.advance(SETTLED)

    assert [restored.recover(f"ServerTasks-{number}", paused=False) for number in (2, 3)] == ["observed", "kept"]

    assert (state(restored, 2), state(restored, 3)) == ("observed", "waiting")
    restored.release("ServerTasks-1", cause="reconciled", ended=TaskEnd("succeeded"))
    restored.open("rebuilt")
    assert state(restored, 3) == "waiting", "ServerTasks-2 is on its machine"
    assert [(r.task_id, r.cause) for r in timeline.read(Filter(kind="observed"))] == [("ServerTasks-2", "rebuilt")]
    restored.release("ServerTasks-2", cause="reconciled", ended=TaskEnd("succeeded"))
    assert state(restored, 3) == "granted"


def test_silent_waiter_is_one_when_octowait_was_away_since_the_board_was_closed(restored, clock):
    """It could not show life: its time counts from when octowait serves again."""
    restored.sweep(serving=True)
    clock.advance(timedelta(seconds=70))
    restored.sweep(serving=True)
    away_until_ms = clock.now_ms
    assert abs(restored.settling_since_ms() - away_until_ms) < 1000
    for _ in range(5):
        clock.advance(timedelta(seconds=9))
        restored.sweep(serving=True)
        restored.poll("ServerTasks-2")

    assert restored.recover("ServerTasks-2", paused=False) == "kept"
    assert restored.recover("ServerTasks-3", paused=False) == "observed"


def test_lease_that_was_collected_after_the_backup_is_not_taken_back(restored, clock):
    restored.release("ServerTasks-1")
    restored.open("operator")
    assert state(restored, 2) == "granted"
    clock.advance(timedelta(seconds=1))
    restored.close(by="ann")
    clock.advance(SETTLED)

    restored.recover("ServerTasks-2", paused=False)
    clock.advance(timedelta(minutes=10))
    restored.sweep()

    assert state(restored, 2) == "granted"


def test_run_whose_time_was_over_before_anybody_could_ask_octopus_is_there(restored, clock):
    """As that of all who are silent."""
    clock.advance(timedelta(minutes=5))
    restored.sweep()
    assert state(restored, 2) == "waiting", "a closed board expires nobody"

    assert restored.recover("ServerTasks-2", paused=False) == "observed"

    restored.release("ServerTasks-1")
    restored.open("rebuilt")
    assert restored.join(RunRequest("ServerTasks-4"), {"Machines-7"}).is_waiting
    clock.advance(timedelta(days=100))
    restored.sweep()
    assert state(restored, 2) == "observed", "it is no longer one that is forgotten"


def test_run_that_ended_unresolved_is_to_be_resolved(make_board, clock):
    board = make_board(Policy(paused_holds=False))
    octopus = Octopus(board, clock)
    octopus.tells(Effect.STARTED)
    octopus.tells(Effect.PAUSED)
    board.observe("ServerTasks-1", [], info={})
    assert state(board, 1) == "ended"
    board.close(by="ann")

    assert board.recover("ServerTasks-1", paused=True) == "kept", "a paused run gives way here"
    assert board.recover("ServerTasks-1", paused=False) == "unresolved"

    assert board.observe("ServerTasks-1", WEB, info={}) == "observed"


@pytest.mark.parametrize("end", ["its step", "its event", "force", "reconciled"])
def test_end_that_somebody_told_of_stands(board, clock, octopus, end):
    """Octopus lists a task a moment before it ends, and a release step is not the end of its task."""
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.close(by="ann")
    match end:
        case "its step":
            board.release("ServerTasks-1")
        case "its event":
            octopus.tells(Effect.ENDED)
        case "force":
            board.release("ServerTasks-1", cause="forced", by="ann", reason="its server died")
        case "reconciled":
            board.release("ServerTasks-1", cause="reconciled", ended=TaskEnd("failed"))

    assert board.recover("ServerTasks-1", paused=False) == "kept"

    assert state(board, 1) == "released"


def test_parked_wait_that_was_over_and_is_still_paused_is_aborted_all_the_same(board, clock):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2", parked=True, timeout=timedelta(seconds=60)), {"Machines-7"})
    clock.advance(timedelta(seconds=61))
    board.close(by="ann")

    assert board.recover("ServerTasks-2", paused=True) == "kept"

    assert (state(board, 2), board.sweep().resumes) == ("timed_out", True)


def test_nobody_is_taken_out_of_line_once_an_operator_has_opened(restored, clock):
    clock.advance(SETTLED)
    restored.open("operator")

    assert restored.recover("ServerTasks-2", paused=False) == "kept"

    assert state(restored, 2) == "waiting"
