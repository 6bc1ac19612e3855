"""A web process: a worker of gunicorn whose blocked requests each cost a greenlet, and that breaks off no answer."""

from __future__ import annotations

import errno
import gc
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import gevent
import structlog
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http.errors import NoMoreData
from gunicorn.http.wsgi import create
from gunicorn.util import close
from gunicorn.workers.ggevent import GeventWorker

from app.services import Services
from app.store.errors import StoreError
from app.web import background
from app.web.answers import Answer
from app.web.connections import Connection
from app.web.polls.known_heads import KnownHeads, KnownRequest
from app.web.polls.long_poll import HAS_SLEPT

log = structlog.get_logger()

#: Seconds that a client may take for a part of an answer before its connection ends.
SILENT_SECONDS = 60.0

#: Objects that have come and not gone until Python looks for circles among them: those of a blocked request stay, and
#: at the library's 700 a look at some of them came with every other request.
YOUNG_OBJECTS = 20_000

#: Seconds between two signs of life to the process that minds this one.
ALIVE_SECONDS = 1.0

#: Seconds after which all processes that were told to stop together listen no longer.
DEAF_SECONDS = 0.1

#: Seconds that a connection may take to send its first request to a process that leaves.
FIRST_REQUEST_SECONDS = 2.0

#: Seconds before the end of its time in which a process that leaves keeps what it has seen.
SPARE_SECONDS = 1.0


@dataclass(frozen=True)
class _Address:
    """What is asked of a listener when a connection begins; it may be closed by then."""

    name: Any

    def getsockname(self) -> Any:
        return self.name


class Worker(GeventWorker):  # type: ignore[misc]
    """A gevent worker that, told to stop, listens no longer and lets go whoever blocks, with an answer."""

    #: Noted by the process that minds it: it is to be replaced, and has been told to leave.
    is_old = False
    is_leaving = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._stop_event: Event | None = None
        #: Connections that have sent no request yet.
        self._silent: set[Any] = set()
        #: Requests that are not answered yet.
        self._under_way: set[Any] = set()
        self._heads = KnownHeads()

    def init_process(self) -> None:
        # A request looks at a setting dozens of times, and each look searches for it among 150.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.alive = False
        if self._stop_event:
            self._stop_event.set()

    # Nothing is broken off for haste either: it leaves within seconds.
    handle_quit = handle_exit

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        self._silent.add(client)
        request = None
        try:
            # A client that takes nothing of what it is sent, or goes without a word, does not keep its connection.
            client.settimeout(SILENT_SECONDS)
            name = listener.getsockname()
            connection = Connection(self.cfg, self._heads, name, client, addr)
            while request := connection.next():
                self.handle_request(name, request, client, addr)
                request = None
        except (StopIteration, NoMoreData):
            pass  # The connection is over.
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                log.warning("web: a connection failed", error=str(error))
        except Exception as error:
            self.handle_error(request, client, addr, error)
        finally:
            self._silent.discard(client)
            close(client)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        self._silent.discard(sock)
        self._under_way.add(req)
        try:
            self._answer(listener_name, req, sock, addr)
        except TimeoutError as error:
            raise StopIteration from error
        finally:
            self._under_way.discard(req)
        if isinstance(req, KnownRequest) and req.environ.get(HAS_SLEPT):
            self.wsgi.extensions["octowait.polls"].quiet.rest()
        else:
            # A client that sends its next request at once is never waited for, and would keep all others waiting.
            time.sleep(0)

    def _answer(self, listener_name: Any, request: Any, sock: Any, addr: Any) -> None:
        """Have the application answer, as gunicorn does, without its hooks and its log, which nobody uses here.

        Raises:
            StopIteration: it was the last answer of its connection.
        """
        if isinstance(request, KnownRequest):
            answer, environ = Answer(request, sock, self.cfg), request.environ
        else:
            answer, environ = create(request, sock, addr, listener_name, self.cfg, response_class=Answer)
            environ["wsgi.multithread"] = True
            if head := getattr(request, "head", None):
                self._heads.learn(head, request, environ)
        if not self.alive:
            answer.force_close()
        try:
            parts = self.wsgi(environ, answer.start_response)
            try:
                if isinstance(parts, environ["wsgi.file_wrapper"]):
                    answer.write_file(parts)
                else:
                    for part in parts:
                        answer.write(part)
                answer.close()
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        except OSError:
            raise
        except Exception as error:
            if not answer.headers_sent:
                raise
            # Half an answer is there already: an error behind it would be read as a part of it.
            log.exception("web: an answer broke off", path=request.path)
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            raise StopIteration from error
        if answer.should_close():
            raise StopIteration

    def run(self) -> None:
        services: Services = self.wsgi.extensions["octowait"]
        # What is there by now stays, and need not be looked through for circles again and again.
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 20, 20)
        # What Octopus told while nobody listened is lost to everybody but its events.
        services.has_missed.set()
        if services.settings.redis_replicas:
            # Who blocks on Redis itself hears of a grant when somebody has had it copied.
            services.wakes.on_wake = lambda task_id: gevent.spawn(background.copy, services, task_id)
        gevent.spawn(services.wakes.listen)
        # Whoever asks is answered first: what a run with many machines has left may take many seconds.
        left = Event()
        services.board.script.on_left = left.set
        others = [
            gevent.spawn(background.carry_on, services.board.script, left),
            gevent.spawn_later(0.3, background.prepare, services.board.script),
            gevent.spawn(background.sweep, services, self.wsgi.extensions["octowait.refusals"], left),
        ]
        self._stop_event = Event()
        servers = [self._listen(each) for each in self.sockets]
        while self.alive:
            self.notify()
            self._stop_event.wait(ALIVE_SECONDS)
        self._leave(servers, services)
        gevent.killall(others)
        with suppress(StoreError):
            services.board.leave()

    def _listen(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        handle = partial(self.handle, _Address(listener.getsockname()))
        server = StreamServer(listener, handle=handle, spawn=Pool(self.worker_connections))
        if self.cfg.workers > 1:
            server.max_accept = 1
        server.start()
        return server

    def _leave(self, servers: list[StreamServer], services: Services) -> None:
        """Let go whoever is here, each with an answer.

        1. Listen no longer, and give the others who were told to stop the time for that: who is sent away comes at once
           again, and finds a process that stays, or none.
        2. Let those go who block, some at a time; their answers, as all from now on, are the last of their connections.
        3. Wait until all is answered.
        """
        began = time.monotonic()
        for server, listener in zip(servers, self.sockets, strict=True):
            server.stop_accepting()
            self._take_connected(listener)
            server.close()
            listener.close()
        gevent.sleep(DEAF_SECONDS)
        for request in self._under_way:
            request.force_close()
        letting_go = gevent.spawn(services.close)
        while self._under_way or not letting_go.dead or self._may_still_ask(began):
            if time.monotonic() - began > self.cfg.graceful_timeout - SPARE_SECONDS:
                log.warning("web: answers broken off, they took too long", answers=len(self._under_way))
                break
            self.notify()
            gevent.sleep(0.02)

    def _may_still_ask(self, began: float) -> bool:
        return bool(self._silent) and time.monotonic() - began < FIRST_REQUEST_SECONDS

    def _take_connected(self, listener: Any) -> None:
        """Take those who have connected and whom nobody has taken: their connections end with the listener's."""
        listener.settimeout(0)
        with suppress(OSError):  # BlockingIOError: there is nobody else.
            while True:
                gevent.spawn(self.handle, _Address(listener.getsockname()), *listener.accept())
