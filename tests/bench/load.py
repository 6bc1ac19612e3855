"""The load generator, a process of its own: webhooks on keep-alive connections, with raw sockets and epoll.

``python -m tests.bench.load PORT CONNECTIONS SECONDS COUNT FIRST`` ends after SECONDS or COUNT requests, prints JSON.
"""

from __future__ import annotations

import json
import selectors
import sys
import time
from collections import Counter
from typing import Any

from tests.bench.report import percentile
from tests.bench.wire import Line
from tests.conftest import WEBHOOK_SECRET, a_delivery

#: Bytes of a body; what captured ones have.
SIZE = 3072

EVENT, TASK = "Events-00000000", "ServerTasks-00000000"


def template(category: str) -> bytes:
    """A whole request; the numbers in it have a fixed width and are replaced."""
    related = ["Deployments-00000000", "Projects-7", "Releases-90", "Environments-2", "Channels-9", TASK]
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


class Load:
    """Keeps a request under way on each connection. Odd ones tell of the end of what the one before started."""

    def __init__(self, port: int, connections: int, first: int) -> None:
        self._templates = [template("DeploymentStarted"), template("DeploymentSucceeded")]
        self._lines = [Line(port) for _ in range(connections)]
        self._sent_at = [0.0] * connections
        self._next = first
        self.took: list[float] = []
        self.statuses: Counter[str] = Counter()

    def run(self, seconds: float, count: int) -> float:
        """Send for *seconds* or *count* requests, whichever is less; how long it took until the last answer."""
        last = self._next + count
        began = time.perf_counter()
        until = began + seconds
        with selectors.EpollSelector() as selector:
            for at, line in enumerate(self._lines):
                selector.register(line.socket, selectors.EVENT_READ, at)
                self._send(at)
            under_way = len(self._lines)
            while under_way:
                for key, _ in selector.select(30):
                    answer = self._lines[key.data].take()
                    if answer is None:
                        continue
                    self._note(key.data, answer)
                    if self._next < last and time.perf_counter() < until:
                        self._send(key.data)
                    else:
                        under_way -= 1
        return time.perf_counter() - began

    def _send(self, at: int) -> None:
        number = self._next
        self._next += 1
        numbers = (b"%08d" % number, b"%08d" % (number // 2))
        request = self._templates[number % 2].replace(b"Events-00000000", b"Events-" + numbers[0])
        request = request.replace(b"ServerTasks-00000000", b"ServerTasks-" + numbers[1])
        self._sent_at[at] = time.perf_counter()
        self._lines[at].send(request.replace(b"Deployments-00000000", b"Deployments-" + numbers[1]))

    def _note(self, at: int, answer: bytes) -> None:
        self.took.append(1000 * (time.perf_counter() - self._sent_at[at]))
        self.statuses[answer[9:12].decode()] += 1


def main(arguments: list[str]) -> dict[str, Any]:
    port, connections, seconds, count, first = arguments
    load = Load(int(port), int(connections), int(first))
    took = load.run(float(seconds), int(count))
    return {
        "requests": len(load.took),
        "rate": len(load.took) / took,
        "p50": percentile(load.took, 0.5),
        "p99": percentile(load.took, 0.99),
        "statuses": load.statuses,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))
