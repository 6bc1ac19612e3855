"""P13: the longest scripts that boards of chance come to, whose runs have up to 10,000 machines.

What is done by chance is what callers, Octopus, operators and the clock do; ``--seed`` does the same again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from app.coordination.audit import Audit
from app.domain.errors import GateError
from app.domain.events import Effect, Event
from app.domain.run import RunRequest
from tests.bench.acts import TTL, machine_ids, sweep_all
from tests.bench.report import Report
from tests.bench.slow_log import Slow, SlowLog
from tests.bench.world import INFO, board_on, directory, embedded, fill, new_namespace, new_run, new_task
from tests.open_board import OpenBoard

#: Scripts of a board that are printed, and what is done to a board before a last sweep.
MOST_PRINTED, ACTS = 12, 25

#: What is done to a board, by name.
Act = tuple[str, Callable[[], object]]


class WideState:
    """A board of chance: its runs, and what may be done to them next. *size*: machines."""

    def __init__(self, board: OpenBoard, dice: random.Random, size: int) -> None:
        self.board, self._dice, self._machines = board, dice, machine_ids(size)
        self._wide: list[str] = []
        self._narrow: list[str] = []
        self._started: list[str] = []

    def build(self) -> None:
        """Runs that hold, wait, have started and are observed; reservations; families."""
        for _ in range(self._dice.randint(1, 3)):
            self._join_wide()
        for _ in range(self._dice.randint(1, 2)):
            self._fill()
            self._dice.choice([self._join_wide, self._start, self._observe, self._reserve_many])()

    def acts(self, count: int) -> Iterator[Act]:
        """What is done next, *count* times, and a sweep until nothing is left."""
        kinds: Sequence[Callable[[], Act | None]] = (
            self._joining, self._joining_narrow, self._polling, self._releasing, self._releasing, self._prioritizing,
            self._starting, self._ending, self._pausing, self._presuming, self._observing, self._reserving,
            self._closing, self._answering, self._auditing, self._forgetting, self._letting_time_pass,
        )  # fmt: skip
        for _ in range(count):
            if act := self._dice.choice(kinds)():
                yield act
        yield "sweep", lambda: sweep_all(self.board)

    def _some(self) -> list[str]:
        """Machines of a wide run: all, a half, each second one, or some by chance."""
        size = len(self._machines)
        return self._dice.choice(
            [self._machines, self._machines, self._machines[: size // 2], self._machines[size // 3 :],
             self._machines[::2], self._dice.sample(self._machines, max(1, size // 3)), self._machines[:-1]]
        )  # fmt: skip

    def _info(self) -> dict[str, Any]:
        """Of one of three processes."""
        return {**INFO, "project": {"id": f"Projects-{self._dice.randint(1, 3)}"}}

    def _run(self) -> RunRequest:
        parent = self._dice.choice([None, None, *self._wide[-3:], *self._narrow[-3:]])
        run = new_run(
            priority=self._dice.choice([0, 0, 0, 1, -1]), on_behalf_of=parent, parked=self._dice.random() < 0.2
        )
        return replace(run, info={**run.info, "project": self._info()["project"]})

    def _join_wide(self) -> None:
        run = self._run()
        self._wide.append(run.task_id)
        self._try(lambda: self.board.join(run, self._some(), ttl=TTL))

    def _fill(self) -> None:
        """Many waiters with few machines each, and some children of others."""
        sweep_all(self.board)
        each, width = self._dice.choice([1, 1, 1, 2]), self._dice.choice([1, 1, 2, 5])
        runs = [new_run(priority=self._dice.choice([0, 0, 1])) for _ in range(len(self._machines) * each // width)]
        many = self._machines
        fill(self.board, ((run, {many[(at + n * n * 37) % len(many)] for n in range(width)})
                          for at, run in enumerate(runs)), ttl=self._dice.choice([TTL, 3 * TTL]))  # fmt: skip
        self._narrow += [run.task_id for run in self._dice.sample(runs, min(200, len(runs)))]
        for _ in range(self._dice.choice([0, 5, 50])):
            run = self._run()
            self._narrow.append(run.task_id)
            self._try(partial(self.board.join, run, self._dice.sample(many, width), ttl=TTL))

    def _tell(self, effect: Effect, task: str) -> None:
        key, now_ms = f"events-{new_task()}", self.board.now_ms()
        self.board.deliver(Event(key, key, f"Deployment{effect}", effect, now_ms, task, None, info=self._info()))

    def _start(self) -> None:
        for _ in range(self._dice.randint(1, 6)):
            self._started.append(new_task())
            self._tell(Effect.STARTED, self._started[-1])

    def _observe(self) -> None:
        self._start()
        machines = [{"id": machine, "name": "web"} for machine in self._some()]
        self.board.observe(self._started[-1], machines, info={})
        self._wide.append(self._started.pop())

    def _reserve_many(self) -> None:
        for machine in self._dice.sample(self._machines, len(self._machines) // 20):
            self.board.reserve(machine, note="disk", by="ann")

    @staticmethod
    def _try(act: Callable[[], object]) -> object:
        """What is refused is done as well."""
        try:
            return act()
        except GateError:
            return None

    def _one(self) -> str:
        return self._dice.choice([*self._wide, *self._wide, *self._narrow[-50:]])

    def _joining(self) -> Act:
        run, machines = self._run(), self._some()
        self._wide.append(run.task_id)
        return f"join of {len(machines)}", lambda: self._try(lambda: self.board.join(run, machines, ttl=TTL))

    def _joining_narrow(self) -> Act:
        run, machines = self._run(), self._dice.sample(self._machines, 2)
        self._narrow.append(run.task_id)
        return "join of 2", lambda: self._try(lambda: self.board.join(run, machines, ttl=TTL))

    def _polling(self) -> Act:
        task = self._one()
        return "poll", lambda: self.board.poll(task)

    def _releasing(self) -> Act:
        task = self._one()
        return "release", lambda: self.board.release(task)

    def _prioritizing(self) -> Act:
        task, priority = self._one(), self._dice.randint(-2, 5)
        return "prioritize", lambda: self._try(lambda: self.board.prioritize(task, priority, by="ann", reason="hotfix"))

    def _starting(self) -> Act:
        return "starts", self._start

    def _ending(self) -> Act:
        task = self._dice.choice([*self._started, self._one()])
        return "end", lambda: self._tell(Effect.ENDED, task)

    def _pausing(self) -> Act:
        task = self._one()

        def pause() -> None:
            seen = self.board.look(task)
            if seen and self._dice.random() < 0.5:
                self.board.give_way(seen, interruption="Interruptions-1")
            self._tell(Effect.PAUSED, task)
            self._tell(Effect.RESUMED, task)

        return "pause", pause

    def _presuming(self) -> Act | None:
        if not self._started:
            return None
        task, machines = self._dice.choice(self._started), self._some()
        return "presume", lambda: self.board.presume(task, machines)

    def _observing(self) -> Act:
        return "observe", self._observe

    def _reserving(self) -> Act:
        some = self._dice.sample(self._machines, 5)

        def reserve() -> None:
            for machine in some:
                self.board.reserve(machine, note="disk", by="ann")
                self.board.unreserve(machine, by="ann")

        return "reserve", reserve

    def _closing(self) -> Act:
        tasks = [self._one() for _ in range(3)]

        def close() -> None:
            self.board.close(by="ann", reason="test")
            self.board.script.offset_ms += 3 * TTL // timedelta(milliseconds=1) if self._dice.random() < 0.3 else 0
            for task in tasks:
                self.board.recover(task, paused=False)
                self.board.poll(task)
            self._try(lambda: self.board.join(self._run(), self._some(), ttl=TTL))
            self.board.open("operator", by="ann")

        return "close, recover, open", close

    def _answering(self) -> Act:
        task = self._one()
        return "answered", lambda: self.board.answered(task, "by_hand", result="Proceed")

    def _auditing(self) -> Act:
        board = self.board
        return "audit", lambda: Audit(board.script, board.client, board.keys).look()

    def _forgetting(self) -> Act:
        return "forget machines", self.board.forget_machines

    def _letting_time_pass(self) -> Act:
        minutes = self._dice.choice([1, 70, 200])

        def pass_time() -> None:
            self.board.script.offset_ms += minutes * 60_000
            self.board.client.hset(self.board.keys.counters, "served_at", self.board.now_ms())
            self.board.sweep(serving=True)

        return f"{minutes} minutes later", pass_time


def run(report: Report) -> None:
    """Print the longest scripts of some boards of chance, and what had been done before each."""
    seed = report.seed if report.seed is not None else int(time.time())
    size = int(report.pick(1000, 10_000))
    with directory() as where, embedded(where) as url, board_on(url) as first:
        first.client.config_set("appendfsync", "no")
        for number in range(seed, seed + int(report.pick(2, 5))):
            board = OpenBoard(first.client, namespace=new_namespace())
            board.open("test")
            slow = _measure(WideState(board, random.Random(number), size))
            rows = [[act, one.name, one.ms] for act, one in slow[:MOST_PRINTED]]
            report.table(f"Longest scripts, seed {number}", ("what was done", "script", "ms"), rows)
            first.client.flushall()


def _measure(state: WideState) -> list[tuple[str, Slow]]:
    """The scripts that took longest, each with what was done when it was called."""
    state.build()
    client, slow = state.board.client, []
    client.config_set("slowlog-max-len", 10_000)
    for name, act in state.acts(ACTS):
        log = SlowLog()
        client.slowlog_reset()
        client.config_set("slowlog-log-slower-than", 1000)
        act()
        log.read(client)
        client.config_set("slowlog-log-slower-than", -1)
        slow += [(name, one) for one in log.entries]
    return sorted(slow, key=lambda entry: -entry[1].ms)
