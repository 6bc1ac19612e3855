"""The worker process: runs jobs, one at a time."""

from __future__ import annotations

import signal
import time
from typing import Any

import structlog
from rq import SimpleWorker
from rq.exceptions import InvalidJobOperation, StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import now
from structlog.contextvars import bound_contextvars

from app.followers.metrics import JOB
from app.jobs import queues_of
from app.octopus.ask import make_client
from app.services import make_services
from app.settings import Settings
from app.store.connection import connect
from app.store.errors import NewerData, StoreError
from app.store.scripts import redis_errors
from workers.context import Context, current
from workers.notify import targets_of
from workers.patient import PatientJob
from workers.vetted import VettedJob, name_of, refusal

log = structlog.get_logger()

#: Seconds after which an idle worker reports; RQ forgets one that has not for this and a minute.
WORKER_TTL_SECONDS = 30

#: Seconds between two looks for jobs whose worker was killed.
MAINTENANCE_SECONDS = 60

#: Seconds before a worker that lost Redis begins anew.
RESTART_PAUSE = 1.0

#: The same for one that is too old for the data in Redis.
TOO_OLD_PAUSE = 10.0


class JobWorker(SimpleWorker):
    """RQ's worker without a fork for each job; it hands each job its context and runs only `app.jobs.JOBS`."""

    job_class = PatientJob

    def __init__(self, context: Context, **options: Any) -> None:
        super().__init__(**options)
        self._context = context
        #: Whether somebody asked it to stop, rather than that it gave up.
        self.is_stopping = False
        #: Whether it waits for a job, rather than that it has one.
        self._is_waiting = False

    def execute_job(self, job: Job, queue: Queue) -> None:
        if not isinstance(job, VettedJob) or job.known is None:
            self._refuse(job)
            return
        try:
            self._context.board.script.check_version()
        except NewerData:
            # A newer worker takes it. This one begins anew, and says then why it does nothing.
            queue.push_job_id(job.id, at_front=True)
            self._stop_requested = True
            return
        token = current.set(self._context)
        try:
            with bound_contextvars(job=name_of(job), job_id=job.id):
                super().execute_job(job, queue)
        finally:
            current.reset(token)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        began = time.monotonic()
        is_done = super().perform_job(job, queue, execution)
        has_failed = not is_done or (isinstance(job, PatientJob) and job.was_unanswered)
        self._count(name_of(job), not has_failed, time.monotonic() - began)
        return is_done

    def _refuse(self, job: Job) -> None:
        """Keep it as a dead letter, and forget it with whatever was to come after it."""
        error = InvalidJobOperation(refusal(job) if isinstance(job, VettedJob) else "it was not vetted")
        log.error("worker: a job was refused", why=str(error), job_id=job.id[:100])
        self._context.record_failure(job, InvalidJobOperation, error)
        self.connection.delete(job.key, job.dependents_key, job.dependencies_key)

    def _count(self, name: str, is_done: bool, seconds: float) -> None:
        buffer = self._context.services.metric_buffer
        buffer.add(JOB.observe(round(seconds * 1000), name, "done" if is_done else "failed"))
        try:
            buffer.flush()
        except StoreError as error:
            log.warning("worker: what was counted is written after the next job", error=str(error))

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        self._is_waiting = True
        try:
            if self._stop_requested:
                raise StopRequested
            return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
        finally:
            self._is_waiting = False

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        # Between two waits: an exception from the handler of a signal gets lost where a destructor runs.
        if self._stop_requested and self._is_waiting:
            raise StopRequested
        super().heartbeat(timeout, pipeline)

    def request_stop(self, signum: Any, frame: Any) -> None:
        """Stop after the job that runs, if any.

        Where one does, RQ's own writes so into Redis: from the handler of a signal, which may have come while the same
        thread held the lock of the connections, and then waits for it forever.
        """
        self.is_stopping = self._stop_requested = True
        self._shutdown_requested_date = now()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self.request_force_stop)
        if self._is_waiting:
            raise StopRequested


def run_worker(settings: Settings) -> None:
    """Run jobs until SIGTERM or SIGINT; a job that runs is finished first, a second signal ends it too.

    Args:
        settings: With ``redis_url`` set.
    """
    if settings.notify_urls:
        targets_of(settings)  # A bad one stops the start.
    services = make_services(settings)
    context = Context(services, make_client(settings, services.budget, reach=services.reach))
    if context.octopus is None:
        log.info(
            "worker: no Octopus API key, so deployments without a wait step do not make their machines busy: events do "
            "not say which machines they use. Set OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY to change that."
        )
    # RQ listens to signals only once it has begun, and not between two workers.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop)
    try:
        while not _work(context):
            log.warning("worker: ended, beginning anew", pause_seconds=RESTART_PAUSE)
            time.sleep(RESTART_PAUSE)
    except StopRequested:
        return


def _stop(*_: object) -> None:
    raise StopRequested


def _work(context: Context) -> bool:
    """Whether the worker ended because it was asked to, rather than because Redis went away.

    Raises:
        StopRequested: it was asked to before it had begun.
    """
    client = connect(context.settings.redis_url, blocking=True)
    try:
        context.board.script.check_version()
        with redis_errors():
            worker = JobWorker(
                context,
                queues=queues_of(client, context.settings, job_class=PatientJob),
                connection=client,
                serializer=JSONSerializer,
                worker_ttl=WORKER_TTL_SECONDS,
                maintenance_interval=MAINTENANCE_SECONDS,
                exception_handlers=[context.record_failure],
            )
            log.info("worker: ready", queues=",".join(worker.queue_names()))
            try:
                worker.work(logging_level="WARNING")
            except StopRequested:
                worker.teardown()  # type: ignore[no-untyped-call]  # RQ is typed in parts
                raise
        return worker.is_stopping
    except NewerData as error:
        log.error(f"worker: {error}")
        time.sleep(TOO_OLD_PAUSE)
        return False
    except StoreError as error:
        log.warning("worker: lost Redis", error=str(error))
        return False
    finally:
        client.close()
