"""Steps that wait, a process of its own: each behaves as the step scripts do, on a connection of its own for each call.

``python -m tests.bench.waiters PORT FIRST COUNT MACHINES BLOCK_SECONDS``. The runs are in line already. Every step asks
in calls that block for as long as a step's do, the first one for a random part of it, so that they come evenly. One
that is granted confirms it; one that has lost its place joins again. Prints a line of JSON when all of them have asked,
and another one, of what has happened since, for each character of input; ends with its input.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tests.bench.wire import Line, seen_in, step_http
from tests.bench.world import INFO
from tests.conftest import TOKENS

#: Addresses on loopback from which they come: each has 28,000 ports, and a closed connection keeps its own a minute.
SOURCES = [f"127.0.0.{number}" for number in range(2, 12)]

#: Connections opened in a turn.
AT_ONCE = 50

#: Seconds after which a call is made again that nobody could answer.
AGAIN_SECONDS = 1.0


class Waiter:
    """The step of one task. It says how long it waited for what, by `Crowd.note`."""

    #: What it says of its run.
    info: Mapping[str, Any] = INFO

    def __init__(self, crowd: Crowd, number: int, machine: str) -> None:
        self._crowd, self._machine = crowd, machine
        self._task = f"ServerTasks-{number}"
        self._source = SOURCES[number % len(SOURCES)]
        self._seen = ""
        self._line: Line | None = None
        self._sent_at = 0.0
        self.call = ""

    def join(self) -> None:
        body = json.dumps({"machines": [self._machine], "timeout_seconds": 7200, "priority": 0, **self.info})
        self._send("join", "PUT", body=body)

    def poll(self, share: float = 1.0) -> None:
        """Ask, in a call that blocks for a *share* of the usual time."""
        self._send("poll", "GET", f"?block_seconds={max(1, round(share * self._crowd.block_seconds))}")

    def confirm(self) -> None:
        self._send("confirm", "GET", "?block_seconds=0")

    def _send(self, call: str, method: str, query: str = "", body: str = "") -> None:
        self.call = call
        self._line = Line(self._crowd.port, source=self._source)
        self._crowd.selector.register(self._line.socket, selectors.EVENT_READ, self)
        self._sent_at = time.perf_counter()
        self._line.send(step_http(method, self._task, TOKENS["step"], query, body, seen=self._seen))

    def receive(self) -> None:
        assert self._line
        answer = self._line.take()
        if answer is None:
            return
        self._crowd.selector.unregister(self._line.socket)
        self._line.close()
        self._line = None
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(b" ", 2)[1].decode()
        state = body.split(b" ", 1)[0].decode() if status[0] == "2" else status
        self._seen = seen_in(body) or self._seen
        took = 1000 * (time.perf_counter() - self._sent_at)
        call, self.call = self.call, ""
        self._crowd.note(call, state, took)
        self._go_on(call, state)

    def _go_on(self, call: str, state: str) -> None:
        if state == "waiting":
            self.poll()
        elif state == "granted" and call == "confirm":
            self._crowd.granted.append(self._task)
        elif state == "granted":
            self.confirm()
        elif state.isdigit() and state != "404":
            self._crowd.later(getattr(self, call))
        else:
            self._crowd.later(self.join)


class Crowd:
    """All of them, in one loop."""

    def __init__(self, port: int, block_seconds: float) -> None:
        self.port, self.block_seconds = port, block_seconds
        self.selector = selectors.EpollSelector()
        self.calls: Counter[str] = Counter()
        self.took: dict[str, list[float]] = {"join": [], "confirm": []}
        self.granted: list[str] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def note(self, call: str, state: str, took: float) -> None:
        self.calls[f"{call}: {state}"] += 1
        if call in self.took:
            self.took[call].append(took)

    def later(self, act: Callable[[], None], seconds: float = AGAIN_SECONDS) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), act))

    def start(self, waiters: list[Waiter]) -> None:
        """All begin to block, some in a turn."""
        for number, waiter in enumerate(waiters, 1):
            waiter.poll(random.random())
            if number % AT_ONCE == 0:
                self.turn(0.02)

    def turn(self, seconds: float) -> None:
        """Wait for answers for *seconds* at most, and do what they call for."""
        if self._due:
            seconds = max(0.0, min(seconds, self._due[0][0] - time.monotonic()))
        for key, _ in self.selector.select(seconds):
            key.data.receive()
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def told(self) -> dict[str, Any]:
        """What has happened since the last time."""
        facts = {"calls": dict(self.calls), "took": self.took, "granted": self.granted}
        self.calls, self.took, self.granted = Counter(), {"join": [], "confirm": []}, []
        return facts


class Input:
    """A line of input: its caller wants to know."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        crowd.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self)

    def receive(self) -> None:
        if not sys.stdin.buffer.raw.read(1):  # type: ignore[attr-defined]
            raise SystemExit
        say(self._crowd.told())


def say(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("machines", type=int)
    parser.add_argument("block_seconds", type=float)
    arguments = parser.parse_args()
    socket.setdefaulttimeout(60)
    crowd = Crowd(arguments.port, arguments.block_seconds)
    numbers = range(arguments.first, arguments.first + arguments.count)
    crowd.start([Waiter(crowd, number, f"Machines-{number % arguments.machines}") for number in numbers])
    say(crowd.told())
    Input(crowd)
    while True:
        crowd.turn(60)


if __name__ == "__main__":
    main()
