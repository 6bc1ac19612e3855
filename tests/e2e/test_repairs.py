"""What webhooks do not say, lose, or deliver late: the jobs find it out from a simulated Octopus Server."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.coordination.board import Board, Policy
from app.coordination.timeline import Filter, Timeline
from app.domain.events import parse_event
from app.domain.run import Run
from app.jobs import queues_of
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusBusy, OctopusDenied, OctopusUnreachable
from tests.conftest import Clock, an_event, eventually, services_on
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import Step, manual, work
from workers import catch_up, rebuild, reconcile, resolve, resume, watch
from workers.context import Context, current

#: Work of so many seconds never ends within a test.
FOR_EVER = 10_000.0

MARKED = "octowait resumes this deployment when its machines are free."


@pytest.fixture
def octopus(tmp_path: Path) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(tmp_path, speed=20, look_seconds=0, task_cap=20) as octopus:
        for name in ("web-01", "web-02"):
            octopus.machine(name)
        yield octopus


@pytest.fixture
def make_context(redis_url: str, octopus: SimulatedOctopus) -> Callable[[Board], Context]:
    def make(board: Board) -> Context:
        services = services_on(board, redis_url, octopus_url=octopus.url, octopus_api_key=octopus.api_key)
        client = OctopusClient(octopus.url, octopus.api_key, budget=services.budget, attempts=1)
        return Context(services, client)

    return make


@pytest.fixture
def context(board: Board, make_context: Callable[[Board], Context]) -> Context:
    return make_context(board)


@pytest.fixture
def do(context: Context) -> Callable[[Any], None]:
    """Runs a job as the worker does: ``do(watch)``."""
    return functools.partial(do_in, context)


def do_in(context: Context, job: Any) -> None:
    token = current.set(context)
    try:
        job.run()
    finally:
        current.reset(token)


def deploys(octopus: SimulatedOctopus, project: str, *, steps: list[Step] | None = None, **options: Any) -> Deployment:
    """A deployment that runs on web-01, unless *steps* say otherwise."""
    octopus.project(project, steps=steps or [work("deploy", machines=["web-01"], seconds=FOR_EVER)])
    deployment = octopus.deploy(project, **options)
    octopus.wait_for(deployment, "Executing", "Success", "Failed", is_paused=True)
    return deployment


def machine(octopus: SimulatedOctopus, name: str = "web-01") -> str:
    return str(octopus.api(f"machines?partialName={name}")["Items"][0]["Id"])


def records(board: Board, **wanted: Any) -> list[Any]:
    return list(Timeline(board.client, board.keys).read(Filter(**wanted)))


def state(board: Board, task: Deployment | str) -> str:
    place = board.place(task if isinstance(task, str) else task.task_id)
    return str(place.state) if place else "unknown"


def asked_for(context: Context, name: str) -> bool:
    jobs = [job for queue in queues_of(context.board.client, context.settings) for job in queue.job_ids]
    return any(f"-{name}-" in job for job in jobs)


def calls(octopus: SimulatedOctopus) -> int:
    return int(octopus.calls()["by_key"].get("octowait", 0))


# Reconcile and watch


def test_holder_whose_task_has_ended_is_released(board, octopus, do):
    one = deploys(octopus, "Web")
    board.join(Run(one.task_id, info={"space_id": octopus.space_id}), {"Machines-1"})
    board.join(Run("ServerTasks-900"), {"Machines-1"})
    octopus.cancel(one)
    octopus.wait_for(one, "Canceled")

    do(watch)

    assert state(board, "ServerTasks-900") == "granted"
    [released] = records(board, kind="released")
    assert (released.cause, released.detail["outcome"]) == ("reconciled", "canceled")
    assert released.detail["late_ms"] >= 0


def test_holder_whose_task_runs_keeps_its_machines(board, octopus, do):
    one = deploys(octopus, "Web")
    board.join(Run(one.task_id), {"Machines-1"})
    board.join(Run("ServerTasks-900"), {"Machines-1"})

    do(watch)
    do(reconcile)

    assert state(board, one) == "granted"


def test_watch_asks_nothing_while_nobody_waits(board, octopus, do):
    one = deploys(octopus, "Web")
    board.join(Run(one.task_id), {"Machines-1"})
    before = calls(octopus)

    do(watch)

    assert calls(octopus) == before


def test_watch_is_one_request_whatever_the_number_of_waiters(board, octopus, do):
    holders = [deploys(octopus, f"P{number}") for number in range(3)]
    for number, holder in enumerate(holders):
        board.join(Run(holder.task_id, info={"space_id": octopus.space_id}), {f"Machines-{number}"})
    for number in range(60):
        board.join(Run(f"ServerTasks-{900 + number}"), {f"Machines-{number % 3}"})
    before = calls(octopus)

    do(watch)

    assert calls(octopus) == before + 1


def test_reconcile_is_one_request_while_somebody_waits(board, octopus, do):
    holder = deploys(octopus, "Web")
    board.join(Run(holder.task_id, info={"space_id": octopus.space_id}), {"Machines-1"})
    for number in range(120):
        board.join(Run(f"ServerTasks-{900 + number}", parked=True, info={"space_id": octopus.space_id}), {"Machines-1"})
    before = calls(octopus)

    do(reconcile)

    # Those that Octopus does not know are asked for one by one, at most five of them.
    assert calls(octopus) - before <= 1 + reconcile.MOST_SINGLE


def test_waiter_whose_task_was_cancelled_leaves_the_line(board, octopus, do):
    waiter = deploys(octopus, "Web")
    board.join(Run("ServerTasks-900"), {"Machines-1"})
    board.join(Run(waiter.task_id, parked=True), {"Machines-1"})
    octopus.cancel(waiter)
    octopus.wait_for(waiter, "Canceled")

    do(reconcile)

    assert state(board, waiter) == "left"


def test_holder_that_octopus_does_not_know_keeps_its_machines(board, octopus, do):
    board.join(Run("ServerTasks-901"), {"Machines-1"})
    board.join(Run("ServerTasks-902"), {"Machines-1"})

    do(watch)

    assert state(board, "ServerTasks-901") == "granted"


def test_holders_that_octopus_hides_are_not_asked_about_all_the_time(board, octopus, do):
    """Twelve watches a minute, and each asked for five of them once more (P7)."""
    for number in range(8):
        board.join(Run(f"ServerTasks-{901 + number}"), {f"Machines-{number}"})
        board.join(Run(f"ServerTasks-{951 + number}", parked=True), {f"Machines-{number}"})
    before = calls(octopus)

    for _ in range(6):
        do(watch)

    asked = octopus.calls()
    assert calls(octopus) - before == 6 + 8, asked


def test_holders_of_several_spaces_are_asked_about_at_once(board, octopus, do):
    octopus.space("Other")
    other = octopus.api("spaces?partialName=Other")["Items"][0]["Id"]
    one = deploys(octopus, "Web")
    board.join(Run(one.task_id, info={"space_id": octopus.space_id}), {"Machines-1"})
    board.join(Run("ServerTasks-900", info={"space_id": other}), {"Machines-2"})
    board.join(Run("ServerTasks-901"), {"Machines-1", "Machines-2"})
    octopus.cancel(one)
    octopus.wait_for(one, "Canceled")

    do(watch)

    assert state(board, one) == "released"


@pytest.mark.parametrize("fault", [{"error": 1.0}, {"is_down": True}, {"too_many": 1.0}], ids=["500", "down", "429"])
def test_nothing_is_ended_while_octopus_does_not_answer(board, octopus, do, fault):
    one = deploys(octopus, "Web")
    board.join(Run(one.task_id), {"Machines-1"})
    board.join(Run("ServerTasks-900"), {"Machines-1"})
    octopus.faults(**fault)

    with pytest.raises((OctopusBusy, OctopusUnreachable)):
        do(watch)

    assert state(board, one) == "granted"


def test_run_that_is_run_again_while_octopus_answers_is_not_ended(board, octopus, context):
    """The look is at the first run, and the answer about it; the second asks for its machines in between."""
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    board.join(Run(one.task_id), {"Machines-1"})

    class Again:
        def tasks(self, *args: Any, **options: Any) -> Any:
            found = context.octopus.tasks(*args, **options)
            board.join(Run(one.task_id), {"Machines-1"})
            return found

    reconcile.reconcile(context, Again(), [one.task_id])

    assert state(board, one) == "granted"


def test_task_that_octopus_abandons_keeps_its_machines_for_the_grace_time(make_board, octopus, make_context):
    board = make_board(Policy(abandoned_grace=timedelta(minutes=5)))
    context, clock = make_context(board), Clock(board)
    one = deploys(octopus, "Web")
    board.join(Run(one.task_id), {"Machines-1"})
    board.join(Run("ServerTasks-900", parked=True), {"Machines-1"})
    board.note_cancelling(board.place(one.task_id))
    clock.advance(timedelta(minutes=11))
    octopus.abandon(one)

    do_in(context, watch)
    assert state(board, one) == "granted"
    clock.advance(timedelta(minutes=6))
    board.sweep()

    assert state(board, "ServerTasks-900") == "granted"


# Catch up


def test_events_that_no_webhook_brought_are_applied_once(board, octopus, context, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    two = deploys(octopus, "Api")

    do(catch_up)
    do(catch_up)

    assert state(board, one) == "ended" or board.place(one.task_id).run["end_seen"]
    assert state(board, two) == "started"
    [caught_up] = records(board, kind="caught_up")
    assert caught_up.detail["missed"] == len([r for r in records(board, kind="event") if not r.detail.get("note")])
    assert {r.detail["via"] for r in records(board, kind="event")} == {"catch_up"}
    assert asked_for(context, "resolve")


def test_lost_end_is_repaired(board, octopus, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    board.join(Run(one.task_id), {"Machines-1"})
    octopus.wait_for(one)

    do(catch_up)

    assert state(board, one) == "released"


def test_event_that_came_as_a_webhook_is_not_counted_as_missed(board, octopus, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    for resource in reversed(octopus.api("events?take=100")["Items"]):
        board.deliver(parse_event(resource))

    do(catch_up)

    assert records(board, kind="caught_up") == []


def test_catch_up_goes_on_from_the_last_event_with_an_overlap(board, octopus, context, do):
    one = deploys(octopus, "Web", steps=[work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(one)
    do(catch_up)
    cursor = int(board.client.get(board.keys.named("caught-up-to")))
    newest = max(r.detail["occurred_ms"] for r in records(board, kind="event"))
    assert cursor == newest

    two = deploys(octopus, "Api")
    do(catch_up)

    assert state(board, two) == "started"


def test_catch_up_over_days_is_read_piece_by_piece(board, octopus, context, do):
    board.client.set(board.keys.named("caught-up-to"), board.now_ms() - 3 * 86_400_000)
    one = deploys(octopus, "Web")

    do(catch_up)

    assert state(board, one) == "started"
    assert int(board.client.get(board.keys.named("caught-up-to"))) > board.now_ms() - 600_000


def test_catch_up_that_fails_half_way_is_not_remembered_as_done(board, octopus, do):
    board.client.set(board.keys.named("caught-up-to"), 1)
    octopus.faults(error=1.0)

    with pytest.raises(OctopusBusy):
        do(catch_up)

    assert board.client.get(board.keys.named("caught-up-to")) == b"1"


def test_stretch_of_more_events_than_may_be_asked_for_is_read_in_shorter_ones(board, octopus, context):
    """It needed more requests than there are in a minute, and was read anew from its beginning for ever."""
    board.client.set(board.keys.named("caught-up-to"), board.now_ms() - 86_400_000)
    one = deploys(octopus, "Web")

    class Much:
        """Three hours hold more pages than the budget."""

        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def events(self, *, from_ms: int, to_ms: int, **options: Any) -> Any:
            if to_ms - from_ms > 3 * 3_600_000:
                raise OctopusBusy("held back to stay within the request budget")
            return context.octopus.events(from_ms=from_ms, to_ms=to_ms, **options)

    for _ in range(30):
        with suppress(OctopusBusy):
            do_in(replace(context, octopus=Much()), catch_up)

    assert state(board, one) == "started"


def test_event_about_what_the_key_may_not_see_does_not_stop_the_later_ones(board, octopus, context):
    one = deploys(octopus, "Web")
    hidden = {**an_event(number=900, task=None, related=["Deployments-900"]), "SpaceId": octopus.space_id}

    class Hides:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def events(self, **options: Any) -> Any:
            return [*context.octopus.events(**options), hidden]

        def deployment(self, *args: Any, **options: Any) -> Any:
            raise OctopusDenied("GET /api/deployments/Deployments-900: 403")

    do_in(replace(context, octopus=Hides()), catch_up)

    assert state(board, one) == "started"


def test_event_that_cannot_be_read_does_not_stop_the_later_ones(board, octopus, context):
    one = deploys(octopus, "Web")

    class Odd:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def events(self, **options: Any) -> Any:
            return [*context.octopus.events(**options), an_event(number=900, occurred="yesterday")]

    do_in(replace(context, octopus=Odd()), catch_up)

    assert state(board, one) == "started"


def test_event_without_a_task_finds_it_through_its_deployment(board, octopus, context):
    one = deploys(octopus, "Web")
    [started] = [e for e in octopus.api("events?take=100")["Items"] if e["Category"] == "DeploymentStarted"]
    related = [i for i in started["RelatedDocumentIds"] if not i.startswith("ServerTasks-")]
    event = replace(parse_event({**started, "RelatedDocumentIds": related, "MessageReferences": []}), task_id=None)
    context.services.kept.keep(body="{}", reason="names no server task", event=event.id)

    catch_up.CatchUp(context, context.octopus)._apply(event)

    assert state(board, one) == "started"
    assert context.services.kept.all() == []


# Resolve


def test_observed_deployment_and_runbook_run_make_their_machines_busy(board, octopus, do):
    one = deploys(octopus, "Web")
    octopus.runbook("Web", "Restart", steps=[work("restart", machines=["web-02"], seconds=FOR_EVER)])
    two = octopus.run_runbook("Web", "Restart")
    octopus.wait_for(two, "Executing")

    do(catch_up)
    do(resolve)

    assert state(board, one) == "observed"
    assert board.join(Run("ServerTasks-900"), {machine(octopus)}).is_waiting
    assert state(board, two) == "observed"
    assert board.join(Run("ServerTasks-901"), {machine(octopus, "web-02")}).is_waiting


def test_nothing_is_resolved_while_the_board_is_closed(board, octopus, do):
    one = deploys(octopus, "Web")
    do(catch_up)
    board.close(by="ann")

    do(resolve)
    assert state(board, one) == "started", "it may be a waiter that has not come back yet"
    board.open("operator")
    do(resolve)

    assert state(board, one) == "observed"


# Rebuild


def test_empty_redis_grants_nobody_until_octopus_has_said_who_runs(make_context, redis_url, namespace, octopus):
    from app.coordination.connection import connect

    board = Board(connect(redis_url), namespace=namespace, policy=Policy(waiter_ttl=timedelta(minutes=10)))
    context, clock = make_context(board), Clock(board)
    runs = [deploys(octopus, f"P{n}", steps=[work("d", machines=[f"web-0{n}"], seconds=FOR_EVER)]) for n in (1, 2)]
    waiter = deploys(octopus, "Waiter", steps=[work("wait", on_server=True, seconds=FOR_EVER)])
    board.join(Run(waiter.task_id, info={"space_id": octopus.space_id}), {machine(octopus)})

    do_in(context, rebuild)
    assert board.closed_since_ms(), "the waiters have had no time to come back"
    clock.advance(timedelta(minutes=1))
    context.unresolved.give_back("rebuild")
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
    from app.coordination.connection import connect

    board = Board(connect(redis_url), namespace=namespace)

    do_in(make_context(board), rebuild)

    assert board.closed_since_ms() is None


def test_board_stays_closed_while_octopus_does_not_answer(make_context, redis_url, namespace, octopus):
    from app.coordination.connection import connect

    board = Board(connect(redis_url), namespace=namespace)
    octopus.faults(error=1.0)

    with pytest.raises(OctopusBusy):
        do_in(make_context(board), rebuild)

    assert board.closed_since_ms()


def test_board_stays_closed_while_the_machines_of_a_run_may_yet_be_told(make_context, redis_url, namespace, octopus):
    from app.coordination.connection import connect

    board = Board(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    deploys(octopus, "Web")
    board.sweep()
    clock.advance(timedelta(minutes=1))

    class Half:
        """Lists tasks, and fails to say more."""

        def active_tasks(self, **options: Any) -> Any:
            return context.octopus.active_tasks(**options)

        def task(self, *args: Any, **options: Any) -> Any:
            raise OctopusUnreachable("cut")

    assert not rebuild.rebuild(context, Half())
    assert board.closed_since_ms()


def test_board_stays_closed_when_redis_is_lost_again_during_the_rebuild(make_context, redis_url, namespace, octopus):
    from app.coordination.connection import connect

    board = Board(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    one = deploys(octopus, "Web")
    board.sweep()
    clock.advance(timedelta(minutes=1))

    class Lost:
        """Octopus as it is; after its last answer Redis is empty."""

        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def name(self, *args: Any, **options: Any) -> str | None:
            for key in board.client.keys(f"octowait:{{{namespace}}}:*"):
                board.client.delete(key)
            return context.octopus.name(*args, **options)

    assert not rebuild.rebuild(context, Lost())
    assert board.closed_since_ms()
    clock.advance(timedelta(minutes=1))
    do_in(context, rebuild)
    assert state(board, one) == "observed"


def test_parked_waiters_are_put_back_in_line(make_context, redis_url, namespace, octopus):
    from app.coordination.connection import connect

    board = Board(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    steps = [manual("Wait", instructions=MARKED), work("deploy", machines=["web-01"], seconds=FOR_EVER)]
    holder = deploys(octopus, "Web")
    parked = [deploys(octopus, name, steps=steps) for name in ("Api", "Jobs")]
    for each in parked:
        octopus.wait_for(each, is_paused=True)
    approval = deploys(octopus, "Db", steps=[manual("Approve", instructions="Ask Jane"), steps[1]])
    octopus.wait_for(approval, is_paused=True)
    board.sweep()
    clock.advance(timedelta(minutes=1))

    do_in(context, rebuild)

    assert [state(board, each) for each in parked] == ["waiting", "waiting"]
    assert board.place(parked[0].task_id).place == 1
    assert state(board, approval) == "observed", "a run that is paused for a person is under way (rule 9)"
    assert board.place(approval.task_id).run["paused"]
    assert state(board, holder) == "observed"


def test_only_its_own_interventions_tell_the_rebuild_of_a_parked_waiter(
    make_context, redis_url, namespace, octopus, claimed_by_others
):
    """A run at work that is taken for a waiter does not make its machines busy."""
    from app.coordination.connection import connect

    board = Board(connect(redis_url), namespace=namespace)
    context, clock = make_context(board), Clock(board)
    at_work, client = claimed_by_others(context)
    board.sweep()
    clock.advance(timedelta(minutes=1))

    assert rebuild.rebuild(context, client)

    assert state(board, at_work) == "observed"


# Resume


@pytest.fixture(params=["guided failure of a step of that name", "linked to that of its child"])
def claimed_by_others(request, octopus):
    """A run at work whose pending interruption mentions octowait and is not octowait's, and Octopus as it shows it."""
    guided = request.param.startswith("guided")
    failing = work("octowait release", machines=["web-01"], seconds=0.1, fails=-1)
    asking = [manual("octowait", instructions=MARKED), work("deploy", machines=["web-01"])]

    def make(context: Context) -> tuple[Deployment, Any]:
        one = deploys(octopus, "Web", steps=[failing] if guided else asking, use_guided_failure=guided)
        octopus.wait_for(one, is_paused=True)

        class Linked:
            def __getattr__(self, name: str) -> Any:
                return getattr(context.octopus, name)

            def interruptions(self, *args: Any, **options: Any) -> Any:
                found = context.octopus.interruptions(*args, **options)
                return tuple(replace(each, is_linked=not guided) for each in found)

        return one, Linked()

    return make


