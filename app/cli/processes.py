"""Commands that run processes: ``up``, ``serve``, ``worker``, ``scheduler``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.cli.command import command

if TYPE_CHECKING:
    from app.settings import Settings


@command("up", "octowait up")
def up() -> None:
    """Run web, worker and scheduler, on an embedded Redis unless OCTOWAIT_REDIS_URL is set."""
    from app.cli.up import up as run
    from app.settings import load_settings
    from app.settings.generated import with_secrets

    sys.exit(run(with_secrets(load_settings())))


@command("serve", "OCTOWAIT_BIND=127.0.0.1:8080 octowait serve")
def serve() -> None:
    """Run the web server: webhooks, API and pages."""
    from app.web.server import serve as run

    with _process_settings("web") as settings:
        run(settings)


@command("worker", "octowait worker")
def worker() -> None:
    """Run a worker for the jobs that ask Octopus."""
    from workers.run import run_worker

    with _process_settings("worker") as settings:
        run_worker(settings)


@command("scheduler", "octowait scheduler")
def scheduler() -> None:
    """Run the scheduler; of several, one works and the others stand by."""
    from workers.schedule import run_scheduler

    with _process_settings("scheduler") as settings:
        run_scheduler(settings)


@contextmanager
def _process_settings(process: str) -> Iterator[Settings]:
    """Settings with secrets and a Redis, which is the embedded one if none is set, for as long as this is open."""
    import structlog

    from app.logs import configure_logs
    from app.settings import load_settings, unknown_variables
    from app.settings.generated import with_secrets
    from app.settings.values import STRONG
    from app.store.embedded import EmbeddedServer

    settings = with_secrets(load_settings())
    configure_logs(settings.log_format, level=settings.log_level, secrets=settings.secrets)
    for variable, meant in unknown_variables().items():
        hint = f": is {meant} meant?" if meant else ""
        structlog.get_logger().warning(f"{variable} is no setting, and nothing comes of it{hint}")
    for name in settings.weak_secrets:
        structlog.get_logger().warning(f"{name} can be guessed: take one of {STRONG} characters or more")
    if settings.redis_url:
        _tell_store_faults(settings, process)
        yield settings
        return
    server = EmbeddedServer(settings.data_dir / "redis")
    try:
        yield settings.model_copy(update={"redis_url": server.acquire()})
    finally:
        server.release()


def _tell_store_faults(settings: Settings, process: str) -> None:
    """Say what the Redis server lacks or refuses this process; it goes on, since that may be accepted for a while."""
    import structlog

    from app.domain.faults import shortcomings
    from app.store.connection import connect
    from app.store.errors import StoreError
    from app.store.persistence import read_condition

    log = structlog.get_logger()
    client = connect(settings.redis_url, max_connections=1)
    try:
        for fault in shortcomings(read_condition(client, process, settings.namespace), **settings.durability):
            log.error(f"{fault.message} {fault.do}", code=fault.code)
    except StoreError as error:
        log.warning("Redis was not looked at, and is as soon as it answers", error=str(error))
    finally:
        client.close()
