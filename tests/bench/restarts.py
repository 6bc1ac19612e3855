"""P18: many block, and all web processes are replaced (SIGHUP), or stopped and started again, where somebody keeps
their listening socket meanwhile (systemd), and where nobody does.
"""

from __future__ import annotations

import errno
import json
import os
import random
import selectors
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from datetime import timedelta
from heapq import heappop, heappush

from app.coordination.board import Board
from app.domain.run import RunRequest
from tests.activated import ActivatedService
from tests.bench.report import Report
from tests.bench.wire import Line, claim_of, step_http
from tests.bench.world import INFO, board_on, calls_of, directory, embedded, fill, new_run, processes_of, web
from tests.conftest import Service, eventually

TTL = timedelta(hours=1)

SECTION = (
    "Web processes restarted under those who wait",
    "Steps block, each with a connection a call, while all web processes are replaced or stopped and started.",
)

#: Seconds between two looks whether any step begins to block, for which Redis looks at how long its run lives; and how
#: many may between them.
LOOK_SECONDS, IDLE_LOOKS = 0.1, 10

#: Seconds without: where many come, Redis looks for all of them together, once a second.
QUIET_SECONDS = 1.3

#: Tries of a connection that is refused, before the pauses of a step grow. Source: steps/parts/bash/polls.sh.
QUICK_TRIES = 12


