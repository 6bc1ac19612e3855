"""The web server: gunicorn with gevent, so that a blocked request costs a greenlet and nothing else."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from typing import Any

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger as GunicornLog
from gunicorn.workers.ggevent import GeventWorker

from app.services import Services, make_services
from app.settings import Settings
from app.store.errors import StoreError
from app.web.long_poll import most_connections
from app.web.refusals import RefusalLog

log = structlog.get_logger()

#: Seconds between two sweeps of one process: a dead waiter blocks others for at most its TTL plus this.
SWEEP_SECONDS = 1.0

#: Seconds that a client may take for a part of an answer before its connection ends.
SILENT_SECONDS = 60.0

#: Connections beyond those that may block, so that others are answered.
KEPT_FOR_OTHERS = 100


class Worker(GeventWorker):  # type: ignore[misc]
    """A gevent worker that lets blocked requests answer at once when it is told to stop; their steps ask again."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._let_go()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        self._let_go()
        super().handle_quit(sig, frame)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        # A client that takes nothing of what it is sent, or goes without a word, does not keep its connection.
        sock.settimeout(SILENT_SECONDS)
        try:
            super().handle_request(listener_name, req, sock, addr)
        except TimeoutError as error:
            raise StopIteration from error
        # A client that sends its next request at once is never waited for, and would keep all others waiting.
        time.sleep(0)

    def run(self) -> None:
        import gevent

        services: Services = self.wsgi.extensions["octowait"]
        # What Octopus told while nobody listened is lost to everybody but its events.
        services.has_missed.set()
        if services.settings.redis_replicas:
            # Who blocks on Redis itself hears of a grant when somebody has had it copied.
            services.wakes.on_wake = lambda task_id: gevent.spawn(_copy, services, task_id)
        gevent.spawn(services.wakes.listen)
        sweeping = gevent.spawn(_sweep, services, self.wsgi.extensions["octowait.refusals"])
        super().run()
        sweeping.kill()
        with suppress(StoreError):
            services.board.leave()

    def _let_go(self) -> None:
        import gevent

        if isinstance(getattr(self, "wsgi", None), Flask):
            services: Services = self.wsgi.extensions["octowait"]
            gevent.spawn(services.close)


def _copy(services: Services, task_id: str) -> None:

    try:
        services.board.look(task_id)
    except StoreError as error:
        log.warning("a grant was not copied: its step asks again", task=task_id, error=str(error))


def _sweep(services: Services, refusal_log: RefusalLog) -> None:
    import gevent

    while True:
        try:
            swept = services.board.sweep(serving=True)
            services.react_to_sweep(swept)
            services.board.script.witness.keep()
            services.metric_buffer.flush(blocked=len(services.wakes))
            services.shared_snapshot.forget_if_idle()
            refusal_log.say_if_due()
            more = swept.more
        except StoreError as error:
            log.warning("sweep failed, trying again", error=str(error))
            more = False
        gevent.sleep(0 if more else SWEEP_SECONDS)


class Log(GunicornLog):  # type: ignore[misc]
    """Has what gunicorn says written like everything else."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, options: dict[str, Any]) -> None:
        self._settings = settings
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        # Imported in the worker, after its monkey patching.
        from app.web import create_app

        return create_app(make_services(self._settings))


def serve(settings: Settings) -> None:
    """Serve until told to stop; *settings* carry the Redis URL and the secrets."""
    _raise_descriptors()
    _Server(
        settings,
        {
            "bind": settings.bind,
            "workers": settings.web_processes,
            "worker_class": "app.web.server.Worker",
            "worker_connections": most_connections() + KEPT_FOR_OTHERS,
            "keepalive": 15,
            "backlog": 4096,
            "graceful_timeout": 5,
            "timeout": 30,
            "loglevel": "warning",
            "logger_class": "app.web.server.Log",
            "proc_name": "octowait",
            "control_socket_disable": True,
            "when_ready": lambda _: log.info("web: listens", url=settings.base_url, bind=settings.bind),
            # Who calls and by which name is `app.web.peers`' to say: by default a peer on this machine, such as a proxy
            # that passes on whatever it gets, may set the scheme, the path and the prefix of every link.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
        },
    ).run()


def _raise_descriptors() -> None:
    """Allow this process as many descriptors as it may have: so many connections it can hold, but for a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