def test_intervention_that_is_not_its_own_is_not_answered(board, octopus, context, holder, claimed_by_others):
    one, client = claimed_by_others(context)
    board.join(Run(one.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    board.release(holder)
    # Raised after it had asked.
    place = board.place(one.task_id)
    place.run["requested_at_ms"] -= 60_000

    with pytest.raises(resume.NotYet):
        resume.answer(context, client, place)

    assert octopus.pending(one)


@pytest.fixture
def park(board, octopus):
    """A deployment that has claimed web-01 and is paused for its intervention."""

    def do(project: str, *, instructions: str = MARKED, **options: Any) -> Deployment:
        octopus.project(project, steps=[
            manual("octowait", instructions=instructions), work("deploy", machines=["web-01"], seconds=0.1),
        ])  # fmt: skip
        deployment = octopus.deploy(project)
        run = Run(deployment.task_id, parked=True, info={"space_id": octopus.space_id}, **options)
        assert board.join(run, {machine(octopus)}).is_waiting
        octopus.wait_for(deployment, is_paused=True)
        return deployment

    return do


@pytest.fixture
def holder(board, octopus):
    board.join(Run("ServerTasks-900"), {machine(octopus)})
    return "ServerTasks-900"


def test_parked_run_goes_on_when_its_turn_comes(board, octopus, do, holder, park):
    parked = park("Web")
    do(resume)
    assert octopus.pending(parked)

    board.release(holder)
    do(resume)

    assert octopus.wait_for(parked)["State"] == "Success"
    [resumed] = records(board, kind="resumed")
    assert (resumed.cause, resumed.detail["result"]) == ("octowait", "Proceed")
    assert state(board, parked) == "granted", "its end comes by event, reconciler or release step"


def test_parked_run_that_timed_out_is_aborted_with_the_reason(board, clock, octopus, do, holder, park):
    parked = park("Web", timeout=timedelta(seconds=60))
    clock.advance(timedelta(seconds=61))
    board.sweep()

    do(resume)

    assert octopus.wait_for(parked)["State"] == "Failed"
    [asked] = octopus.api(f"interruptions?regarding={parked.task_id}")["Items"]
    assert "its time-out has passed" in asked["Form"]["Values"]["Notes"]


def test_answer_is_tried_until_the_intervention_is_raised(board, clock, octopus, do, holder):
    octopus.project("Web", steps=[work("slow claim", on_server=True, seconds=FOR_EVER)])
    deployment = octopus.deploy("Web")
    board.join(Run(deployment.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    board.release(holder)

    for _ in range(6):
        do(resume)
        clock.advance(timedelta(minutes=5))

    [said] = records(board, kind="not_resumed")
    assert "mention octowait" in said.detail["reason"]
    assert board.sweep().resumes


def test_intervention_that_never_comes_is_not_asked_for_all_the_time(board, clock, octopus, do, holder):
    """Each such run would take four requests a minute from those that watch the holders."""
    octopus.project("Web", steps=[work("no intervention", on_server=True, seconds=FOR_EVER)])
    deployment = octopus.deploy("Web")
    board.join(Run(deployment.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    board.release(holder)
    before = calls(octopus)

    for _ in range(60):
        do(resume)
        clock.advance(timedelta(seconds=30))

    assert 10 <= calls(octopus) - before <= 30


def test_run_that_it_stumbles_over_does_not_stop_the_others(board, octopus, context, holder, park):
    stumbled, parked = park("Odd"), park("Web")

    class Stumbles:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def asking(self, **manner: Any) -> Any:
            return self

        def interruptions(self, task_id: str, **options: Any) -> Any:
            if task_id == stumbled.task_id:
                raise KeyError("requested_at_ms")
            return context.octopus.interruptions(task_id, **options)

    board.release(stumbled.task_id, cause="forced", by="ann", reason="odd")
    board.release(holder)
    do_in(replace(context, octopus=Stumbles()), resume)

    assert octopus.wait_for(parked)["State"] == "Success"
    assert "KeyError" in records(board, kind="not_resumed")[0].detail["reason"]


def test_intervention_without_the_word_is_left_to_people(board, octopus, do, holder):
    octopus.project("Web", steps=[manual("Approve", instructions="of the week"), work("d", machines=["web-01"])])
    deployment = octopus.deploy("Web")
    board.join(Run(deployment.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    octopus.wait_for(deployment, is_paused=True)
    board.release(holder)

    do(resume)

    assert octopus.pending(deployment)


def test_person_who_took_responsibility_is_respected(board, clock, octopus, do, holder, park):
    parked = park("Web")
    [asked] = octopus.pending(parked)
    octopus.api(f"interruptions/{asked['Id']}/responsible", {}, method="PUT", key="jane")
    board.release(holder)

    do(resume)
    assert octopus.pending(parked), "it is hers"
    octopus.submit(asked["Id"])
    clock.advance(timedelta(seconds=31))
    do(resume)

    [resumed] = records(board, kind="resumed")
    assert (resumed.cause, resumed.detail["result"]) == ("by_hand", "Proceed")
    assert state(board, parked) == "granted"


def test_person_who_lets_it_go_on_before_its_turn_is_seen_without_an_event(board, clock, octopus, do, holder):
    octopus.project("Web", steps=[
        manual("octowait", instructions=MARKED), work("deploy", machines=["web-01"], seconds=FOR_EVER),
    ])  # fmt: skip
    parked = octopus.deploy("Web")
    board.join(Run(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    octopus.wait_for(parked, is_paused=True)
    octopus.submit(octopus.pending(parked)[0]["Id"])
    octopus.wait_for(parked, "Executing")
    clock.advance(timedelta(seconds=31))

    do(reconcile)

    assert state(board, parked) == "observed"
    assert [r.kind for r in records(board, task_id=parked.task_id)][-3:] == ["resumed", "observed", "overlapped"]


def test_waiting_parked_run_is_not_taken_for_overridden_while_it_is_paused(board, clock, octopus, do, holder, park):
    parked = park("Web")
    clock.advance(timedelta(seconds=31))

    do(reconcile)

    assert state(board, parked) == "waiting"


def test_answer_that_was_given_and_not_noted_is_not_given_twice(board, octopus, context, do, holder, park):
    """The worker was killed between its answer and the note."""
    parked = park("Web")
    board.release(holder)
    client = context.octopus
    [found] = client.interruptions(parked.task_id, pending_only=True, space=octopus.space_id)
    client.take_responsibility(found)
    client.submit(found, "Proceed", notes="octowait")

    do(resume)

    [resumed] = records(board, kind="resumed")
    assert resumed.cause == "octowait"


def test_answer_is_not_looked_for_when_its_task_has_ended(board, clock, octopus, do, holder):
    """Its wait timed out, and the deployment was cancelled before the intervention was raised."""
    octopus.project("Web", steps=[work("slow claim", on_server=True, seconds=FOR_EVER)])
    deployment = octopus.deploy("Web")
    run = Run(deployment.task_id, parked=True, info={"space_id": octopus.space_id}, timeout=timedelta(seconds=60))
    board.join(run, {machine(octopus)})
    octopus.cancel(deployment)
    octopus.wait_for(deployment)
    clock.advance(timedelta(seconds=61))
    assert board.sweep().resumes

    do(resume)

    assert not board.sweep().resumes
    assert [r.cause for r in records(board, kind="not_resumed")] == ["task_ended"]


def test_one_run_that_fails_does_not_stop_the_others(board, octopus, do, holder, park):
    lost = deploys(octopus, "Lost", steps=[work("d", on_server=True, seconds=FOR_EVER)])
    board.join(Run(lost.task_id, parked=True, info={"space_id": octopus.space_id}), {"Machines-77"})
    parked = park("Web")
    board.release(holder)

    do(resume)

    eventually(lambda: octopus.task(parked)["State"] == "Success")
