"""Repairs of the gate in which one thing comes between two others: acted out beside a simulated Octopus Server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.coordination.board import Board
from app.coordination.connection import connect
from app.coordination.timeline import Filter, Timeline
from app.domain.run import Run, TaskEnd
from app.notices import notice_of
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusDenied
from tests.conftest import services_on
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import Step, manual, work
from workers import catch_up, rebuild, reconcile, resume, watch
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
        return Context(services, OctopusClient(octopus.url, octopus.api_key, budget=services.budget, attempts=1))

    return make


@pytest.fixture
def do(board: Board, make_context: Callable[[Board], Context]) -> Callable[[Any], None]:
    """Runs a job as the worker does: ``do(watch)``."""
    return runner(make_context(board))


def runner(context: Context) -> Callable[[Any], None]:
    def do(job: Any) -> None:
        token = current.set(context)
        try:
            job.run()
        finally:
            current.reset(token)

    return do


def deploys(octopus: SimulatedOctopus, project: str, *steps: Step) -> Deployment:
    """A deployment of *steps* that runs, or is paused."""
    octopus.project(project, steps=list(steps))
    deployment = octopus.deploy(project)
    octopus.wait_for(deployment, "Executing", "Success", "Failed", is_paused=True)
    return deployment


def parks(octopus: SimulatedOctopus, project: str) -> Deployment:
    """A deployment that is paused for octowait's intervention, and then works on web-01."""
    asks = manual("octowait", instructions=MARKED)
    deployment = deploys(octopus, project, asks, work("deploy", machines=["web-01"], seconds=0.1))
    octopus.wait_for(deployment, is_paused=True)
    return deployment


def machine(octopus: SimulatedOctopus, name: str = "web-01") -> str:
    return str(octopus.api(f"machines?partialName={name}")["Items"][0]["Id"])


def records(board: Board, **wanted: Any) -> list[Any]:
    return list(Timeline(board.client, board.keys).read(Filter(**wanted)))


def state(board: Board, task: Deployment | str) -> str:
    place = board.place(task if isinstance(task, str) else task.task_id)
    return str(place.state) if place else "unknown"


# The first request of a claim comes late


@pytest.fixture
def claimed(board: Board, octopus: SimulatedOctopus) -> Run:
    """A run that was told to wait for web-01, whose deployment is paused since."""
    board.join(Run("ServerTasks-900"), {machine(octopus)})
    run = Run(parks(octopus, "Web").task_id, parked=True, info={"space_id": octopus.space_id})
    assert board.join(run, {machine(octopus)}).is_waiting
    return run


@pytest.mark.parametrize("job", [reconcile, watch])
def test_claim_whose_first_request_comes_after_its_grant_is_resumed(board, octopus, do, claimed, job):
    """It had asked again, was told to wait, and left; what its first request hears of the grant nobody reads."""
    board.join(Run("ServerTasks-901", parked=True), {machine(octopus)})
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
    board.join(Run("ServerTasks-900"), {machine(octopus)})
    parked = parks(octopus, "Web")
    run = Run(parked.task_id, parked=True, timeout=timedelta(minutes=1), info={"space_id": octopus.space_id})
    board.join(run, {machine(octopus)})
    clock.advance(timedelta(minutes=2))
    assert board.join(run, {machine(octopus)}).is_new

    board.release("ServerTasks-900")
    do(resume)

    assert octopus.wait_for(parked)["State"] == "Success"


def test_granted_run_that_is_paused_for_a_person_is_not_looked_at_all_the_time(board, clock, octopus, do):
    """Its claim was granted at once, and an approval of its own lasts for hours (P7)."""
    approval = deploys(octopus, "Db", manual("Approve", instructions="Ask Jane"), work("d", machines=["web-01"]))
    octopus.wait_for(approval, is_paused=True)
    info = {"space_id": octopus.space_id}
    assert board.join(Run(approval.task_id, parked=True, info=info), {machine(octopus)}).is_granted
    before = octopus.calls()["by_key"].get("octowait", 0)

    for _ in range(5):
        do(reconcile)

    assert octopus.calls()["by_key"]["octowait"] - before == 5 + 1
    assert not board.sweep().resumes


# Webhooks that are under way


@pytest.mark.parametrize(("seconds", "is_lost"), [(0, False), (50, False), (56, True)])
def test_webhook_that_may_be_under_way_is_not_counted_as_lost(board, clock, octopus, do, seconds, is_lost):
    """Octopus takes up to 50 s to send it, and its clock may be 5 s off."""
    works(octopus, "Web")
    clock.advance(timedelta(seconds=seconds))

    do(catch_up)

    [caught_up] = records(board, kind="caught_up")
    assert caught_up.detail["missed"] >= 1, "it counts all the same"
    assert (caught_up.detail["lost"] > 0) == is_lost
    assert (notice_of(caught_up) is not None) == is_lost


