"""The scheduler process: enqueues jobs at their times; a second scheduler stands by."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from rq.cron import CronJob, CronScheduler

from app.followers.metrics import count_records
from app.jobs import ARCHIVE, CATCH_UP, CHECK, LEARN, NOTIFY, RECONCILE, RESOLVE, WATCH, queues_of
from app.services import Services, make_services
from app.settings import Settings
from app.store.connection import Client
from app.store.errors import NewerData, StoreError
from app.store.scripts import redis_errors

log = structlog.get_logger()

#: How long after the death of the one scheduler the next takes over, at most.
LEASE = timedelta(seconds=10)

#: How often runs that could not be resolved, or whose job was lost, are tried again.
RESOLVE_EVERY = timedelta(seconds=10)

#: How often the scheduler does what a web process does every second: it may be the only one there is.
SWEEP_EVERY = timedelta(seconds=2)

#: How often batches of webhooks are looked at for gaps.
GAPS_EVERY = timedelta(seconds=10)

#: How often the timeline is counted for the metrics.
MEASURE_EVERY = timedelta(seconds=5)

#: How often it is looked whether something goes wrong that nobody asks about.
FAULTS_EVERY = timedelta(seconds=20)

#: How often the end of the certificate of PUBLIC_URL is looked at.
CERTIFICATE_EVERY = timedelta(hours=1)

#: How often is learned from what has happened since.
LEARN_EVERY = timedelta(seconds=5)

#: How often it is looked whether people are to be told of something.
NOTIFY_EVERY = timedelta(seconds=10)

#: How often it is looked whether a day of the timeline is old enough for the archive.
ARCHIVE_EVERY = timedelta(hours=1)

#: Nothing of a batch having come for so long, no more of it will: Octopus waits 30 s for an answer and sends on.
QUIET_MS = 40_000


@dataclass(frozen=True)
class Entry:
    """An entry of the schedule: what is done, and how often, in whole seconds."""

    name: str
    every: timedelta
    do: Callable[[], object]


class Ask(CronJob):
    """A cron job of RQ that runs an entry of the schedule.

    RQ's own way pickles, whatever the worker expects, and piles up when no worker runs.
    """

    def __init__(self, entry: Entry, *, queue_name: str) -> None:
        super().__init__(queue_name, func_name=entry.name, interval=int(entry.every.total_seconds()))
        self._do = entry.do

    def enqueue(self, connection: Client) -> Any:
        return self._do()


def run_scheduler(settings: Settings, *, lease: timedelta = LEASE, resolve_every: timedelta = RESOLVE_EVERY) -> None:
    """Ask for jobs at their times until SIGTERM or SIGINT, as long as no other scheduler of the namespace does.

    Args:
        settings: With ``redis_url`` set.
        lease: How long after the death of the one scheduler the next takes over, at most.
        resolve_every: In whole seconds.
    """
    # Held back and asked for, rather than handled: a handler that sets what its thread waits for may find it locked.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    services = make_services(settings)
    client, role = services.client, services.lock("scheduler", lease)
    cron = _cron(client, settings, entries(services, resolve_every=resolve_every))
    was_ours = None
    is_ended = False
    while not is_ended:
        try:
            if (is_ours := role.hold()) != was_ours:
                log.info("scheduler: runs" if is_ours else "scheduler: stands by, another one runs")
                was_ours = is_ours
            pause = lease.total_seconds() / 3
            if is_ours:
                pause = min(pause, _enqueue_due(cron))
        except NewerData as error:
            log.error(f"scheduler: {error}")
            pause = 10.0
        except StoreError as error:
            log.warning("scheduler: Redis does not answer, trying again", error=str(error))
            pause = 1.0
        is_ended = signal.sigtimedwait(ends, max(pause, 0.05)) is not None
    try:
        role.release()
    except StoreError as error:
        log.warning("scheduler: could not give its lease back, it expires", error=str(error))
    client.close()


def entries(services: Services, *, resolve_every: timedelta = RESOLVE_EVERY) -> list[Entry]:
    """The schedule. Each entry looks first whether there is anything to do, so that an idle gate asks for nothing."""
    settings, board = services.settings, services.board
    tracked, unresolved, outbox = services.tracked, services.unresolved, services.outbox

    def gaps() -> None:
        for gap in services.batches.take_gaps(quiet_ms=QUIET_MS, now_ms=board.now_ms()):
            board.note("gap", batch=gap.batch_id, came=gap.came, total=gap.total)
            services.request(CATCH_UP)

    def archive() -> None:
        if services.retention.is_due(board.now_ms()):
            services.request(ARCHIVE)

    def notify() -> None:
        if not settings.notify_urls:
            outbox.end()
        elif not outbox.is_idle(services.timeline.last_id(), board.now_ms()):
            services.request(NOTIFY)

    logged: set[tuple[str, str | None]] = set()

    def faults() -> None:
        """Log each fault when it is first seen, and when it is over."""
        current = {(fault.code, fault.task_id): fault for fault in services.faults()}
        for key in current.keys() - logged:
            log.warning(f"fault: {current[key].message}", do=current[key].do)
        for code, task_id in logged - current.keys():
            log.info("fault: over", code=code, task=task_id)
        logged.clear()
        logged.update(current)

    def look_at_certificate() -> None:
        try:
            services.certificate.look()
        except StoreError as error:
            log.warning("scheduler: the end of the certificate was not noted", error=str(error))

    def certificate() -> None:
        """Apart from the other entries, which a server that does not answer would hold up."""
        threading.Thread(target=look_at_certificate, daemon=True).start()

    learned = "0-0"

    def learn() -> None:
        nonlocal learned
        newest = services.timeline.last_id()
        if newest != learned and services.request(LEARN):
            learned = newest

    # Somebody may wait for it: a child for its parent, the owner of a run for one who has claimed it.
    check_every = timedelta(seconds=max(1, settings.reconcile_seconds // 3))

    def seconds(number: int) -> timedelta:
        return timedelta(seconds=number)

    return [
        Entry("sweep", SWEEP_EVERY, lambda: services.react_to_sweep(board.sweep())),
        Entry("resolve", resolve_every, lambda: unresolved.any() and services.request(RESOLVE)),
        Entry("watch", seconds(settings.watch_seconds), lambda: tracked.somebody_waits() and services.request(WATCH)),
        Entry("check", check_every, lambda: tracked.unchecked(1) and services.request(CHECK)),
        # Also while nobody holds or waits: it finds starts that no webhook brought.
        Entry("reconcile", seconds(settings.reconcile_seconds), lambda: services.request(RECONCILE)),
        Entry("gaps", GAPS_EVERY, gaps),
        # What is in the archive was counted; after a loss of Redis it would be once more, years of it within minutes.
        Entry("measure", MEASURE_EVERY, lambda: count_records(services.metric_values, services.recent)),
        Entry("learn", LEARN_EVERY, learn),
        Entry("notify", NOTIFY_EVERY, notify),
        Entry("certificate", CERTIFICATE_EVERY, certificate),
        Entry("faults", FAULTS_EVERY, faults),
        Entry("archive", ARCHIVE_EVERY, archive),
        Entry("catch up", seconds(settings.catch_up_seconds), lambda: services.request(CATCH_UP)),
    ]


def _enqueue_due(cron: CronScheduler) -> float:
    """Do what is due; seconds until more is."""
    with redis_errors():
        cron.enqueue_jobs()
    return cron.calculate_sleep_interval()


def _cron(client: Client, settings: Settings, schedule: list[Entry]) -> CronScheduler:
    cron = CronScheduler(connection=client, logging_level=logging.WARNING)
    queue_name = queues_of(client, settings)[1].name
    cron.get_jobs().extend(Ask(entry, queue_name=queue_name) for entry in schedule)
    return cron
