"""What a task says of its interruptions can be out of date (Octopus issue 7396): only the interruptions tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.events import Effect
from app.domain.run import RunRequest
from tests.conftest import services_on
from tests.e2e.repairs.helpers import FOR_EVER, MARKED, deploys, do_in, machine, parks, rebuilds, records, state, works
from tests.integration.octopus_tells import Octopus as Events
from tests.simulator.steps import manual, work
from workers import reconcile, resume, watch
from workers.context import Context

APPROVES = [manual("Approve", instructions="Ask Jane"), work("deploy", machines=["web-01"], seconds=FOR_EVER)]


class Says:
    """Octopus as it is, but each task says *fields* of itself."""

    def __init__(self, octopus: Any, **fields: Any) -> None:
        self._octopus, self._fields = octopus, fields

    def __getattr__(self, name: str) -> Any:
        return getattr(self._octopus, name)

    def asking(self, **manner: Any) -> Any:
        return self

    def active_tasks(self, **options: Any) -> Any:
        return self._changed(self._octopus.active_tasks(**options))

    def tasks(self, *args: Any, **options: Any) -> Any:
        return self._changed(self._octopus.tasks(*args, **options))

    def task(self, *args: Any, **options: Any) -> Any:
        return self._changed([self._octopus.task(*args, **options)])[0]

    def _changed(self, tasks: Any) -> Any:
        return tuple(replace(task, **self._fields) for task in tasks)


def forgetful(context: Context, **fields: Any) -> Context:
    """A context whose Octopus has tasks that say nothing of their interruptions, unless *fields* say otherwise."""
    return replace(context, octopus=Says(context.octopus, **{"has_pending_interruptions": False, **fields}))


def test_parked_run_whose_task_forgot_its_interruption_is_put_back_and_resumed_in_its_turn(
    empty, octopus, make_context
):
    context = forgetful(make_context(empty))
    holder, parked = works(octopus, "Holder"), parks(octopus, "Web")

    assert rebuilds(context)
    assert (state(empty, holder), state(empty, parked)) == ("observed", "waiting")
    octopus.cancel(holder)
    octopus.wait_for(holder, "Canceled")
    do_in(context, watch)
    do_in(context, resume)

    assert octopus.wait_for(parked)["State"] == "Success"


def test_approval_whose_task_forgot_it_is_paused_on_its_machines(empty, octopus, make_context):
    approval = deploys(octopus, "Web", steps=APPROVES)
    octopus.wait_for(approval, is_paused=True)

    assert rebuilds(forgetful(make_context(empty)))

    assert state(empty, approval) == "observed"
    assert empty.place(approval.task_id).run.paused


def test_task_that_waits_for_an_approval_before_its_start_holds_nothing(empty, octopus, make_context):
    """It can have a start: Octopus has picked it up, and put it back."""
    deploys(octopus, "Web", steps=APPROVES)
    context = forgetful(make_context(empty), has_pending_preconditions=True, state="Queued")
    context.octopus.pending_interruptions = lambda **options: ()

    assert rebuilds(context)

    assert empty.join(RunRequest("ServerTasks-900"), {machine(octopus)}).is_granted


def test_key_that_may_not_see_interruptions_takes_paused_runs_for_those_at_work(empty, octopus, make_context):
    context = make_context(empty)
    parked = parks(octopus, "Web")
    key = octopus.user("blind", permissions=["TaskView", "DeploymentView", "MachineView"])
    blind = type(context.octopus)(octopus.url, key, attempts=1)

    assert rebuilds(replace(context, octopus=blind))

    assert state(empty, parked) == "observed"
    blind.close()


@pytest.fixture
def park(board, octopus):
    """A deployment that is paused for octowait, and waits for web-01 behind ServerTasks-900."""

    def do(**options: Any) -> Any:
        board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
        asks = manual("octowait", instructions=MARKED, **options)
        parked = deploys(octopus, "Web", steps=[asks, work("d", machines=["web-01"], seconds=FOR_EVER)])
        octopus.wait_for(parked, is_paused=True)
        board.join(RunRequest(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
        board.script.offset_ms += 31_000
        return parked

    return do


def test_waiting_run_whose_task_forgot_its_interruption_waits_on(board, context, park):
    parked = park()

    do_in(forgetful(context), reconcile)

    assert state(board, parked) == "waiting"


def test_waiting_run_that_works_is_found_although_its_task_says_that_it_is_paused(board, octopus, context, park):
    """Somebody has let it go on, and the task has not heard of it: its machine would be granted to the next."""
    parked = park()
    octopus.submit(octopus.pending(parked)[0]["Id"])
    octopus.wait_for(parked, "Executing")

    do_in(forgetful(context, has_pending_interruptions=True), reconcile)

    assert state(board, parked) == "observed"


def test_granted_run_whose_task_forgot_its_interruption_is_answered(board, octopus, context, park):
    parked = park()
    board.release("ServerTasks-900")
    # A late first request hears of the grant, and nobody tells the run.
    board.join(RunRequest(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})

    do_in(forgetful(context), reconcile)
    do_in(forgetful(context), resume)

    assert octopus.wait_for(parked, "Executing")
    assert [r.cause for r in records(board, kind="resumed")] == ["octowait"]


# OCTOWAIT_PAUSED_HOLDS=false


@pytest.fixture
def yielding(board, redis_url, octopus, context):
    """A context where paused runs give way."""
    services = services_on(
        board, redis_url, octopus_url=octopus.url, octopus_api_key=octopus.api_key, paused_holds=False
    )
    return Context(services, context.octopus)


@pytest.fixture
def approves(board, octopus):
    """A deployment that has web-01 and is paused for a person; ServerTasks-900 waits behind it."""
    approval = deploys(octopus, "Web", steps=APPROVES)
    octopus.wait_for(approval, is_paused=True)
    board.join(RunRequest(approval.task_id, info={"space_id": octopus.space_id}), {machine(octopus)})
    assert board.join(RunRequest("ServerTasks-900"), {machine(octopus)}).is_waiting
    return approval


def test_pause_alone_takes_nothing_away_where_octopus_can_be_asked(yielding):
    from app.services import policy_of

    assert policy_of(yielding.settings).paused_holds
    assert not policy_of(yielding.settings.model_copy(update={"octopus_api_key": None})).paused_holds


@pytest.mark.parametrize("forgets", [False, True])
def test_paused_run_gives_way_when_octopus_has_been_asked(board, clock, octopus, yielding, approves, forgets):
    Events(board, clock).tells(Effect.PAUSED, approves.task_id)
    assert state(board, approves) == "granted"

    do_in(forgetful(yielding) if forgets else yielding, watch)

    assert (state(board, approves), state(board, "ServerTasks-900")) == ("released", "granted")
    [released] = records(board, kind="released")
    assert released.cause == "paused" and released.detail["interruption"]


def test_pause_that_is_over_takes_nothing_away(board, clock, octopus, yielding, approves):
    """Its event came late, and that it goes on is not told yet."""
    octopus.submit(octopus.pending(approves)[0]["Id"])
    octopus.wait_for(approves, "Executing")
    Events(board, clock).tells(Effect.PAUSED, approves.task_id)

    do_in(forgetful(yielding, has_pending_interruptions=True), watch)

    assert state(board, approves) == "granted"


def test_pause_that_a_parked_run_is_let_go_on_by_takes_nothing_away(board, octopus, yielding, park):
    parked = park()
    board.release("ServerTasks-900")
    board.join(RunRequest("ServerTasks-901"), {machine(octopus)})

    do_in(yielding, watch)
    assert state(board, parked) == "granted"
    board.join(RunRequest(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    do_in(yielding, watch)

    assert state(board, parked) == "granted", "nor when nobody is about to answer it"
