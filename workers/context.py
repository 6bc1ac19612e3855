"""The context of a job: the services and clients that the worker hands to each job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from rq.job import Job as RqJob
from structlog.contextvars import bound_contextvars, unbind_contextvars

from app.coordination.board import Board
from app.coordination.claims import Claims, UnresolvedRuns
from app.coordination.tracked import TrackedRuns
from app.coordination.unseen import Unseen
from app.domain.status import RunStatus
from app.jobs import Job, begin_round, enqueue
from app.octopus.client import OctopusClient
from app.services import Services
from app.settings import Settings
from workers.resolving.memory import Memory
from workers.vetted import name_of


@dataclass(frozen=True)
class Context:
    """The context of a job; *octopus* is None without OCTOPUS_URL or OCTOPUS_API_KEY."""

    services: Services
    octopus: OctopusClient | None
    memory: Memory = field(default_factory=Memory)

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def board(self) -> Board:
        return self.services.board

    @property
    def claims(self) -> Claims:
        return self.services.claims

    @property
    def unresolved(self) -> UnresolvedRuns:
        return self.services.unresolved

    @property
    def unseen(self) -> Unseen:
        return self.services.unseen

    @property
    def tracked(self) -> TrackedRuns:
        return self.services.tracked

    def record_failure(self, job: RqJob, kind: type[BaseException], error: BaseException, *_: object) -> bool:
        """Keep a job that failed as a dead letter; what it should have done is asked for again at its next time."""
        name = name_of(job)
        self.services.dead_jobs.keep(job=name, error=f"{kind.__name__}: {error}"[:1000])
        self.board.note("job_failed", job=name, error=f"{kind.__name__}: {error}"[:300])
        return True

    def begin(self, job: Job) -> None:
        """Let *job* be asked for once more; the first thing it does."""
        begin_round(self.services.client, self.settings, job)

    def enqueue(self, job: Job) -> bool:
        """Have a worker do *job* next; False if that is on its way already."""
        return enqueue(self.services.client, self.settings, job)


def log_context(place: RunStatus) -> AbstractContextManager[None]:
    """Name the run and its machines in every line of the log."""
    return bound_contextvars(task=place.task_id, machines=[machine.id for machine in place.machines])


@contextmanager
def log_context_of_task(task_id: str) -> Iterator[None]:
    """The same of a run whose machines will be known, and bound, only later."""
    with bound_contextvars(task=task_id):
        try:
            yield
        finally:
            unbind_contextvars("machines")


current: ContextVar[Context] = ContextVar("current")
