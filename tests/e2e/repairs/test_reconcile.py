"""Reconcile and watch: ends that nobody told are found in the states of the tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.coordination.board import Policy
from app.domain.run import RunRequest
from app.octopus.errors import OctopusBusy, OctopusUnreachable
from tests.conftest import Clock
from tests.e2e.repairs.helpers import asked_for, calls, deploys, do_in, records, state
from tests.simulator.steps import work
from workers import catch_up, reconcile, watch


def test_holder_whose_task_has_ended_is_released(board, octopus, do):
    one = deploys(octopus, "Web")
    board.join(RunRequest(one.task_id, info={"space_id": octopus.space_id}), {"Machines-1"})
    board.join(RunRequest("ServerTasks-900"), {"Machines-1"})
    octopus.cancel(one)
    octopus.wait_for(one, "Canceled")

    do(watch)

    assert state(board, "ServerTasks-900") == "granted"
    [released] = records(board, kind="released")
    assert (released.cause, released.detail["outcome"]) == ("reconciled", "canceled")
    assert released.detail["late_ms"] >= 0


def test_holder_whose_task_runs_keeps_its_machines(board, octopus, do):
    one = deploys(octopus, "Web")
    board.join(RunRequest(one.task_id), {"Machines-1"})
    board.join(RunRequest("ServerTasks-900"), {"Machines-1"})

    do(watch)
    do(reconcile)

    assert state(board, one) == "granted"


def test_holder_whose_task_is_queued_again_is_released_for_the_end_of_its_first_run(board, octopus, context, do):
    """Its end was lost, and the slots are all taken by those that wait for it: its state says nothing of that end."""
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    board.join(RunRequest(one.task_id), {"Machines-1"})
    octopus.wait_for(one, "Success")
    octopus.task_cap(0)
    octopus.rerun(one)
    board.join(RunRequest("ServerTasks-900"), {"Machines-1"})

    do(watch)
    assert (state(board, one), asked_for(context, "catch_up")) == ("granted", True)
    do(catch_up)

    assert (state(board, one), state(board, "ServerTasks-900")) == ("released", "granted")


def test_watch_asks_nothing_while_nobody_waits(board, octopus, do):
    one = deploys(octopus, "Web")
    board.join(RunRequest(one.task_id), {"Machines-1"})
    before = calls(octopus)

    do(watch)

    assert calls(octopus) == before


def test_watch_is_one_request_whatever_the_number_of_waiters(board, octopus, do):
    holders = [deploys(octopus, f"P{number}") for number in range(3)]
    for number, holder in enumerate(holders):
        board.join(RunRequest(holder.task_id, info={"space_id": octopus.space_id}), {f"Machines-{number}"})
    for number in range(60):
        board.join(RunRequest(f"ServerTasks-{900 + number}"), {f"Machines-{number % 3}"})
    before = calls(octopus)

    do(watch)

    assert calls(octopus) == before + 1


def test_reconcile_is_one_request_while_somebody_waits(board, octopus, do):
    holder = deploys(octopus, "Web")
    board.join(RunRequest(holder.task_id, info={"space_id": octopus.space_id}), {"Machines-1"})
    for number in range(120):
        board.join(
            RunRequest(f"ServerTasks-{900 + number}", parked=True, info={"space_id": octopus.space_id}), {"Machines-1"}
        )
    before = calls(octopus)

    do(reconcile)

    # What is active is listed. Those that Octopus does not know are asked for one by one, in their space and elsewhere.
    assert calls(octopus) - before <= 2 + 2 * reconcile.MOST_SINGLE


def test_waiter_whose_task_was_cancelled_leaves_the_line(board, octopus, do):
    waiter = deploys(octopus, "Web")
    board.join(RunRequest("ServerTasks-900"), {"Machines-1"})
    board.join(RunRequest(waiter.task_id, parked=True), {"Machines-1"})
    octopus.cancel(waiter)
    octopus.wait_for(waiter, "Canceled")

    do(reconcile)

    assert state(board, waiter) == "left"


def test_holder_that_octopus_does_not_know_keeps_its_machines(board, octopus, do):
    board.join(RunRequest("ServerTasks-901"), {"Machines-1"})
    board.join(RunRequest("ServerTasks-902"), {"Machines-1"})

    do(watch)

    assert state(board, "ServerTasks-901") == "granted"


def test_holders_that_octopus_hides_are_not_asked_about_all_the_time(board, octopus, do):
    """Twelve watches a minute, and each asked for five of them once more (P7)."""
    for number in range(8):
        board.join(RunRequest(f"ServerTasks-{901 + number}"), {f"Machines-{number}"})
        board.join(RunRequest(f"ServerTasks-{951 + number}", parked=True), {f"Machines-{number}"})
    before = calls(octopus)

    for _ in range(6):
        do(watch)

    asked = octopus.calls()
    assert calls(octopus) - before == 6 + reconcile.MOST_SINGLE, asked


def test_holders_of_several_spaces_are_asked_about_at_once(board, octopus, do):
    octopus.space("Other")
    other = octopus.api("spaces?partialName=Other")["Items"][0]["Id"]
    one = deploys(octopus, "Web")
    board.join(RunRequest(one.task_id, info={"space_id": octopus.space_id}), {"Machines-1"})
    board.join(RunRequest("ServerTasks-900", info={"space_id": other}), {"Machines-2"})
    board.join(RunRequest("ServerTasks-901"), {"Machines-1", "Machines-2"})
    octopus.cancel(one)
    octopus.wait_for(one, "Canceled")

    do(watch)

    assert state(board, one) == "released"


@pytest.mark.parametrize("fault", [{"error": 1.0}, {"is_down": True}, {"too_many": 1.0}], ids=["500", "down", "429"])
def test_nothing_is_ended_while_octopus_does_not_answer(board, octopus, do, fault):
    one = deploys(octopus, "Web")
    board.join(RunRequest(one.task_id), {"Machines-1"})
    board.join(RunRequest("ServerTasks-900"), {"Machines-1"})
    octopus.faults(**fault)

    with pytest.raises((OctopusBusy, OctopusUnreachable)):
        do(watch)

    assert state(board, one) == "granted"


def test_run_that_is_run_again_while_octopus_answers_is_not_ended(board, octopus, context):
    """The look is at the first run, and the answer about it; the second asks for its machines in between."""
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    board.join(RunRequest(one.task_id), {"Machines-1"})

    class Again:
        def tasks(self, *args: Any, **options: Any) -> Any:
            found = context.octopus.tasks(*args, **options)
            board.join(RunRequest(one.task_id), {"Machines-1"})
            return found

    reconcile.reconcile(context, Again(), [one.task_id])

    assert state(board, one) == "granted"


def test_task_that_octopus_abandons_keeps_its_machines_for_the_grace_time(make_board, octopus, make_context):
    board = make_board(Policy(abandoned_grace=timedelta(minutes=5)))
    context, clock = make_context(board), Clock(board)
    one = deploys(octopus, "Web")
    board.join(RunRequest(one.task_id), {"Machines-1"})
    board.join(RunRequest("ServerTasks-900", parked=True), {"Machines-1"})
    board.note_cancelling(board.place(one.task_id))
    clock.advance(timedelta(minutes=11))
    octopus.abandon(one)

    do_in(context, watch)
    assert state(board, one) == "granted"
    clock.advance(timedelta(minutes=6))
    board.sweep()

    assert state(board, "ServerTasks-900") == "granted"