# Rebuild


@pytest.fixture
def empty(redis_url: str, namespace: str) -> Iterator[Board]:
    board = Board(connect(redis_url), namespace=namespace)
    board.sweep()
    yield board
    board.client.close()


def rebuilds(context: Context, *, after: timedelta = timedelta(minutes=1), client: Any = None) -> bool:
    """One pass after all that wait have come back."""
    context.board.script.offset_ms += after // timedelta(milliseconds=1)
    return rebuild.rebuild(context, client or context.octopus)


def works(octopus: SimulatedOctopus, project: str, name: str = "web-01") -> Deployment:
    return deploys(octopus, project, work("deploy", machines=[name], seconds=FOR_EVER))


class Denies:
    """Octopus as it is, but it does not say which machines *project* uses."""

    def __init__(self, octopus: OctopusClient, deployment: Deployment) -> None:
        self._octopus, self._deployment = octopus, deployment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._octopus, name)

    def deployment(self, deployment_id: str, **options: Any) -> Any:
        if deployment_id == self._deployment.id:
            raise OctopusDenied(f"GET /api/deployments/{deployment_id}: 403")
        return self._octopus.deployment(deployment_id, **options)


def test_board_stays_closed_for_a_run_whose_machines_octopus_will_not_tell(empty, octopus, make_context):
    """They could be those that somebody waits for (rule 15); people are told, once."""
    context = make_context(empty)
    hidden, other = works(octopus, "Hidden"), works(octopus, "Web", "web-02")
    client = Denies(context.octopus, hidden)

    for _ in range(2):
        assert not rebuilds(context, client=client)
        # A minute later it is asked about again; Redis itself ends these keys.
        assert empty.client.delete(*empty.client.keys(f"{empty.keys.named('resolving:rebuild-')}*")) == 1

    assert empty.closed_since_ms()
    assert state(empty, other) == "observed"
    [letter] = context.services.dead.all()
    assert letter["job"] == "rebuild"
    assert f"nobody is granted until {hidden.task_id} has ended" in letter["error"]
    assert "403" in letter["error"] and "octowait rebuild --open" in letter["error"]
    assert [r.detail["job"] for r in records(empty, kind="job_failed")] == ["rebuild"]


def test_board_opens_when_the_run_that_it_was_closed_for_has_ended(empty, octopus, make_context):
    context = make_context(empty)
    hidden = works(octopus, "Hidden")
    client = Denies(context.octopus, hidden)
    assert not rebuilds(context, client=client)

    octopus.cancel(hidden)
    octopus.wait_for(hidden, "Canceled")

    assert rebuilds(context, after=timedelta(seconds=5), client=client)


def test_run_that_is_hidden_is_asked_about_once_a_minute(empty, octopus, make_context):
    context = make_context(empty)
    client = Denies(context.octopus, works(octopus, "Hidden"))
    rebuilds(context, client=client)
    before = octopus.calls()["by_key"]["octowait"]

    for _ in range(4):
        rebuilds(context, after=timedelta(seconds=5), client=client)

    assert octopus.calls()["by_key"]["octowait"] - before == 4


def test_board_stays_closed_until_every_step_had_time_to_show_life(empty, octopus, make_context):
    """One that showed it a moment before the board was closed does so again after half of its time."""
    context = make_context(empty)
    works(octopus, "Web")

    assert not rebuilds(context, after=timedelta(seconds=44))
    assert rebuilds(context, after=timedelta(seconds=1))


def test_waiter_of_a_restored_backup_that_works_is_not_trampled(board, octopus, make_context):
    """The backup was made while it waited; it was granted since, and works."""
    context, at_work = make_context(board), works(octopus, "Web")
    board.join(Run("ServerTasks-900"), {machine(octopus)})
    board.join(Run(at_work.task_id), {machine(octopus)})
    board.join(Run("ServerTasks-901", parked=True), {machine(octopus)})
    board.script.offset_ms += 1000
    board.close(by="ann", reason="restored a backup")
    board.release("ServerTasks-900", cause="reconciled", ended=TaskEnd("succeeded"))

    assert rebuilds(context)

    assert state(board, at_work) == "observed"
    assert state(board, "ServerTasks-901") == "waiting"


