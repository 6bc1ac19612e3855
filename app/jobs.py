"""The jobs that RQ runs for us: their names, their queue, and how one is asked for.

The web asks for jobs by their dotted names and never imports `workers`.
"""

from __future__ import annotations

from rq import Queue, SimpleWorker
from rq.exceptions import DuplicateJobError
from rq.serializers import JSONSerializer

from app.coordination.connection import Client
from app.coordination.keys import Keys
from app.coordination.scripts import translated
from app.settings import Settings

RESOLVE = "workers.resolve.run"

#: Seconds a job may take. `workers.resolve` ends by itself far sooner.
JOB_TIMEOUT_SECONDS = 180

#: Seconds a failed job is kept to look at. Its id is taken for so long, RQ's default is a year.
FAILURE_TTL_SECONDS = 5


def queue_of(client: Client, settings: Settings) -> Queue:
    """The queue of the namespace. JSON, since a pickled job is code for whoever can write to Redis."""
    return Queue(f"octowait-{settings.namespace}", connection=client, serializer=JSONSerializer)


def enqueue_resolve(client: Client, settings: Settings) -> bool:
    """Have a worker find out the machines of observed runs; False if that is on its way already.

    RQ keeps an id taken while its job runs, and one that runs may have read the list of runs before this one was on
    it. So the id carries a round, and a job begins a new one before it reads: what is asked for from then on is
    another job, and a worker that is killed leaves no id behind that anybody waits for.

    Raises:
        StoreError: Redis could not do it.
    """
    with translated():
        number = int(client.get(_round_key(settings)) or 0)
        try:
            queue_of(client, settings).enqueue(
                RESOLVE,
                job_id=f"octowait-{settings.namespace}-resolve-{number}",
                unique=True,
                job_timeout=JOB_TIMEOUT_SECONDS,
                result_ttl=0,
                failure_ttl=FAILURE_TTL_SECONDS,
            )
        except DuplicateJobError:
            return False
    return True


def begin_resolve_round(client: Client, settings: Settings) -> None:
    """Let a further resolve be asked for; the first thing the job does."""
    with translated():
        client.incr(_round_key(settings))


def workers_seen(client: Client, settings: Settings) -> bool:
    """Whether a worker of the namespace has reported within `workers.run.WORKER_TTL_SECONDS` and a minute."""
    with translated():
        keys = SimpleWorker.all_keys(queue=queue_of(client, settings))
        return bool(keys) and bool(client.exists(*keys))


def _round_key(settings: Settings) -> str:
    return Keys(settings.namespace).named("resolve-round")
