"""Repairs of the gate in which one thing comes between two others: acted out beside a simulated Octopus Server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.coordination.board import Board
from app.coordination.timeline import Filter, Timeline
from app.domain.run import Run
from app.octopus.client import OctopusClient
from tests.conftest import services_on
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import Step, manual, work
from workers import reconcile, resume, watch
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
