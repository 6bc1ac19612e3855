"""A holder whose task Octopus shows as queued: whether its end is looked for in the events, and how often."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from app.domain.events import parse_delivery
from app.domain.run import RunRequest
from tests.conftest import a_delivery
from tests.e2e.repairs.helpers import asked_for
from tests.integration import reconciling
from tests.integration.reconciling import do, holds, state
from workers import reconcile, watch

octopus, make_context, context = reconciling.octopus, reconciling.make_context, reconciling.context

#: When its first run began; a server can go on saying so of the second.
FIRST_START = 1_790_000_000_000


def no_job(context: Any) -> None:
    """Forget what was asked for."""
    for key in context.board.client.scan_iter("rq:*"):
        context.board.client.delete(key)


@pytest.mark.parametrize("job", [watch, reconcile])
@pytest.mark.parametrize(
    ("task", "is_looked_for"),
    [
        ({"state": "Queued"}, True),
        ({"state": "queued", "start_ms": FIRST_START}, True),
        ({"state": "Queued", "HasPendingPreconditions": True}, True),
        ({"state": "Queued", "start_ms": FIRST_START, "HasPendingInterruptions": True}, False),
        ({"state": "Executing", "start_ms": FIRST_START}, False),
        ({"state": "Executing", "HasPendingInterruptions": True}, False),
        ({"state": "Cancelling", "start_ms": FIRST_START}, False),
    ],
)
def test_end_of_a_holder_is_looked_for_where_its_task_is_queued(board, context, octopus, job, task, is_looked_for):
    octopus.has(1, **task)
    octopus.has(2)
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")

    do(context, job)

    assert asked_for(context, "catch_up") is is_looked_for
    assert state(board, 1) == "granted"


def test_end_of_a_run_without_a_lease_is_looked_for_and_of_a_parked_waiter(board, context, octopus):
    """Neither has a step whose silence would end it; a waiter's that blocks in a step does."""
    for number in (1, 3, 4):
        octopus.has(number, "Queued")
    octopus.has(2)
    holds(board, 2, "Machines-7")
    holds(board, 4, "Machines-7")
    do(context, reconcile)
    assert not asked_for(context, "catch_up")

    start = a_delivery("DeploymentStarted", task=1, related=["Deployments-1", "Projects-7", "Environments-2"])
    board.deliver(parse_delivery(json.dumps(start).encode()))
    board.observe("ServerTasks-1", [{"id": "Machines-8"}], info={"space_id": "Spaces-1"})
    assert state(board, 1) == "observed"
    do(context, reconcile)
    assert asked_for(context, "catch_up")

    board.release("ServerTasks-1")
    no_job(context)
    context.claims.give_back("queued")
    board.join(RunRequest("ServerTasks-3", info={"space_id": "Spaces-1"}, parked=True), {"Machines-7"})
    do(context, reconcile)
    assert asked_for(context, "catch_up")


def test_end_is_looked_for_once_in_two_reconciles_whatever_the_number_of_holders(board, context, octopus):
    for number in range(1, 5):
        octopus.has(number, "Queued")
        holds(board, number, f"Machines-{number}")
    holds(board, 9, "Machines-1")
    do(context, reconcile)
    no_job(context)

    do(context, watch)
    assert not asked_for(context, "catch_up")

    left = context.board.client.pttl(context.board.keys.named("resolving:", "queued"))
    assert timedelta(0) < timedelta(milliseconds=left) <= timedelta(seconds=2 * context.settings.reconcile_seconds)


def test_end_of_a_parked_run_that_waits_for_a_slot_to_go_on_is_not_looked_for(board, context, octopus):
    octopus.has(1, "Queued", start_ms=FIRST_START)
    octopus.has(2)
    holds(board, 1, "Machines-7", parked=True)
    holds(board, 2, "Machines-7")

    do(context, watch)

    assert not asked_for(context, "catch_up")


def test_end_is_looked_for_less_and_less_often_while_a_task_stays_queued(board, context, octopus):
    """It stands there for hours where the task cap is full; queued once more, it is another question."""
    octopus.has(1, "Queued", QueueTime="2026-05-06T07:00:00.000+00:00")
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7", parked=True)
    client, named, most = context.board.client, context.board.keys.named, context.settings.catch_up_seconds

    pauses = []
    for _ in range(6):
        do(context, watch)
        turn = next(client.scan_iter(named("resolving:", "queued-servertasks-1-*")))
        pauses.append(round(client.pttl(turn) / 1000))
        client.delete(turn, named("resolving:", "queued"))

    assert pauses == [60, 120, 240, most, most, most]
    do(context, watch)
    no_job(context)
    client.delete(named("resolving:", "queued"))
    octopus.has(1, "Queued", QueueTime="2026-05-06T08:00:00.000+00:00")
    do(context, watch)
    assert asked_for(context, "catch_up")
