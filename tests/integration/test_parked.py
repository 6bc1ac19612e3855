"""Rules 11 and 12: waits that use no task slot, and those that do."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.coordination.tracked import TrackedRuns
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.conftest import Clock
from tests.integration.octopus_tells import Octopus

A, B = "Machines-1", "Machines-2"


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


@pytest.fixture
def due(board, clock):
    """The parked runs whose intervention is to be answered now."""
    return lambda: TrackedRuns(board.client, board.keys).due_resumes(clock.now_ms)


def seconds(number):
    return timedelta(seconds=number)


def park(board, number, machines=(A,), **fields):
    return board.join(RunRequest(f"ServerTasks-{number}", parked=True, **fields), machines)


def state(board, number):
    return str(board.place(f"ServerTasks-{number}").state)


# Rule 11: parked waits


def test_claim_that_is_granted_at_once_has_nothing_to_resume(board, due):
    assert park(board, 1).is_granted

    assert due() == []


def test_parked_waiter_is_to_be_resumed_when_its_turn_comes(board, due):
    board.join(RunRequest("ServerTasks-1"), {A})
    assert park(board, 2).is_waiting
    assert due() == []

    board.release("ServerTasks-1")

    assert due() == ["ServerTasks-2"]
    assert board.sweep().resumes


def test_parked_waiter_lives_without_a_sign_of_life(board, clock, due):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)

    clock.advance(timedelta(hours=3))
    board.sweep()
    board.release("ServerTasks-1")
    clock.advance(timedelta(hours=3))
    board.sweep()

    assert state(board, 2) == "granted"


def test_claim_whose_first_answer_was_lost_is_not_resumed(board, due):
    """It hears of its grant when it asks again, and its deployment goes on without an intervention."""
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")

    assert park(board, 2).is_granted

    assert due() == []


def test_parked_waiter_that_times_out_is_to_be_aborted(board, clock, due):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2, timeout=seconds(60))

    clock.advance(seconds(61))
    board.sweep()

    assert state(board, 2) == "timed_out"
    assert due() == ["ServerTasks-2"]


def test_parked_waiter_that_an_operator_takes_out_is_to_be_aborted(board, due):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)

    board.release("ServerTasks-2", cause="forced", by="ann", reason="not today")

    assert due() == ["ServerTasks-2"]


def test_granted_run_that_is_forced_before_it_was_resumed_is_to_be_aborted(board, due):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")

    board.release("ServerTasks-2", cause="forced", by="ann", reason="not today")

    assert due() == ["ServerTasks-2"]


def test_run_that_was_resumed_and_is_forced_later_is_not_aborted(board, due):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")
    board.answered("ServerTasks-2", "octowait", result="Proceed")

    board.release("ServerTasks-2", cause="forced", by="ann", reason="its server died")

    assert due() == []


def test_parked_run_whose_task_ends_has_nothing_to_answer(board, due, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    park(board, 3)

    octopus.tells(Effect.ENDED, "ServerTasks-3")
    board.release("ServerTasks-1")
    octopus.tells(Effect.ENDED, "ServerTasks-2")

    assert (state(board, 2), state(board, 3)) == ("released", "left")
    assert due() == []


def test_waiter_that_claims_instead_of_waiting_lives_on_without_polls(board, clock):
    board.join(RunRequest("ServerTasks-1", parked=True), {A})
    board.join(RunRequest("ServerTasks-2"), {A})

    assert park(board, 2).place == 1
    clock.advance(timedelta(hours=1))
    board.sweep()

    assert state(board, 2) == "waiting"
    assert not board.client.exists(board.keys.blocking)


def test_claim_that_waits_in_a_step_after_all_dies_like_one(board, clock):
    board.join(RunRequest("ServerTasks-1", parked=True), {A})
    park(board, 2)

    board.join(RunRequest("ServerTasks-2"), {A})
    clock.advance(timedelta(hours=1))
    board.sweep()

    assert state(board, 2) == "expired"


def test_answer_is_recorded_and_ends_the_asking(board, due, timeline):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")

    assert board.answered("ServerTasks-2", "octowait", result="Proceed", interruption="Interruptions-5") == "answered"

    assert due() == []
    record = next(timeline.read(Filter(kind="resumed")))
    assert (record.task_id, record.cause) == ("ServerTasks-2", "octowait")
    assert record.detail == {"result": "Proceed", "interruption": "Interruptions-5"}


def test_answer_that_is_put_off_is_due_later(board, clock, due, timeline):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")

    board.put_off("ServerTasks-2", seconds(10), why="no intervention")
    assert due() == []
    clock.advance(seconds(11))

    assert due() == ["ServerTasks-2"]
    assert [record.detail["reason"] for record in timeline.read(Filter(kind="not_resumed"))] == ["no intervention"]


def test_event_of_its_intervention_ends_the_pause(board, due, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")
    board.put_off("ServerTasks-2", seconds(300))
    assert due() == []

    octopus.tells(Effect.PAUSED, "ServerTasks-2")

    assert due() == ["ServerTasks-2"]


def test_answer_for_a_run_that_has_ended_is_not_put_off(board):
    board.join(RunRequest("ServerTasks-1"), {A})

    assert board.put_off("ServerTasks-1", seconds(10)) == "late"


def test_run_that_a_person_lets_go_on_before_its_turn_is_observed(board, timeline):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    park(board, 3)

    outcome = board.answered("ServerTasks-2", "by_hand", result="Proceed", by="Users-7")

    assert outcome == "overridden"
    assert state(board, 2) == "observed"
    assert [(r.kind, r.cause) for r in timeline.read(Filter(task_id="ServerTasks-2"))][-3:] == [
        ("resumed", "by_hand"), ("observed", "by_hand"), ("overlapped", "by_hand"),
    ]  # fmt: skip
    board.release("ServerTasks-1")
    assert state(board, 3) == "waiting", "the one that was let go on is there"
    board.release("ServerTasks-2")
    assert state(board, 3) == "granted"


def test_decision_on_what_has_changed_since_is_late(board):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    seen = board.place("ServerTasks-2")
    board.release("ServerTasks-1")

    assert board.answered("ServerTasks-2", "by_hand", seen=seen, result="Proceed") == "late"

    assert state(board, 2) == "granted"


@pytest.mark.parametrize("end", ["timed out", "forced"])
def test_run_that_a_person_lets_go_on_after_its_turn_was_over_is_observed(board, clock, timeline, end):
    """It is on its machines, whoever holds them by now."""
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2, timeout=seconds(60))
    if end == "forced":
        board.release("ServerTasks-1")
        board.release("ServerTasks-2", cause="forced", by="ann", reason="not today")
    else:
        clock.advance(seconds(61))
        board.sweep()

    assert board.answered("ServerTasks-2", "by_hand", result="Proceed", by="Users-7") == "overridden"

    assert state(board, 2) == "observed"
    board.release("ServerTasks-1")
    assert board.join(RunRequest("ServerTasks-3"), {A}).is_waiting


def test_run_that_is_forced_while_it_is_resumed_is_observed(board, due, timeline):
    """The worker has decided to proceed, and says so to Octopus while the operator takes the lease away."""
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    park(board, 3)
    board.release("ServerTasks-1")
    board.release("ServerTasks-2", cause="forced", by="ann", reason="stuck")
    assert state(board, 3) == "granted"

    board.answered("ServerTasks-2", "octowait", result="Proceed")

    assert state(board, 2) == "observed"
    assert "ServerTasks-2" not in due()
    assert [r.detail["with"] for r in timeline.read(Filter(kind="overlapped"))] == ["ServerTasks-3"]


def test_run_that_was_resumed_and_gave_back_before_that_was_noted_is_not_observed(board):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")
    board.release("ServerTasks-2")

    assert board.answered("ServerTasks-2", "octowait", result="Proceed") == "answered"

    assert state(board, 2) == "released"


def test_run_whose_task_has_ended_is_not_observed_for_an_answer(board, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-2", cause="forced", by="ann", reason="stuck")
    octopus.tells(Effect.ENDED, "ServerTasks-2")

    assert board.answered("ServerTasks-2", "by_hand", result="Proceed") == "answered"

    assert state(board, 2) == "left"


def test_event_that_it_goes_on_is_an_answer_by_hand(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    clock.advance(seconds(60))

    assert octopus.tells(Effect.RESUMED, "ServerTasks-2") == "applied"

    assert state(board, 2) == "observed"


def test_event_of_an_earlier_pause_is_no_answer(board, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)

    octopus.tells(Effect.RESUMED, "ServerTasks-2", ago=seconds(30))

    assert state(board, 2) == "waiting"


def test_pause_of_a_parked_run_does_not_take_its_lease(make_board, a_run):
    """Its grant was faster than the event of the pause that it waited in."""
    board = make_board(Policy(paused_holds=False))
    clock = Clock(board)
    octopus = Octopus(board, clock)
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    pause = octopus.event(Effect.PAUSED, "ServerTasks-2")
    board.release("ServerTasks-1")

    board.deliver(pause)
    assert state(board, 2) == "granted"
    board.answered("ServerTasks-2", "octowait", result="Proceed")
    clock.advance(seconds(60))
    octopus.tells(Effect.PAUSED, "ServerTasks-2")

    assert state(board, 2) == "released", "a later pause is one of its work"


def test_pause_that_it_is_parked_in_does_not_take_its_lease_however_late_it_is_raised(make_board):
    """Octopus raises the intervention some seconds after the grant, and nobody would answer it any more."""
    board = make_board(Policy(paused_holds=False))
    clock = Clock(board)
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-1")
    clock.advance(seconds(20))

    Octopus(board, clock).tells(Effect.PAUSED, "ServerTasks-2")

    assert state(board, 2) == "granted"
    assert board.sweep().resumes


def test_run_anew_has_no_intervention_of_the_run_before(board, clock, due, octopus):
    board.join(RunRequest("ServerTasks-1"), {A})
    park(board, 2)
    board.release("ServerTasks-2", cause="forced", by="ann", reason="stuck")
    clock.advance(seconds(60))

    octopus.tells(Effect.STARTED, "ServerTasks-2")

    assert due() == []


# Rule 12: the task cap


@pytest.fixture
def capped(make_board):
    return make_board(Policy(task_cap=5, task_cap_reserve=2))


def test_blocking_waiter_that_would_reach_the_cap_is_refused(capped):
    capped.join(RunRequest("ServerTasks-1"), {A})
    places = [capped.join(RunRequest(f"ServerTasks-{number}"), {A}) for number in (2, 3, 4)]

    assert [str(place.state) for place in places] == ["waiting", "waiting", "refused"]
    assert "parked wait" in places[-1].message
    assert "2 deployments wait" in places[-1].message


def test_refused_waiter_is_in_no_line_and_may_ask_again(capped):
    for number in (1, 2, 3, 4):
        capped.join(RunRequest(f"ServerTasks-{number}"), {A})
    capped.release("ServerTasks-2")

    assert capped.join(RunRequest("ServerTasks-4"), {A}).place == 2


def test_run_that_need_not_wait_is_never_refused(capped):
    for number in (1, 2, 3):
        capped.join(RunRequest(f"ServerTasks-{number}"), {A})

    assert capped.join(RunRequest("ServerTasks-9"), {B}).is_granted


def test_parked_waiters_do_not_count(capped):
    capped.join(RunRequest("ServerTasks-1"), {A})
    for number in range(10, 20):
        assert park(capped, number).is_waiting

    assert capped.join(RunRequest("ServerTasks-2"), {A}).is_waiting


def test_asking_again_is_not_refused(capped):
    for number in (1, 2, 3):
        capped.join(RunRequest(f"ServerTasks-{number}"), {A})

    assert capped.join(RunRequest("ServerTasks-3"), {A}).is_waiting


@pytest.mark.parametrize("gone", ["grant", "leave", "expiry", "end"])
def test_slot_of_one_that_waits_no_longer_is_free(capped, gone):
    clock = Clock(capped)
    for number in (1, 2, 3):
        capped.join(RunRequest(f"ServerTasks-{number}"), {A})

    match gone:
        case "grant":
            capped.release("ServerTasks-1")
        case "leave":
            capped.release("ServerTasks-3")
        case "expiry":
            clock.advance(timedelta(minutes=5))
        case "end":
            Octopus(capped, clock).tells(Effect.ENDED, "ServerTasks-3")

    assert capped.join(RunRequest("ServerTasks-4"), {A}).is_waiting


def test_without_a_known_cap_nobody_is_refused(board):
    for number in range(50):
        assert str(board.join(RunRequest(f"ServerTasks-{number}"), {A}).state) != "refused"


def test_lease_of_a_claim_that_a_person_let_go_on_does_not_end_for_want_of_a_collection(board, clock):
    """Its step hears of the grant in the answer to its request, and has been let go on before it could confirm that."""
    assert park(board, 1, claim="a" * 32).is_granted

    board.answered("ServerTasks-1", "by_hand", result="Proceed", by="Users-7")
    clock.advance(seconds(3600))
    board.sweep(serving=True)
    board.sweep()
    clock.advance(seconds(3600))
    board.sweep()

    assert state(board, 1) == "granted"