class _Call(Line):
    """A request whose connection is made meanwhile: one that has to wait for it keeps nobody else waiting."""

    def __init__(self, port: int, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.setblocking(False)
        error = self.socket.connect_ex(("127.0.0.1", port))
        if error not in (0, errno.EINPROGRESS):
            self.socket.close()
            raise OSError(error, os.strerror(error))

    def send_request(self) -> None:
        """To be called once the connection is made, or has failed."""
        if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        self.socket.settimeout(60)
        self.send(self._request)


class Crowd:
    """Steps that wait for `MACHINE`, each as the scripts do: a connection a call, at once again after "waiting", and
    after a call that failed a pause, then a PUT, or the same again the first times that it is refused. `run` is for a
    thread.
    """

    MACHINE = "Machines-crowd"

    def __init__(self, service: Service, tasks: Sequence[str]) -> None:
        self.service = service
        self._selector = selectors.EpollSelector()
        #: When to ask again, soonest first; for which task, and whether with a PUT.
        self._later = sorted((0.0, task, False) for task in tasks)
        self._failures: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._blocking: set[str] = set()
        self._is_over = False
        self._size = len(tasks)
        #: By what became of a call: "waiting", "refused", "broken off", or what else was answered.
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        while not self._is_over:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                _, task, joins = heappop(self._later)
                self._ask(task, joins)
            for key, _ in self._selector.select(0.01):
                self._go_on(key)
        for key in list(self._selector.get_map().values()):
            key.data[0].close()

    def end(self) -> None:
        self._is_over = True

    @property
    def all_ask(self) -> bool:
        """Whether each of them has sent a call that may block, and has no answer."""
        return len(self._blocking) == self._size

    def _ask(self, task: str, joins: bool) -> None:
        token = self.service.tokens["step"]
        try:
            call = _Call(self.service.port, _put(task, token) if joins else _get(task, token))
        except OSError:
            self._fail(task, "refused", joins)
        else:
            self._selector.register(call.socket, selectors.EVENT_WRITE, (call, task, joins))

    def _go_on(self, key: selectors.SelectorKey) -> None:
        call, task, joins = key.data
        if key.events & selectors.EVENT_READ:
            self._take(key.fileobj, call, task, joins)
            return
        try:
            call.send_request()
        except OSError:
            self._selector.unregister(call.socket)
            call.close()
            self._fail(task, "refused", joins)
            return
        self._selector.modify(call.socket, selectors.EVENT_READ, key.data)
        if not joins:
            self._blocking.add(task)

    def _take(self, connection: object, line: Line, task: str, joins: bool) -> None:
        try:
            answer = line.take()
        except OSError:
            answer = b""
        if answer is None:
            return
        self._selector.unregister(line.socket)
        line.close()
        self._blocking.discard(task)
        if not answer:
            self._fail(task, "broken off")
            return
        state = _state(answer)
        if state != "waiting":
            self._fail(task, state)
        else:
            self.counts["joined" if joins else state] += 1
            if not joins:
                self._failures.pop(task, None)
                self._refusals.pop(task, None)
            heappush(self._later, (0.0, task, False))

    def _fail(self, task: str, what: str, joins: bool = True) -> None:
        self.counts[what] += 1
        pause = min(30, 2 ** self._failures[task]) * random.uniform(0.5, 1)
        if what == "refused" and self._refusals[task] < QUICK_TRIES:
            self._refusals[task] += 1
        else:
            self._failures[task] += 1
            joins = True
        heappush(self._later, (time.monotonic() + pause, task, joins))


def _put(task: str, token: str) -> bytes:
    body = json.dumps({"machines": [Crowd.MACHINE], "timeout_seconds": 7200, "priority": 0, **INFO})
    return step_http("PUT", task, token, body=body)


def _get(task: str, token: str) -> bytes:
    return step_http("GET", task, token, "?block_seconds=50")


def _state(answer: bytes) -> str:
    """What an answer says of a wait, or its status."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode()
    return body.split(b" ", 1)[0].decode() if status in ("200", "201") else status


def run(report: Report) -> None:
    """Print the seconds until all block again, and what was broken off."""
    waiters = int(report.pick(500, 5_000))
    rows = []
    with directory() as where, embedded(where) as url, board_on(url) as board:
        board.client.config_set("maxclients", 15_000)
        runs = [with_claim(new_run()) for _ in range(waiters + 1)]
        fill(board, ((run, [Crowd.MACHINE]) for run in runs), ttl=TTL)
        tasks = [run.task_id for run in runs[1:]]
        for kind, ways in WAYS.items():
            with (
                web(url, board.keys.namespace, where, kind, OCTOWAIT_WAITER_TTL_SECONDS="600") as service,
                _crowd(board, service, tasks) as crowd,
            ):
                for name, restart in ways.items():
                    seconds, counts = _restart(board, service, crowd, restart)
                    broken = counts["broken off"] + sum(n for what, n in counts.items() if what.isdigit())
                    rows.append([name, seconds, counts["waiting"], broken, counts["refused"]])
                    report.measured("P18.time", seconds, how=name, blocked=waiters)
                    report.measured("P18.broken", broken, how=name, blocked=waiters)
    report.table(
        f"All web processes at once, {waiters:,} block",
        ("", "seconds until all block again", "sent away", "broken off", "connections refused"), rows,
    )  # fmt: skip


def with_claim(run: RunRequest) -> RunRequest:
    """The run as its step in a crowd joins it."""
    return replace_fields(run, claim=claim_of(run.task_id))


@contextmanager
def _crowd(board: Board, service: Service, tasks: Sequence[str]) -> Iterator[Crowd]:
    """A crowd all of which block."""
    crowd = Crowd(service, tasks)
    thread = threading.Thread(target=crowd.run, daemon=True)
    thread.start()
    try:
        _all_block_at(board, crowd)
        yield crowd
    finally:
        crowd.end()
        thread.join()


def _restart(
    board: Board, service: Service, crowd: Crowd, restart: Callable[[Service], None]
) -> tuple[float, Counter[str]]:  # fmt: skip
    before = Counter(crowd.counts)
    began = time.monotonic()
    restart(service)
    return _all_block_at(board, crowd) - began, crowd.counts - before


def replace(service: Service) -> None:
    """New processes in the place of the old ones, which have ended then."""
    master, *old = processes_of(service)
    os.kill(master, signal.SIGHUP)
    eventually(lambda: not set(old) & set(processes_of(service)), timeout=30)


def stop_and_start(service: Service) -> None:
    service.stop(signal.SIGTERM)
    service.start()


#: What is done to a service, by its kind and what that is called.
WAYS: dict[type[Service], dict[str, Callable[[Service], None]]] = {
    ActivatedService: {"replaced (SIGHUP)": replace, "stopped and started, socket kept": stop_and_start},
    Service: {"stopped and started": stop_and_start},
}


def _all_block_at(board: Board, crowd: Crowd) -> float:
    """When no step began to block any more, although all have asked."""
    since: float | None = None
    while since is None or time.monotonic() - since < QUIET_SECONDS:
        before, at = calls_of(board.client, "zscore"), time.monotonic()
        time.sleep(LOOK_SECONDS)
        is_quiet = crowd.all_ask and calls_of(board.client, "zscore") - before < IDLE_LOOKS
        since = (since or at) if is_quiet else None
    return since
