"""With an API key, an end that a webhook tells frees no machine that somebody waits for before Octopus confirms it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from app.domain.events import parse_delivery
from app.domain.records import Filter
from tests.conftest import a_delivery
from tests.integration import reconciling
from tests.integration.reconciling import do, holds, state
from tests.integration.spaces_of_octopus import at
from workers import watch

octopus, make_context, context = reconciling.octopus, reconciling.make_context, reconciling.context


def now_ms() -> int:
    return round(time.time() * 1000)


def ends(board: Any, number: int, *, confirm: bool = True, via: str = "webhook", event: int = 1) -> str:
    related = [f"Deployments-{number}", "Projects-7", "Releases-90", "Environments-2", "Channels-9"]
    delivery = a_delivery("DeploymentSucceeded", number=event, task=number, related=related)
    return str(board.deliver(parse_delivery(json.dumps(delivery).encode()), confirm=confirm, via=via))


def test_end_that_octopus_does_not_confirm_frees_nothing(board, context, octopus):
    octopus.has(1)
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")

    assert ends(board, 1) == "unconfirmed"
    assert (state(board, 1), state(board, 2)) == ("granted", "waiting")
    do(context, watch)
    assert (state(board, 1), state(board, 2)) == ("granted", "waiting")


def test_end_that_octopus_confirms_frees_and_is_no_repair(board, context, octopus, timeline):
    octopus.has(1, "Success", CompletedTime=at(now_ms()))
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")
    ends(board, 1)

    do(context, watch)

    assert (state(board, 1), state(board, 2)) == ("released", "granted")
    [record] = timeline.read(Filter(kind="released"))
    assert (record.cause, record.detail["event"], record.detail.get("late_ms")) == ("event", "Events-1", None)


def test_end_that_nobody_was_told_of_stays_a_repair(board, context, octopus, timeline):
    octopus.has(1, "Success", CompletedTime=at(now_ms() + 120_000))
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")
    ends(board, 1)

    do(context, watch)

    [record] = timeline.read(Filter(kind="released"))
    assert (record.cause, "late_ms" in record.detail) == ("reconciled", True)


@pytest.mark.parametrize("how", [{"confirm": False}, {"via": "catch_up"}])
def test_without_a_key_and_from_octopus_itself_an_end_frees_at_once(board, how):
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")

    assert ends(board, 1, **how) == "applied"
    assert (state(board, 1), state(board, 2)) == ("released", "granted")


def test_end_for_which_nobody_waits_frees_at_once(board):
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-8")

    assert ends(board, 1) == "applied"
    assert state(board, 1) == "released"


def test_waiter_that_ends_leaves_at_once(board):
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")
    holds(board, 3, "Machines-7")

    assert ends(board, 2) == "applied"
    assert state(board, 2) == "left"


def test_machines_of_a_run_without_a_step_are_confirmed_too(board, context, octopus):
    octopus.has(1)
    start = a_delivery("DeploymentStarted", number=5, task=1, related=["Deployments-1", "Projects-7", "Environments-2"])
    board.deliver(parse_delivery(json.dumps(start).encode()))
    board.observe("ServerTasks-1", [{"id": "Machines-7"}], info={})
    holds(board, 2, "Machines-7")

    assert ends(board, 1, event=6) == "unconfirmed"
    do(context, watch)
    assert (state(board, 1), state(board, 2)) == ("observed", "waiting")


def test_webhook_asks_for_a_confirmation(make_service, board):
    service = make_service(OCTOWAIT_OCTOPUS_URL="http://127.0.0.1:9", OCTOWAIT_OCTOPUS_API_KEY="API-KEY")
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")
    related = ["Deployments-1", "Projects-7", "Environments-2"]

    status, answer = service.deliver(a_delivery("DeploymentSucceeded", number=9, task=1, related=related))

    assert (status, answer["outcome"]) == (202, "applied")
    assert (state(board, 1), state(board, 2)) == ("granted", "waiting")
    jobs = board.client.lrange(f"rq:queue:octowait-{board.keys.namespace}-urgent", 0, -1)
    assert [job for job in jobs if b"-watch-" in job]


def test_task_that_is_queued_again_and_has_not_begun_confirms_its_end(board, context, octopus, timeline):
    octopus.has(1, "Queued")
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")
    assert ends(board, 1) == "unconfirmed"

    do(context, watch)

    assert (state(board, 1), state(board, 2)) == ("released", "granted")
    [record] = timeline.read(Filter(kind="released"))
    assert (record.cause, record.detail["event"], record.detail["outcome"]) == ("event", "Events-1", "succeeded")


@pytest.mark.parametrize("task", [{"state": "Executing"}, {"state": "Queued", "HasPendingInterruptions": True},
                                  {"state": "Queued", "start_ms": 1_790_000_000_000}])  # fmt: skip
def test_task_that_has_begun_confirms_nothing(board, context, octopus, task):
    octopus.has(1, **task)
    holds(board, 1, "Machines-7")
    holds(board, 2, "Machines-7")
    ends(board, 1)

    do(context, watch)

    assert (state(board, 1), state(board, 2)) == ("granted", "waiting")
