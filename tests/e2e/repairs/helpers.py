"""What the tests of the repairs do in Octopus, and what they look at."""

from __future__ import annotations

from typing import Any

from app.coordination.board import Board
from app.coordination.timeline import Filter, Timeline
from app.jobs import queues_of
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import Step, work
from workers.context import Context, current

#: Work of so many seconds never ends within a test.
FOR_EVER = 10_000.0

MARKED = "octowait resumes this deployment when its machines are free."


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
