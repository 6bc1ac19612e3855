"""A worker that is asked to stop does so, wherever it was when the signal came."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from app.jobs import LEARN, enqueue, queues_of
from app.services import Services, make_services
from app.settings import Settings
from app.store.connection import connect
from workers.context import Context
from workers.patient import PatientJob
from workers.run import JobWorker, _stop


class Guard:
    """A lock that sends its own process SIGTERM while it is held for the *nth* time by the main thread; 0: never."""

    def __init__(self, nth: int) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._nth = nth
        self.taken = 0
        #: Whether somebody asked for it who has it: without this he would wait forever.
        self.has_locked_itself = False

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            self.has_locked_itself = True
            raise RuntimeError("it waits forever for a lock that it holds itself")
        self._lock.acquire()
        self._owner = me

    def __exit__(self, *_: object) -> None:
        try:
            if threading.current_thread() is threading.main_thread():
                self.taken += 1
                if self.taken == self._nth:
                    os.kill(os.getpid(), signal.SIGTERM)
        finally:
            self._owner = None
            self._lock.release()


@pytest.fixture
def make(redis_url: str, namespace: str) -> Callable[[int], Services]:
    """Makes an octowait that has one job to do."""

    def make(number: int) -> Services:
        services = make_services(Settings(redis_url=redis_url, namespace=f"{namespace}{number}"))
        services.board.sweep()
        assert enqueue(services.client, services.settings, LEARN)
        return services

    return make


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


def worker_of(services: Services, client: redis.Redis) -> JobWorker:
    queues = queues_of(client, services.settings, job_class=PatientJob)
    return JobWorker(Context(services, None), queues=queues, connection=client, serializer=JSONSerializer)


def work_with_signal(services: Services, nth: int) -> tuple[Guard, JobWorker]:
    """Let a worker do a job, and ask it to stop while the lock of its connections is held for the *nth* time."""
    client: Any = connect(services.settings.redis_url, blocking=True)
    worker = worker_of(services, client)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop)
    guard = client.connection_pool.pool._guard = Guard(nth)
    with suppress(StopRequested):
        worker.work(burst=True, logging_level="CRITICAL")
        client.close()
    return guard, worker


def test_a_signal_stops_a_worker_wherever_it_comes(make):
    untouched, worker = work_with_signal(make(0), 0)

    assert untouched.taken > 40 and worker.is_stopping is False
    stopped = 0
    for nth in range(1, untouched.taken + 1):
        guard, worker = work_with_signal(make(nth), nth)
        assert guard.has_locked_itself is False, nth
        # Before it has begun, the signal ends it in another way; after what is done once only, none comes.
        assert worker.is_stopping or nth < 15 or guard.taken < nth, nth
        stopped += worker.is_stopping
    assert stopped > 30


def test_a_signal_whose_exception_got_lost_stops_a_worker_nevertheless(make, monkeypatch):
    """Python drops what a handler raises where a destructor runs."""
    services = make(0)
    client: Any = connect(services.settings.redis_url, blocking=True)
    worker = worker_of(services, client)

    def dequeue(*_: object, **__: object) -> None:
        with pytest.raises(StopRequested):
            worker.request_stop(signal.SIGTERM, None)
        worker.heartbeat()

    monkeypatch.setattr(worker.queue_class, "dequeue_any", dequeue)

    assert worker.work(logging_level="CRITICAL") is False
    assert worker.is_stopping is True
    client.close()
