"""The process that asks for jobs at their times; a second one stands by."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from rq.cron import CronJob, CronScheduler

from app.coordination.connection import Client, connect
from app.coordination.errors import StoreError
from app.coordination.keys import Keys
from app.coordination.scripts import translated
from app.coordination.unresolved import Unresolved
from app.jobs import RESOLVE, enqueue_resolve, queue_of
from app.settings import Settings
from workers.lease import Lease

log = structlog.get_logger()

#: How long after the death of the one scheduler the next takes over, at most.
LEASE = timedelta(seconds=10)

#: How often runs that could not be resolved, or whose job was lost, are tried again.
RESOLVE_EVERY = timedelta(seconds=10)


class Ask(CronJob):
    """A job of RQ's cron that is enqueued our way.

    RQ's own way pickles, whatever the worker expects, and piles up when no worker runs.
    """

    def __init__(self, ask: Callable[[], object], *, func_name: str, queue_name: str, every: timedelta) -> None:
        super().__init__(queue_name, func_name=func_name, interval=int(every.total_seconds()))
        self._ask = ask

    def enqueue(self, connection: Client) -> Any:
        return self._ask()


def run_scheduler(settings: Settings, *, lease: timedelta = LEASE, resolve_every: timedelta = RESOLVE_EVERY) -> None:
    """Ask for jobs at their times until SIGTERM or SIGINT, as long as no other scheduler of the namespace does.

    Args:
        settings: With ``redis_url`` set.
        lease: How long after the death of the one scheduler the next takes over, at most.
        resolve_every: In whole seconds.
    """
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    client = connect(settings.redis_url)
    role = Lease(client, Keys(settings.namespace).named("scheduler"), lease)
    cron = _cron(client, settings, resolve_every)
    was_ours = None
    while not stop.is_set():
        try:
            if (is_ours := role.hold()) != was_ours:
                log.info("scheduler: runs" if is_ours else "scheduler: stands by, another one runs")
                was_ours = is_ours
            pause = lease.total_seconds() / 3
            if is_ours:
                pause = min(pause, _enqueue_due(cron))
        except StoreError as error:
            log.warning("scheduler: Redis does not answer, trying again", error=str(error))
            pause = 1.0
        stop.wait(max(pause, 0.05))
    try:
        role.release()
    except StoreError as error:
        log.warning("scheduler: could not give its lease back, it expires", error=str(error))
    client.close()


def _enqueue_due(cron: CronScheduler) -> float:
    """Enqueue what is due; seconds until more is."""
    with translated():
        cron.enqueue_jobs()
    return cron.calculate_sleep_interval()


def _cron(client: Client, settings: Settings, resolve_every: timedelta) -> CronScheduler:
    unresolved = Unresolved(client, Keys(settings.namespace))

    def resolve() -> None:
        if unresolved.any():
            enqueue_resolve(client, settings)

    cron = CronScheduler(connection=client, logging_level=logging.WARNING)
    queue_name = queue_of(client, settings).name
    cron.get_jobs().append(Ask(resolve, func_name=RESOLVE, queue_name=queue_name, every=resolve_every))
    return cron
