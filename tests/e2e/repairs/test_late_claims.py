"""The first request of a claim comes late: the claim has asked again, was told to wait, and left."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.coordination.board import Board
from app.domain.run import RunRequest
from tests.e2e.repairs.helpers import calls, deploys, machine, parks, records
from tests.simulator.control import SimulatedOctopus
from tests.simulator.steps import manual, work
from workers import reconcile, resume, watch


@pytest.fixture
def claimed(board: Board, octopus: SimulatedOctopus) -> RunRequest:
    """A run that was told to wait for web-01, whose deployment is paused since."""
    board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
    run = RunRequest(parks(octopus, "Web").task_id, parked=True, info={"space_id": octopus.space_id})
    assert board.join(run, {machine(octopus)}).is_waiting
    return run


@pytest.mark.parametrize("job", [reconcile, watch])
def test_claim_whose_first_request_comes_after_its_grant_is_resumed(board, octopus, do, claimed, job):
    """It had asked again, was told to wait, and left; what its first request hears of the grant nobody reads."""
    board.join(RunRequest("ServerTasks-901", parked=True), {machine(octopus)})
    board.release("ServerTasks-900")
    assert board.join(claimed, {machine(octopus)}).is_granted
    do(resume)
    assert octopus.task(claimed.task_id)["HasPendingInterruptions"], "nobody is about to answer it"

    do(job)
    do(resume)

    assert octopus.wait_for(claimed.task_id)["State"] == "Success"
    assert [(r.cause, r.detail["result"]) for r in records(board, kind="resumed")] == [("octowait", "Proceed")]


def test_claim_whose_first_request_comes_after_its_time_out_is_resumed_in_its_turn(board, clock, octopus, do):
    """It joins anew, later than the intervention was raised that is to be answered."""
    board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
    parked = parks(octopus, "Web")
    run = RunRequest(parked.task_id, parked=True, timeout=timedelta(minutes=1), info={"space_id": octopus.space_id})
    board.join(run, {machine(octopus)})
    clock.advance(timedelta(minutes=2))
    assert board.join(run, {machine(octopus)}).is_new

    board.release("ServerTasks-900")
    do(resume)

    assert octopus.wait_for(parked)["State"] == "Success"


def test_granted_run_that_is_paused_for_a_person_is_not_looked_at_all_the_time(board, clock, octopus, do):
    """Its claim was granted at once, and an approval of its own lasts for hours (P7)."""
    approval = deploys(
        octopus, "Db", steps=[manual("Approve", instructions="Ask Jane"), work("d", machines=["web-01"])]
    )
    octopus.wait_for(approval, is_paused=True)
    info = {"space_id": octopus.space_id}
    assert board.join(RunRequest(approval.task_id, parked=True, info=info), {machine(octopus)}).is_granted
    before = calls(octopus)

    for _ in range(5):
        do(reconcile)

    assert calls(octopus) - before == 5 + 1
    assert not board.sweep().resumes
