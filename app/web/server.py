"""The web server: gunicorn with gevent, so that a blocked request costs a greenlet and nothing else."""

from __future__ import annotations

import gc
import resource
import signal
import time
from typing import Any

import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger as GunicornLog

from app.services import make_services
from app.settings import Settings
from app.web.polls.long_poll import most_connections
from app.web.worker import Worker

log = structlog.get_logger()

#: Seconds that a process which is told to stop has for the answers that are under way.
GRACE_SECONDS = 8

#: Seconds between two looks at new processes that are to take the place of others.
LOOK_SECONDS = 0.1

#: Connections that nobody has taken yet; the kernel allows no more than its own limit, net.core.somaxconn.
BACKLOG = 65_535

#: Connections beyond those that may block, so that others are answered.
KEPT_FOR_OTHERS = 100


class Master(Arbiter):  # type: ignore[misc]
    """Minds the web processes. On SIGHUP they are replaced: the old ones are told to leave when the new ones serve, so
    that whoever is sent away finds one that stays. A new one that ends before it serves is followed by another.
    """

    def reload(self) -> None:
        for worker in self.WORKERS.values():
            worker.is_old = True
        self.manage_workers()

    def stop(self, graceful: bool = True) -> None:
        super().stop(graceful)
        # Nothing that is there is garbage: to look for it takes the interpreter 0.2 s before it ends.
        gc.freeze()

    def manage_workers(self) -> None:
        if not self._workers(old=True):
            super().manage_workers()
            return
        for _ in range(self.num_workers - len(self._workers(old=False))):
            self.spawn_worker()
        if all(_serves(worker) for worker in self._workers(old=False)):
            for worker in self._workers(old=True):
                if not worker.is_leaving:
                    worker.is_leaving = True
                    self.kill_worker(worker.pid, signal.SIGTERM)

    def wait_for_signals(self, timeout: float = 1.0) -> Any:
        return super().wait_for_signals(LOOK_SECONDS if self._workers(old=True) else timeout)

    def _workers(self, *, old: bool) -> list[Worker]:
        """Those that are to be replaced, or the others."""
        return [worker for worker in self.WORKERS.values() if worker.is_old is old]


def _serves(worker: Worker) -> bool:
    """Whether a process listens: it shows life by a file, whose time is that of the calendar until it does so."""
    return bool(worker.tmp.last_update() <= time.monotonic())


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

    def run(self) -> None:
        Master(self).run()


def serve(settings: Settings) -> None:
    """Serve until told to stop; *settings* carry the Redis URL and the secrets."""
    _raise_descriptors()
    _Server(
        settings,
        {
            "bind": settings.bind,
            "workers": settings.web_processes,
            "worker_class": "app.web.worker.Worker",
            "worker_connections": most_connections() + KEPT_FOR_OTHERS,
            "keepalive": 15,
            "backlog": BACKLOG,
            "graceful_timeout": GRACE_SECONDS,
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
