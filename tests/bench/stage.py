"""What one attack works with: tasks and machines of its own, and steps of it that many attacks have."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.acts import machine_ids
from tests.bench.caller import Answer, Ask, Caller
from tests.open_board import OpenBoard

#: Requests after which others get their turn.
BATCH = 200

#: Machines, and numbers of tasks, that an attack has for itself.
SPAN, TASKS = 20_000, 100_000

#: Seconds between two looks of one who waits for machines that others of the attack's place still have.
APART = 0.5

#: Yields requests, or until when it sleeps (`time.monotonic`); is sent the answers.
Acts = Generator[list[Ask] | float, list[Answer], Any]


@dataclass
class Stage:
    """What one attack works with.

    Args:
        place: Of its machines among those of others who attack at the same time.
        number: Of the attack, from 1: its tasks have numbers from ``number * TASKS``.
        ttl: Seconds after which a waiter is over that does not ask.
    """

    caller: Caller
    board: OpenBoard
    dice: random.Random
    place: int
    number: int
    ttl: float
    tasks: list[str] = field(default_factory=list)

    def task(self) -> str:
        self.tasks.append(f"ServerTasks-{self.number * TASKS + len(self.tasks)}")
        return self.tasks[-1]

    def machines(self, count: int, *, first: int = 1) -> list[str]:
        return machine_ids(count, first=self.place * SPAN + first)

    def ask(self, asks: Iterable[Ask]) -> Acts:
        answers = []
        iterator = iter(asks)
        while batch := list(itertools.islice(iterator, BATCH)):
            answers += yield batch
        return answers

    def hold(self, machines: Sequence[str]) -> Acts:
        """The task of a run that holds *machines*."""
        task = self.task()
        [answer] = yield [self.caller.put(task, machines)]
        while answer.word != "granted":
            yield time.monotonic() + APART
            [answer] = yield [self.caller.get(task, machines)]
        return task

    def wait(self, wishes: Iterable[Sequence[str]], **fields: Any) -> Acts:
        """The tasks of runs that want machines, one for each wish."""
        asks = [self.caller.put(self.task(), machines, **fields) for machines in wishes]
        yield from self.ask(asks)
        return [ask.task for ask in asks]

    def end(self, *tasks: str) -> Acts:
        yield from self.ask(map(self.caller.delete, tasks))

    def end_all(self) -> Acts:
        """End all that it has; the waiters by their time to live, or by a release of each."""
        yield from self.end(*(task for task in self.tasks if task in self.caller.held))
        if self.dice.random() < 0.5:
            yield time.monotonic() + self.ttl + 5
        else:
            yield from self.end(*self.tasks)