def test_parked_waiter_of_a_restored_backup_that_was_resumed_is_not_trampled(board, octopus, make_context, do):
    """octowait answered its intervention, and Redis does not know any more."""
    context = make_context(board)
    board.join(Run("ServerTasks-900"), {machine(octopus)})
    asks = manual("octowait", instructions=MARKED)
    parked = deploys(octopus, "Web", asks, work("deploy", machines=["web-01"], seconds=FOR_EVER))
    octopus.wait_for(parked, is_paused=True)
    board.join(Run(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    [found] = context.octopus.interruptions(parked.task_id, pending_only=True, space=octopus.space_id)
    context.octopus.take_responsibility(found)
    context.octopus.submit(found, "Proceed", notes="octowait")
    octopus.wait_for(parked, "Executing")
    board.close(by="ann", reason="restored a backup")

    assert rebuilds(context)

    assert state(board, parked) == "observed"
    assert [r.cause for r in records(board, kind="resumed")] == ["octowait"]


def test_run_that_was_taken_for_dead_and_works_is_found(board, octopus, make_context):
    context, at_work = make_context(board), works(octopus, "Web")
    board.join(Run("ServerTasks-900"), {machine(octopus)})
    board.join(Run(at_work.task_id), {machine(octopus)})
    board.script.offset_ms += 600_000
    board.sweep()
    assert state(board, at_work) == "expired"
    board.close(by="ann", reason="restored a backup")

    assert rebuilds(context)

    assert state(board, at_work) == "observed"


TERMS = (
    f"{MARKED}\noctowait: on behalf of [#{{Octowait.OnBehalfOf}}], priority [#{{Octowait.Priority}}], "
    "time-out [#{Octowait.TimeoutMinutes}] min"
)


def parks_with(octopus: SimulatedOctopus, project: str, instructions: str, **variables: str) -> Deployment:
    asks = manual("octowait", instructions=instructions, variables={f"Octowait.{k}": v for k, v in variables.items()})
    deployment = deploys(octopus, project, asks, work("deploy", machines=["web-01"], seconds=0.1))
    octopus.wait_for(deployment, is_paused=True)
    return deployment


def test_parked_wait_is_put_back_with_what_its_intervention_says(empty, octopus, make_context):
    context = make_context(empty)
    holder = works(octopus, "Holder")
    child = parks_with(octopus, "Child", TERMS, OnBehalfOf=holder.task_id)
    urgent = parks_with(octopus, "Urgent", TERMS, Priority="5", TimeoutMinutes="30")
    plain = parks_with(octopus, "Plain", TERMS)

    assert rebuilds(context)

    assert state(empty, child) == "granted", "its parent waits for it"
    assert [empty.place(each.task_id).place for each in (urgent, plain)] == [1, 2]
    empty.script.offset_ms += 31 * 60_000
    empty.sweep()
    assert [state(empty, each) for each in (urgent, plain)] == ["timed_out", "waiting"]
    assert empty.place(plain.task_id).reason is None
    empty.script.offset_ms += 90 * 60_000
    empty.sweep()
    assert state(empty, plain) == "timed_out", "the step's own default"


def test_parked_wait_whose_terms_are_lost_says_so_and_is_resumed_in_its_turn(empty, octopus, make_context):
    """If it is a child of the one that holds, neither goes on: a person is told what to do."""
    context = make_context(empty)
    holder, parked = works(octopus, "Holder"), parks(octopus, "Web")

    assert rebuilds(context)

    assert "whom it runs for" in empty.place(parked.task_id).reason
    assert records(empty, kind="joined", task_id=parked.task_id)[0].detail["rebuilt"]
    octopus.cancel(holder)
    octopus.wait_for(holder, "Canceled")
    runner(context)(watch)
    runner(context)(resume)
    assert octopus.wait_for(parked)["State"] == "Success"


def test_lost_terms_are_answered_by_hand(empty, octopus, make_context):
    """The event of that is lost as well, and the intervention was raised before the run was put back in line."""
    context = make_context(empty)
    works(octopus, "Holder")
    asks = manual("octowait", instructions=MARKED)
    child = deploys(octopus, "Child", asks, work("deploy", machines=["web-01"], seconds=FOR_EVER))
    octopus.wait_for(child, is_paused=True)
    empty.script.offset_ms += 600_000
    assert rebuilds(context)

    octopus.submit(octopus.pending(child)[0]["Id"])
    octopus.wait_for(child, "Executing")
    empty.script.offset_ms += 31_000
    runner(context)(reconcile)

    assert state(empty, child) == "observed"


def test_paused_run_is_told_of_once_however_long_the_board_stays_closed(empty, octopus, make_context):
    context = make_context(empty)
    client = Denies(context.octopus, works(octopus, "Hidden"))
    approval = deploys(octopus, "Db", manual("Approve", instructions="Ask Jane"), work("d", machines=["web-01"]))
    octopus.wait_for(approval, is_paused=True)

    for _ in range(3):
        rebuilds(context, after=timedelta(minutes=1), client=client)

    assert len(records(empty, kind="event", task_id=approval.task_id)) == 2, "its start and its pause"
