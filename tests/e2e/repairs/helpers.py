"""What the tests of the repairs do in Octopus, and what they look at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.coordination.board import Board
from app.domain.records import Filter
from app.domain.terms import TERMS_LINE
from app.history.timeline import Timeline
from app.jobs import queues_of
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusDenied
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import Step, manual, work
from workers import rebuild
from workers.context import Context, current

#: Work of so many seconds never ends within a test.
FOR_EVER = 10_000.0

#: The instructions that docs/how-to/wait-without-a-task-slot.md has people write.
MARKED = f"octowait resumes this deployment when its machines are free.\n{TERMS_LINE}"

#: The same without the line that octowait knows its own by.
UNMARKED = "octowait resumes this deployment when its machines are free."


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


def works(octopus: SimulatedOctopus, project: str, name: str = "web-01") -> Deployment:
    """A deployment that works on the machine *name* for ever."""
    return deploys(octopus, project, steps=[work("deploy", machines=[name], seconds=FOR_EVER)])


def parks(octopus: SimulatedOctopus, project: str) -> Deployment:
    """A deployment that is paused for octowait's intervention, and then works on web-01."""
    asks = manual("octowait", instructions=MARKED)
    deployment = deploys(octopus, project, steps=[asks, work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(deployment, is_paused=True)
    return deployment


def rebuilds(context: Context, *, after: timedelta = timedelta(minutes=2), client: Any = None) -> bool:
    """One pass after all that wait have come back."""
    context.board.script.offset_ms += after // timedelta(milliseconds=1)
    return rebuild.rebuild(context, client or context.octopus)


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
