"""Steps that hand machines over, a process of its own: each waits, confirms its grant, works for a moment, gives back.

``python -m tests.bench.honest PORT FIRST`` prints a line of JSON, of what has happened since the last one, for each
character of input; ends with its input.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import sys
import time
from typing import Any

from tests.bench.exclusion import Exclusion
from tests.bench.waiters import Crowd, Input, Waiter, say
from tests.bench.world import INFO

#: Machines, and runs that want each: one works, the others wait.
MACHINES, RUNS = 4, 5

#: Seconds that a run works.
WORK_SECONDS = 0.05

#: Seconds that a call of a step blocks. Source: steps/parts/bash/polls.sh.
BLOCK_SECONDS = 50


class Honest(Crowd):
    """All of them, with what they came to."""

    def __init__(self, port: int, first: int) -> None:
        super().__init__(port, BLOCK_SECONDS)
        self.numbers = itertools.count(first)
        self.exclusion = Exclusion()
        #: Machine -> when its last holder sent its release, while nobody has got it since.
        self.free_since: dict[str, float] = {}
        #: ms of each hand-off, from the release to the answer of the next one's blocked call.
        self.hand_offs: list[float] = []
        self.is_over = False

    def told(self) -> dict[str, Any]:
        facts = {"calls": dict(self.calls), "hand_offs": self.hand_offs, "breaches": self.exclusion.breaches,
                 "grants": self.exclusion.grants}  # fmt: skip
        self.hand_offs = []
        return facts


class Step(Waiter):
    """The steps of the runs that want one machine, one run after the other."""

    # Of another project than those of whom Octopus tells: a run of the same process is presumed to use its machines.
    info = {**INFO, "project": {"id": "Projects-8", "name": "Billing"}}

    def __init__(self, crowd: Honest, machine: str) -> None:
        super().__init__(crowd, next(crowd.numbers), machine)
        self._honest = crowd

    def _go_on(self, call: str, state: str) -> None:
        honest, machine = self._honest, self._machine
        if call == "poll" and state == "granted" and machine in honest.free_since:
            honest.hand_offs.append(1000 * (time.perf_counter() - honest.free_since.pop(machine)))
        if call == "release" and not state.isdigit():
            self._begin_anew()
        elif call == "confirm" and state == "granted":
            honest.free_since.pop(machine, None)
            honest.exclusion.take(self._task, [machine], family=self._task)
            honest.later(self.release, WORK_SECONDS)
        else:
            super()._go_on(call, state)

    def release(self) -> None:
        self._honest.exclusion.give(self._task)
        self._honest.free_since[self._machine] = time.perf_counter()
        self._send("release", "DELETE")

    def _begin_anew(self) -> None:
        if not self._honest.is_over:
            self._task = f"ServerTasks-{next(self._honest.numbers)}"
            self.join()


class Commands(Input):
    """Input: each character asks what has happened, and an ``e`` also says that nobody is to join any more."""

    def receive(self) -> None:
        word = sys.stdin.buffer.raw.read(1)  # type: ignore[attr-defined]
        if not word:
            raise SystemExit
        self._honest.is_over = self._honest.is_over or word == b"e"
        say(self._honest.told())

    def __init__(self, honest: Honest) -> None:
        super().__init__(honest)
        self._honest = honest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("first", type=int)
    arguments = parser.parse_args()
    socket.setdefaulttimeout(60)
    honest = Honest(arguments.port, arguments.first)
    for number in range(MACHINES * RUNS):
        Step(honest, f"Machines-honest-{number % MACHINES}").join()
    Commands(honest)
    while True:
        honest.turn(60)


if __name__ == "__main__":
    main()
