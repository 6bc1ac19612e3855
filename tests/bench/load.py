"""The load generator, a process of its own: requests on keep-alive connections, with raw sockets and epoll.

``python -m tests.bench.load PORT KIND SECONDS FIRST [--rate RATE] [--count COUNT]`` prints JSON. KIND is ``webhooks``,
or ``cycles`` of a PUT and a DELETE of a step that finds its machine free.

Without RATE, a closed loop: each connection sends when it has its answer. With RATE, an open loop: so many requests a
second are due, whatever is under way; those that find no idle connection wait, and count from when they were due.
"""

from __future__ import annotations

import argparse
import json
import selectors
import time
from collections import Counter, deque
from typing import Any

from tests.bench.report import percentile
from tests.bench.wire import Line, close_all, step_http
from tests.bench.world import INFO
from tests.conftest import TOKENS, WEBHOOK_SECRET, a_delivery

#: Connections that are open all the time.
CONNECTIONS = 32

#: Bytes of the body of a webhook; what captured ones have.
SIZE = 3072

EVENT, TASK = "Events-00000000", "ServerTasks-00000000"


def template(category: str) -> bytes:
    """A whole request; the numbers in it have a fixed width and are replaced.

    Of another project than the steps of the bench: what is known of their machines would be presumed of it as well.
    """
    related = ["Deployments-00000000", "Projects-8", "Releases-90", "Environments-3", "Channels-9", TASK]
    delivery = a_delivery(category, Id=EVENT, related=related, task=None)
    delivery["Payload"]["Event"]["MessageHtml"] = ""
    padding = SIZE - len(json.dumps(delivery))
    delivery["Payload"]["Event"]["MessageHtml"] = "x" * max(0, padding)
    body = json.dumps(delivery).encode()
    head = (
        f"POST /webhooks/octopus HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"X-Octowait-Secret: {WEBHOOK_SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Webhooks:
    """Odd ones tell of the end of what the one before started."""

    def __init__(self, first: int) -> None:
        self._templates = [template("DeploymentStarted"), template("DeploymentSucceeded")]

    def request(self, number: int, at: int) -> bytes:
        numbers = (b"%08d" % number, b"%08d" % (number // 2))
        request = self._templates[number % 2].replace(b"Events-00000000", b"Events-" + numbers[0])
        request = request.replace(b"ServerTasks-00000000", b"ServerTasks-" + numbers[1])
        return request.replace(b"Deployments-00000000", b"Deployments-" + numbers[1])


class Cycles:
    """Each connection has a machine of its own, for which its runs ask one after the other."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._held: dict[int, str] = {}

    def request(self, number: int, at: int) -> bytes:
        if at in self._held:
            return step_http("DELETE", self._held.pop(at), TOKENS["step"])
        self._held[at] = task = f"ServerTasks-{number}"
        body = json.dumps({"machines": [f"Machines-{self._first + at}"], **INFO})
        return step_http("PUT", task, TOKENS["step"], body=body)


KINDS = {"webhooks": Webhooks, "cycles": Cycles}


class Load:
    """Sends requests and times their answers."""

    def __init__(self, port: int, requests: Webhooks | Cycles, first: int) -> None:
        self._requests = requests
        self._lines = [Line(port) for _ in range(CONNECTIONS)]
        self._since = [0.0] * CONNECTIONS
        self._next = first
        self._idle = deque(range(CONNECTIONS))
        self._selector = selectors.EpollSelector()
        for at, line in enumerate(self._lines):
            self._selector.register(line.socket, selectors.EVENT_READ, at)
        self.took: list[float] = []
        self.statuses: Counter[str] = Counter()

    def run(self, seconds: float, count: int, rate: float | None) -> float:
        """Send for *seconds* or *count* requests, whichever is less; how long it took until the last answer."""
        began = time.perf_counter()
        sent = 0
        while True:
            now = time.perf_counter()
            goes_on = sent < count and (sent / rate < seconds if rate else now < began + seconds)
            while goes_on and self._idle and (due := began + sent / rate if rate else now) <= now:
                self._send(self._idle.popleft(), due)
                sent += 1
                goes_on = sent < count
            if not goes_on and len(self._idle) == CONNECTIONS:
                return time.perf_counter() - began
            for key, _ in self._selector.select(self._pause(began + sent / rate) if rate and goes_on else 30):
                self._receive(key.data)

    def _pause(self, due: float) -> float:
        """Seconds until the next request can be sent at the earliest."""
        return max(0.0, due - time.perf_counter()) if self._idle else 30

    def _send(self, at: int, due: float) -> None:
        self._since[at] = due
        self._lines[at].send(self._requests.request(self._next, at))
        self._next += 1

    def close(self) -> None:
        self._selector.close()
        close_all(self._lines)

    def _receive(self, at: int) -> None:
        answer = self._lines[at].take()
        if answer is None:
            return
        self.took.append(1000 * (time.perf_counter() - self._since[at]))
        self.statuses[answer[9:12].decode()] += 1
        self._idle.append(at)


def main() -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("seconds", type=float)
    parser.add_argument("first", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--count", type=int, default=1_000_000)
    arguments = parser.parse_args()
    load = Load(arguments.port, KINDS[arguments.kind](arguments.first), arguments.first)
    seconds = load.run(arguments.seconds, arguments.count, arguments.rate)
    return {
        "requests": len(load.took),
        "rate": len(load.took) / seconds,
        "p50": percentile(load.took, 0.5),
        "p99": percentile(load.took, 0.99),
        "max": max(load.took, default=float("nan")),
        "statuses": load.statuses,
    }


if __name__ == "__main__":
    print(json.dumps(main()))
