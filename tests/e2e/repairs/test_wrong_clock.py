"""An Octopus whose clock is ten minutes wrong: what webhooks do not bring is found, and nothing ends for it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.coordination.board import Policy
from app.domain.run import RunRequest
from app.octopus.client import OctopusClient
from tests.conftest import services_on
from tests.e2e.repairs.helpers import deploys, do_in, records, state
from tests.simulator.control import SimulatedOctopus
from tests.simulator.steps import work
from workers import catch_up, reconcile, resolve, watch
from workers.context import Context

DURATIONS = ("held_ms", "waited_ms", "late_ms", "lag_ms", "latest_ms")


@pytest.fixture(params=[600, -600], ids=["ahead", "behind"])
def octopus(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(
        tmp_path, speed=20, look_seconds=0, task_cap=20, ahead_seconds=request.param
    ) as octopus:
        for name in ("web-01", "web-02"):
            octopus.machine(name)
        yield octopus


@pytest.fixture
def board(make_board):
    return make_board(Policy(has_key=True, waiter_ttl=timedelta(minutes=10)))


@pytest.fixture
def do(board, redis_url, octopus):
    services = services_on(board, redis_url, octopus_url=octopus.url, octopus_api_key=octopus.api_key)
    client = OctopusClient(octopus.url, octopus.api_key, budget=services.budget, reach=services.reach, attempts=1)
    yield functools.partial(do_in, Context(services, client))
    client.close()
    negative = [
        (r.kind, name, r.detail[name]) for r in records(board) for name in DURATIONS if r.detail.get(name, 0) < 0
    ]
    assert negative == []
    assert max((r.detail.get("late_ms", 0) for r in records(board)), default=0) < 120_000


QUICK = [work("deploy", machines=["web-01"], seconds=0.1)]


def test_ends_that_no_webhook_brought_are_found(board, octopus, do):
    over, still = deploys(octopus, "Web", steps=QUICK), deploys(octopus, "Api")
    board.join(RunRequest(still.task_id, claim="0123456789abcdef"), {"Machines-2"})
    board.join(RunRequest(over.task_id), {"Machines-1"})
    board.join(RunRequest("ServerTasks-900", parked=True), {"Machines-1"})
    octopus.wait_for(over)

    do(reconcile)
    do(catch_up)

    assert (state(board, over), state(board, "ServerTasks-900")) == ("released", "granted")
    assert state(board, still) == "granted"


def test_starts_that_no_webhook_brought_are_found_and_hold_until_their_ends(board, octopus, do):
    one = deploys(octopus, "Web")
    two = deploys(octopus, "Api", steps=[work("deploy", machines=["web-02"], seconds=0.1)])
    octopus.wait_for(two)

    do(reconcile)
    do(catch_up)
    do(resolve)

    assert state(board, one) == "observed"
    assert state(board, two) in ("ended", "known")
    assert board.join(RunRequest("ServerTasks-900", parked=True), {"Machines-1"}).is_waiting
    octopus.cancel(one)
    octopus.wait_for(one)
    do(catch_up)
    assert state(board, one) == "ended"
    assert state(board, "ServerTasks-900") == "granted"


def test_task_that_runs_again_is_another_run(board, octopus, do):
    one = deploys(octopus, "Web", steps=QUICK)
    board.join(RunRequest(one.task_id), {"Machines-1"})
    octopus.wait_for(one)
    do(reconcile)
    do(catch_up)
    assert state(board, one) == "released"

    octopus.rerun(one)
    board.join(RunRequest(one.task_id), {"Machines-1"})
    do(catch_up)
    do(watch)

    assert board.place(one.task_id).run.run == 2
    octopus.wait_for(one)
    do(catch_up)
    assert state(board, one) == "released"
