"""The jobs that RQ runs for us: their names, their queues, and how one is asked for.

The web asks for jobs by their dotted names and never imports `workers`. RQ is imported where it is called for: a web
process that never asks for a job is a third smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from app.settings import Settings
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

if TYPE_CHECKING:
    from rq import Queue
    from rq.job import Job as RqJob

#: Seconds a failed job keeps its id; RQ's default is a year. What failed is kept as a dead letter.
FAILURE_TTL_SECONDS = 5

#: Seconds in which a worker that has taken a job begins its round; one that has not by then is taken for dead.
BEGIN_SECONDS = 10


@dataclass(frozen=True)
class Job:
    """A job without arguments: it reads what there is to do from Redis, so asking for it twice is asking once."""

    name: str
    #: Seconds it may take; each ends by itself sooner.
    timeout_seconds: int
    #: It goes before the others: somebody waits for what it does, or it finds machines in use that count as free.
    is_urgent: bool = False
    #: Without an API key there is nothing for it to do.
    needs_octopus: bool = True

    @property
    def function(self) -> str:
        return f"workers.{self.name}.run"


RESOLVE = Job("resolve", 180, is_urgent=True)
RECONCILE = Job("reconcile", 60, is_urgent=True)
WATCH = Job("watch", 30, is_urgent=True)
CHECK = Job("check", 30, is_urgent=True)
RESUME = Job("resume", 60, is_urgent=True)
REBUILD = Job("rebuild", 180, is_urgent=True)
CATCH_UP = Job("catch_up", 180)
ARCHIVE = Job("archive", 180, needs_octopus=False)
NOTIFY = Job("notify", 120, needs_octopus=False)
LEARN = Job("learn", 60, needs_octopus=False)

JOBS = (RESOLVE, RECONCILE, WATCH, CHECK, RESUME, REBUILD, CATCH_UP, ARCHIVE, NOTIFY, LEARN)


def queues_of(client: Client, settings: Settings, *, job_class: type[RqJob] | None = None) -> list[Queue]:
    """The queues of the namespace, urgent first. JSON, since a pickled job is code for whoever can write to Redis.

    Args:
        job_class: What reads the jobs of those who run them, as `workers.vetted`.
    """
    from rq import Queue
    from rq.serializers import JSONSerializer

    names = (f"octowait-{settings.namespace}-urgent", f"octowait-{settings.namespace}")
    return [Queue(name, connection=client, serializer=JSONSerializer, job_class=job_class) for name in names]


def enqueue(client: Client, settings: Settings, job: Job) -> bool:
    """Have a worker do *job*; False if that is on its way already.

    RQ keeps an id taken while its job runs, and one that runs may have read what there is to do before this was. So the
    id carries a round, and a job begins a new one before it reads: what is asked for from then on is another job, and a
    worker that is killed leaves no id behind that anybody waits for. A worker that is killed between taking a job and
    beginning its round does leave one: `BEGIN_SECONDS` later the job is asked for in the next round.

    Raises:
        StoreError: Redis could not do it.
    """
    from rq.exceptions import DuplicateJobError

    urgent, other = queues_of(client, settings)
    queue = urgent if job.is_urgent else other
    with redis_errors():
        number = int(client.get(_round_key(settings, job)) or 0)
        job_id = f"octowait-{settings.namespace}-{job.name}-{number}"
        try:
            queue.enqueue(
                job.function,
                job_id=job_id,
                unique=True,
                job_timeout=job.timeout_seconds,
                result_ttl=0,
                failure_ttl=FAILURE_TTL_SECONDS,
            )
        except DuplicateJobError:
            if not _is_lost(queue, job_id):
                return False
            begin_round(client, settings, job)
            return enqueue(client, settings, job)
    return True


def _is_lost(queue: Queue, job_id: str) -> bool:
    """Whether a worker took the job, and has not begun its round in time. RQ finds that late, or never.

    It looks for those that were started once a minute when their time-out is over, and knows no others.
    """
    from rq.job import Job as RqJob
    from rq.utils import as_text

    client = queue.connection
    if client.lpos(queue.key, job_id) is not None:
        return False
    taken = client.hmget(RqJob.key_for(job_id), "started_at", "enqueued_at")
    times = [datetime.fromisoformat(as_text(value)) for value in taken if value]
    return bool(times) and datetime.now(UTC) - times[0] > timedelta(seconds=BEGIN_SECONDS)


def begin_round(client: Client, settings: Settings, job: Job) -> None:
    """Let *job* be asked for once more; the first thing it does."""
    with redis_errors():
        client.incr(_round_key(settings, job))


def workers_seen(client: Client, settings: Settings) -> bool:
    """Whether a worker of the namespace has reported within `workers.run.WORKER_TTL_SECONDS` and a minute."""
    from rq import SimpleWorker

    with redis_errors():
        keys = SimpleWorker.all_keys(queue=queues_of(client, settings)[0])
        return bool(keys) and bool(client.exists(*keys))


def _round_key(settings: Settings, job: Job) -> str:
    return Keys(settings.namespace).named(f"{job.name}-round")
