"""Resolve and rebuild: Octopus says who runs where, and nobody is granted before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.coordination.board import Policy
from app.domain.run import RunRequest
from app.octopus.errors import OctopusBusy, OctopusUnreachable
from tests.conftest import Clock
from tests.e2e.repairs.helpers import FOR_EVER, MARKED, asked_for, deploys, do_in, machine, state
from tests.open_board import OpenBoard
from tests.simulator.steps import manual, work
from workers import catch_up, rebuild, resolve, watch


def test_observed_deployment_and_runbook_run_make_their_machines_busy(board, octopus, do):
    one = deploys(octopus, "Web")
    octopus.runbook("Web", "Restart", steps=[work("restart", machines=["web-02"], seconds=FOR_EVER)])
    two = octopus.run_runbook("Web", "Restart")
    octopus.wait_for(two, "Executing")

    do(catch_up)
    do(resolve)

    assert state(board, one) == "observed"
    assert board.join(RunRequest("ServerTasks-900"), {machine(octopus)}).is_waiting
    assert state(board, two) == "observed"
    assert board.join(RunRequest("ServerTasks-901"), {machine(octopus, "web-02")}).is_waiting


def test_nothing_is_resolved_while_the_board_is_closed(board, octopus, do):
    one = deploys(octopus, "Web")
    do(catch_up)
    board.close(by="ann")

    do(resolve)
    assert state(board, one) == "started", "it may be a waiter that has not come back yet"
    board.open("operator")
    do(resolve)

    assert state(board, one) == "observed"


def test_empty_redis_grants_nobody_until_octopus_has_said_who_runs(make_context, redis_url, namespace, octopus):
    from app.store.connection import connect

    board = OpenBoard(connect(redis_url), namespace=namespace, policy=Policy(waiter_ttl=timedelta(minutes=10)))
    context, clock = make_context(board), Clock(board)
    runs = [deploys(octopus, f"P{n}", steps=[work("d", machines=[f"web-0{n}"], seconds=FOR_EVER)]) for n in (1, 2)]
    waiter = deploys(octopus, "Waiter", steps=[work("wait", on_server=True, seconds=FOR_EVER)])
    board.join(RunRequest(waiter.task_id, info={"space_id": octopus.space_id}), {machine(octopus)})

    do_in(context, rebuild)
    assert board.closed_since_ms(), "the waiters have had no time to come back"
    clock.advance(timedelta(minutes=2))
    context.claims.give_back("rebuild")
    do_in(context, rebuild)

    assert board.closed_since_ms() is None
    assert [state(board, run) for run in runs] == ["observed", "observed"]
    assert state(board, waiter) == "waiting"
    assert asked_for(context, "catch_up")
    octopus.cancel(runs[0])
    octopus.wait_for(runs[0])
    do_in(context, watch)
    assert state(board, waiter) == "granted"


def test_first_start_opens_at_once_when_nothing_runs(make_context, redis_url, namespace):
    from app.store.connection import connect

    board = OpenBoard(connect(redis_url), namespace=namespace)

    do_in(make_context(board), rebuild)

    assert board.closed_since_ms() is None


def test_board_stays_closed_while_octopus_does_not_answer(make_context, redis_url, namespace, octopus):
    from app.store.connection import connect

    board = OpenBoard(connect(redis_url), namespace=namespace)
    octopus.faults(error=1.0)

    with pytest.raises(OctopusBusy):
        do_in(make_context(board), rebuild)

    assert board.closed_since_ms()


def test_board_stays_closed_while_the_machines_of_a_run_may_yet_be_told(make_context, redis_url, namespace, octopus):
    from app.store.connection import connect

    board = OpenBoard(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    deploys(octopus, "Web")
    board.sweep()
    clock.advance(timedelta(minutes=2))

    class Half:
        """Lists tasks, and fails to say more."""

        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def pending_interruptions(self, **options: Any) -> Any:
            return ()

        def task(self, *args: Any, **options: Any) -> Any:
            raise OctopusUnreachable("cut")

    assert not rebuild.rebuild(context, Half())
    assert board.closed_since_ms()


def test_board_stays_closed_when_redis_is_lost_again_during_the_rebuild(make_context, redis_url, namespace, octopus):
    from app.store.connection import connect

    board = OpenBoard(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    one = deploys(octopus, "Web")
    board.sweep()
    clock.advance(timedelta(minutes=2))

    class Lost:
        """Octopus as it is; after its last answer Redis is empty."""

        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def plan(self, *args: Any, **options: Any) -> Any:
            board.lose_all()
            return context.octopus.plan(*args, **options)

    assert not rebuild.rebuild(context, Lost())
    assert board.closed_since_ms()
    clock.advance(timedelta(minutes=2))
    do_in(context, rebuild)
    assert state(board, one) == "observed"


def test_parked_waiters_are_put_back_in_line(make_context, redis_url, namespace, octopus):
    from app.store.connection import connect

    board = OpenBoard(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    steps = [manual("Wait", instructions=MARKED), work("deploy", machines=["web-01"], seconds=FOR_EVER)]
    holder = deploys(octopus, "Web")
    parked = [deploys(octopus, name, steps=steps) for name in ("Api", "Jobs")]
    for each in parked:
        octopus.wait_for(each, is_paused=True)
    approval = deploys(octopus, "Db", steps=[manual("Approve", instructions="Ask Jane"), steps[1]])
    octopus.wait_for(approval, is_paused=True)
    board.sweep()
    clock.advance(timedelta(minutes=2))

    do_in(context, rebuild)

    assert [state(board, each) for each in parked] == ["waiting", "waiting"]
    assert board.place(parked[0].task_id).place == 1
    assert state(board, approval) == "observed", "a run that is paused for a person is under way (rule 9)"
    assert board.place(approval.task_id).run.paused
    assert state(board, holder) == "observed"


def test_only_its_own_interventions_tell_the_rebuild_of_a_parked_waiter(
    make_context, redis_url, namespace, octopus, claimed_by_others
):
    """A run at work that is taken for a waiter does not make its machines busy."""
    from app.store.connection import connect

    board = OpenBoard(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    at_work, client = claimed_by_others(context)
    board.sweep()
    clock.advance(timedelta(minutes=2))

    assert rebuild.rebuild(context, client)

    assert state(board, at_work) == "observed"
