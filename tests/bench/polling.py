"""The five-second polling loop: each waiter asks every five seconds, at moments of its own, whether it is its turn.

It asks Redis. In Octopus such a loop asks the server for its tasks, which takes longer; what it costs there is P7.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Sequence

from tests.bench.wire import Line, resp
from tests.bench.world import new_namespace

PERIOD = 5.0

#: Waiters of one size in all, in as many lines as that makes, so that there are enough hand-offs of each size.
WAITERS = 1000

#: Lines of one size, at most.
MOST_LINES = 50


class PolledLine:
    """Members whose turn is a number in Redis. Who has had its turn comes again as the last one."""

    def __init__(self, redis: Line, members: int) -> None:
        self.members = members
        self._redis, self._key = redis, f"polled:{new_namespace()}"
        self._turn, self._ended_at = 0, time.perf_counter()
        self._ask("SET", self._key, 0)
        self.took: list[float] = []

    def poll(self, member: int) -> None:
        """One of them asks; if it is its turn it ends at once."""
        reply = self._ask("GET", self._key)
        if int(reply.split(b"\r\n")[1]) % self.members != member:
            return
        now = time.perf_counter()
        # Nobody ended before the first one.
        if self._turn:
            self.took.append(1000 * (now - self._ended_at))
        self._turn += 1
        self._ask("INCR", self._key)
        self._ended_at = time.perf_counter()

    def _ask(self, *words: str | int) -> bytes:
        self._redis.send(resp(*words))
        return self._redis.receive()


def polling_loops(path: str, sizes: Sequence[int], seconds: float) -> dict[int, list[float]]:
    """Milliseconds of each hand-off by size, of lines of all sizes that are polled at the same time."""
    redis, draw = Line(path), random.Random(1)
    # One of them holds at any time.
    lines = [PolledLine(redis, size + 1) for size in sizes for _ in range(min(MOST_LINES, max(1, WAITERS // size)))]
    began = time.perf_counter()
    due = [
        (began + PERIOD * draw.random(), number, waiter)
        for number, line in enumerate(lines)
        for waiter in range(line.members)
    ]
    heapq.heapify(due)
    while due[0][0] < began + seconds:
        moment, number, waiter = due[0]
        time.sleep(max(0.0, moment - time.perf_counter()))
        lines[number].poll(waiter)
        heapq.heapreplace(due, (moment + PERIOD, number, waiter))
    redis.close()
    return {size: [one for line in lines if line.members == size + 1 for one in line.took] for size in sizes}
