"""Hand-offs at a fixed rate: releases come when they are due, whether or not those before them are over.

A hand-off counts from when its release was due, so that whoever had to wait for others is not left out of the
measurement (coordinated omission).
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from tests.bench.blocked import block_http
from tests.bench.wire import Line, close_all, seen_in, step_http
from tests.bench.world import fill, new_namespace, new_step_run
from tests.conftest import Service
from tests.open_board import OpenBoard

TTL = timedelta(minutes=10)

#: Lines that take turns, each at a machine of its own.
LINES = 50


class Queue:
    """The line of one machine: who holds it, and who blocks behind it, first one first."""

    def __init__(self, tasks: list[str], connections: list[Line], port: int) -> None:
        self.holder, *waiting = tasks
        self.waiting = deque(zip(waiting, connections, strict=True))
        #: When the releases were due that have not been sent yet.
        self.due: deque[float] = deque()
        #: When the one was due that is under way, until its grant is confirmed.
        self.under_way: float | None = None
        self.releases, self.confirmations = Line(port), Line(port)


class OpenLoop:
    """Releases the lines in turn, as often as said, and times the answers."""

    def __init__(self, queues: list[Queue], token: str) -> None:
        self._queues, self._token = queues, token
        self._selector = selectors.EpollSelector()
        for queue in queues:
            self._listen(queue.releases, lambda line: line.take())
            self._listen(queue.confirmations, lambda line, queue=queue: self._confirm(queue))
            for _, line in queue.waiting:
                self._listen(line, lambda line, queue=queue: self._answer(queue, line))
        self.took: list[float] = []

    def _listen(self, line: Line, act: Callable[[Line], object]) -> None:
        self._selector.register(line.socket, selectors.EVENT_READ, (act, line))

    def run(self, rate: float, count: int) -> None:
        """*count* hand-offs, *rate* a second."""
        began = time.perf_counter()
        due = deque((began + number / rate, self._queues[number % len(self._queues)]) for number in range(count))
        while len(self.took) < count:
            now = time.perf_counter()
            if now > began + count / rate + 60:
                raise TimeoutError(f"{count - len(self.took)} of {count} hand-offs did not come")
            while due and due[0][0] <= now:
                moment, queue = due.popleft()
                queue.due.append(moment)
                self._release(queue)
            for key, _ in self._selector.select(max(0.0, due[0][0] - now) if due else 1.0):
                act, line = key.data
                act(line)

    def _release(self, queue: Queue) -> None:
        """Send the next release of a line that is due, unless the hand-off before it is not over."""
        if queue.due and queue.under_way is None:
            queue.under_way = queue.due.popleft()
            queue.releases.send(step_http("DELETE", queue.holder, self._token))

    def _answer(self, queue: Queue, line: Line) -> None:
        if (answer := line.take()) is None:
            return
        task, first = queue.waiting.popleft()
        if line is not first or queue.under_way is None:
            raise AssertionError(f"{task} is next, and another one was answered, or too early: {answer!r}")
        self.took.append(1000 * (time.perf_counter() - queue.under_way))
        self._selector.unregister(line.socket)
        line.close()
        queue.holder = task
        queue.confirmations.send(step_http("GET", task, self._token, "?block_seconds=0", seen=seen_in(answer)))

    def _confirm(self, queue: Queue) -> None:
        if queue.confirmations.take() is not None:
            queue.under_way = None
            self._release(queue)

    def close(self) -> None:
        self._selector.close()
        for queue in self._queues:
            close_all([queue.releases, queue.confirmations, *(line for _, line in queue.waiting)])


def open_loop(board: OpenBoard, service: Service, *, blocked: int, rate: float, seconds: float) -> list[float]:
    """Milliseconds of each hand-off, of *blocked* waiters at first; those that got their turn are not replaced."""
    lines = min(LINES, blocked // 20)
    tasks = []
    for _ in range(lines):
        machine = f"Machines-{new_namespace()}"
        runs = [new_step_run() for _ in range(blocked // lines + 1)]
        fill(board, ((run, [machine]) for run in runs), ttl=TTL)
        tasks.append([run.task_id for run in runs])
    waiting = [task for line in tasks for task in line[1:]]
    connections = dict(zip(waiting, block_http(board, service, waiting), strict=True))
    queues = [Queue(line, [connections[task] for task in line[1:]], service.port) for line in tasks]
    loop = OpenLoop(queues, service.tokens["step"])
    try:
        loop.run(rate, min(int(rate * seconds), blocked - lines))
        return loop.took
    finally:
        loop.close()
