"""Rule 24: no grant that nobody has collected is taken back while Octopus says that its task works."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.run import RunRequest, TaskEnd
from tests.integration.octopus_tells import Octopus as Teller
from tests.integration.reconciling import do, make_context, octopus
from tests.integration.rules.helpers import kinds, minutes, seconds
from workers import reconcile, watch

__all__ = ["make_context", "octopus"]

TTL, PROVISIONAL = seconds(50), seconds(60)
CLAIM = "0123456789abcdef"
SPACE = {"space_id": "Spaces-1"}

#: How it was granted: while its step was away, or in an answer that its step never confirms.
ASKS = {
    "wait": RunRequest("ServerTasks-1", info=SPACE),
    "wait with a claim": RunRequest("ServerTasks-1", info=SPACE, claim=CLAIM),
    "claim that a parked wait follows": RunRequest("ServerTasks-1", info=SPACE, claim=CLAIM, parked=True),
}


@pytest.fixture
def board(make_board):
    return make_board(Policy(has_key=True, waiter_ttl=TTL, provisional=PROVISIONAL))


@pytest.fixture(params=ASKS)
def run(request):
    return ASKS[request.param]


@pytest.fixture
def uncollected(board, clock, run):
    """ServerTasks-1 was granted Machines-7, which ServerTasks-2 wants as well, and its step was silent for too long."""
    if not run.claim:
        board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    board.join(run, {"Machines-7"})
    board.join(RunRequest("ServerTasks-2", info=SPACE, parked=True), {"Machines-7"})
    if not run.claim:
        board.release("ServerTasks-9")
    token = board.place("ServerTasks-1").fencing_token
    clock.advance(TTL + seconds(1))
    board.sweep()
    return token


def test_silence_takes_nothing_back(board, clock, uncollected, timeline):
    for _ in range(3):
        clock.advance(minutes(10))
        board.sweep()

    place = board.place("ServerTasks-1")
    assert place.is_granted and place.fencing_token == uncollected
    assert board.place("ServerTasks-2").is_waiting
    assert "expired" not in kinds(timeline)


def test_step_that_comes_late_collects_it(board, clock, run, uncollected):
    if run.claim:
        board.poll("ServerTasks-1", claim=CLAIM)

    place = board.poll("ServerTasks-1", claim=run.claim)

    assert place.is_granted and place.run.collected and place.fencing_token == uncollected
    assert not place.run.in_doubt


def test_step_that_asks_again_late_has_kept_it(board, run, uncollected):
    asked = board.join(run, {"Machines-7"})

    assert asked.is_granted and asked.fencing_token == uncollected
    assert board.place("ServerTasks-2").is_waiting


def test_end_in_octopus_frees_its_machine(board, clock, uncollected):
    seen = board.place("ServerTasks-1")

    assert board.release("ServerTasks-1", cause="reconciled", seen=seen, ended=TaskEnd("failed")) == "released"

    assert board.place("ServerTasks-2").is_granted


@pytest.mark.parametrize("job", [watch, reconcile], ids=["watch", "reconcile"])
@pytest.mark.parametrize("state", ["Executing", "Queued", "Cancelling"])
def test_jobs_leave_it_while_its_task_is_not_over(board, make_context, octopus, uncollected, job, state):
    octopus.has(1, state)
    octopus.has(2)

    for _ in range(2):
        do(make_context(board), job)

    assert board.place("ServerTasks-1").is_granted
    assert board.place("ServerTasks-2").is_waiting


@pytest.mark.parametrize("job", [watch, reconcile], ids=["watch", "reconcile"])
def test_jobs_end_it_when_its_task_is_over(board, make_context, octopus, uncollected, job):
    octopus.has(1, "Failed")
    octopus.has(2)

    do(make_context(board), job)

    assert board.place("ServerTasks-1").state == "released"
    assert board.place("ServerTasks-2").is_granted


@pytest.mark.parametrize("status", [403, 404])
def test_it_does_not_outlast_a_final_refusal_for_long(board, clock, make_context, octopus, uncollected, status):
    octopus.statuses["Spaces-1"] = octopus.statuses[""] = status
    do(make_context(board), watch)
    clock.advance(PROVISIONAL - seconds(1))
    board.sweep()
    assert board.place("ServerTasks-1").is_granted

    clock.advance(seconds(2))
    board.sweep()

    place = board.place("ServerTasks-1")
    assert (place.state, place.run.cause) == ("expired", "uncollected")


def test_key_that_is_refused_says_nothing_about_it(board, clock, make_context, octopus, uncollected):
    octopus.statuses["Spaces-1"] = octopus.statuses[""] = 401
    with pytest.raises(Exception, match="401"):
        do(make_context(board), watch)
    clock.advance(minutes(10))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


def test_step_that_comes_after_a_refusal_keeps_it(board, clock, run, uncollected):
    board.refuse_plan("ServerTasks-1")
    for _ in range(2):
        board.poll("ServerTasks-1", claim=run.claim)
    clock.advance(minutes(10))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted


def test_grant_that_is_not_in_doubt_is_not_ended_by_a_refusal(board, clock):
    board.join(RunRequest("ServerTasks-1", claim=CLAIM), {"Machines-7"})

    assert board.refuse_plan("ServerTasks-1") == "late"


def test_intervention_that_was_answered_collects_it(board, clock):
    """Its step heard of the grant and was killed; its task went on to the intervention, which octowait has answered."""
    board.join(ASKS["claim that a parked wait follows"], {"Machines-7"})
    board.answered("ServerTasks-1", "octowait", result="Proceed")
    clock.advance(timedelta(hours=9))
    board.sweep()

    place = board.place("ServerTasks-1")
    assert place.is_granted and place.run.collected and not place.run.in_doubt


def test_event_of_its_end_frees_its_machine(board, clock, uncollected):
    assert Teller(board, clock).tells(Effect.ENDED, "ServerTasks-1") == "applied"

    assert board.place("ServerTasks-2").is_granted


@pytest.mark.parametrize("has_claim", [True, False])
def test_grant_that_waits_again_after_a_loss_is_in_doubt_no_more(board, clock, has_claim):
    claim = CLAIM if has_claim else None
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-1", claim=claim), {"Machines-7"})
    board.release("ServerTasks-9")
    clock.advance(TTL + seconds(1))
    board.sweep()
    board.close(by="ann")

    assert board.poll("ServerTasks-1", claim=claim).is_waiting

    assert not board.place("ServerTasks-1").run.in_doubt


def test_without_a_key_nobody_can_be_asked(make_board, clock):
    board = make_board(Policy(waiter_ttl=TTL))
    board.join(RunRequest("ServerTasks-1", claim=CLAIM), {"Machines-7"})
    board.script.offset_ms += 60_000
    board.sweep()

    assert board.place("ServerTasks-1").state == "expired"
