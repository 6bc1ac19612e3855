"""Hostile shapes as a caller of the API brings them about: with the tokens of steps, and what Octopus tells besides.

An attack is a generator: it yields what is to be asked next and is sent the answers, so that several go on at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.caller import webhook
from tests.bench.stage import BATCH, SPAN, Acts, Stage


def family_behind_a_line(stage: Stage, size: int, children: int) -> Acts:
    """A parent holds one machine; its children want another one behind a long line."""
    held, wanted = stage.machines(1), stage.machines(1, first=2)
    parent = yield from stage.hold(held)
    yield from stage.hold(wanted)
    yield from stage.wait([wanted] * size)
    waiters = yield from stage.wait([held + wanted] * children, family=parent)
    yield from stage.end(parent)
    yield from stage.ask(stage.caller.get(task, held + wanted, family=parent) for task in waiters[:20])
    yield from stage.end_all()


def wide_children(stage: Stage, size: int) -> Acts:
    """Children want the same 200 machines, which a stranger holds."""
    many, own = stage.machines(200), stage.machines(1, first=500)
    parent = yield from stage.hold(own)
    stranger = yield from stage.hold(many)
    yield from stage.wait([many + own] * size, family=parent)
    yield from stage.end(parent)
    yield from stage.end(stranger)
    yield from stage.end_all()


def siblings(stage: Stage, size: int) -> Acts:
    """Children share what their parent gets, and start at once: 20 machines each."""
    many, own = stage.machines(20), stage.machines(1, first=50)
    stranger = yield from stage.hold(many)
    parent = yield from stage.hold(own)
    children = yield from stage.wait([many] * size, family=parent)
    yield from stage.end(stranger)
    yield from stage.ask(stage.caller.get(task, many, family=parent) for task in children)
    yield from stage.end_all()


def next_runs_are_wide(stage: Stage, size: int) -> Acts:
    """A run of many machines ends; the next run of each wants 100 others besides, which are free or wanted as well."""
    many = stage.machines(size)
    holder = yield from stage.hold(many)
    yield from stage.wait([[m, *stage.machines(100, first=5000 + 10 * n)] for n, m in enumerate(many)])
    yield from stage.end(holder)
    yield from stage.end_all()


def many_are_next(stage: Stage, size: int) -> Acts:
    """A run of many machines ends, by its step or as Octopus tells; somebody waits for each."""
    many = stage.machines(size)
    holder = yield from stage.hold(many)
    yield from stage.wait([m] for m in many)
    if stage.dice.random() < 0.5:
        yield from stage.end(holder)
    else:
        yield [webhook("DeploymentSucceeded", holder)]
    yield from stage.end_all()


def many_observed(stage: Stage, size: int) -> Acts:
    """Many runs without a lease work on one machine, as Octopus tells; one waits there, and asks."""
    one = stage.machines(1)
    tasks = [stage.task() for _ in range(size)]
    for at in range(0, size, BATCH):
        some = tasks[at : at + BATCH]
        yield [webhook("DeploymentStarted", task) for task in some]
        for task in some:
            stage.board.observe(task, [{"id": one[0], "name": "one"}], info={})
    [waiter] = yield from stage.wait([one])
    yield [stage.caller.get(waiter, one)] * 10
    yield from stage.ask(webhook("DeploymentSucceeded", task) for task in tasks)
    yield from stage.end_all()


def a_long_line(stage: Stage, size: int) -> Acts:
    """Many waiters in one line: the last asks, one in the middle leaves, one comes, one goes first, the head starts."""
    one, caller = stage.machines(1), stage.caller
    holder = yield from stage.hold(one)
    tasks = yield from stage.wait([one] * size)
    yield [caller.get(task, one) for task in stage.dice.sample(tasks, 50)]
    yield [caller.delete(tasks[size // 2])]
    stage.board.prioritize(tasks[-1], 5, by="ann", reason="hotfix")
    yield [caller.get(tasks[-1], one), caller.put(stage.task(), one)]
    yield from stage.end(holder)
    for _ in range(10):
        yield [caller.get(task, one) for task in (tasks[-1], *tasks[:10])]
        yield from stage.end(*(task for task in tasks if task in caller.held))
    yield from stage.end_all()


def due_at_once(stage: Stage, size: int) -> Acts:
    """The waits of many in one line time out in the same second."""
    one, caller = stage.machines(1), stage.caller
    yield from stage.hold(one)
    due = time.monotonic() + 60
    while len(stage.tasks) < size:
        seconds = max(1, round(due - time.monotonic()))
        yield from stage.wait([one] * BATCH, timeout_seconds=seconds)
    yield due + 2
    yield [caller.get(task, one) for task in stage.tasks[-20:]]
    yield from stage.end_all()


def grants_end_at_once(stage: Stage, size: int) -> Acts:
    """Grants of 200 machines each that nobody collects; each has a next run."""
    many = [stage.machines(200, first=1 + 200 * n) for n in range(min(size, SPAN // 200))]
    holders = []
    for machines in many:
        holders.append((yield from stage.hold(machines)))
    yield from stage.wait(many)
    yield from stage.wait(many)
    yield from stage.end(*holders)
    yield time.monotonic() + stage.ttl + 5
    yield from stage.end_all()


def opening(stage: Stage, size: int) -> Acts:
    """The board opens while many wait, each for a machine of its own and one that all want."""
    hub = stage.machines(1)
    holder = yield from stage.hold(hub)
    tasks = yield from stage.wait([hub[0], *stage.machines(1, first=2 + n)] for n in range(size))
    if stage.board.close(by="ann", reason="test"):
        yield [stage.caller.delete(holder), *(stage.caller.get(task, hub) for task in tasks[:20])]
        stage.board.open("operator", by="ann", reason="test")
    yield from stage.end_all()


def wide_runs(stage: Stage, size: int) -> Acts:
    """Runs with as many machines as there may be, some of which wait for the same."""
    many, caller = stage.machines(size), stage.caller
    tasks = [stage.task() for _ in range(4)]
    yield from stage.ask([caller.put(tasks[0], many)])
    yield from stage.ask(caller.put(task, many) for task in tasks[1:3])
    yield from stage.ask(caller.get(task, many) for task in tasks[:3] * 3)
    yield from stage.ask([caller.put(tasks[3], stage.dice.sample(many, len(many)))])
    for _ in range(8):
        yield from stage.end(*(task for task in tasks if task in caller.held))
        yield from stage.ask(caller.get(task, many) for task in tasks)
    yield from stage.end(*tasks)
    yield from stage.end_all()


def more_than_may(stage: Stage, size: int) -> Acts:
    """One asks for more places than its token may have, again and again."""
    one = stage.machines(1)
    yield from stage.hold(one)
    tasks = yield from stage.wait([one] * size)
    for _ in range(3):
        yield from stage.ask(stage.caller.put(task, one) for task in tasks[: size // 2])
    yield from stage.end_all()


@dataclass(frozen=True)
class Attack:
    """*sizes*: the full one, and that of a short run. *is_limited*: with a token that may have some waiters only."""

    name: str
    acts: Callable[[Stage, int], Acts]
    sizes: tuple[int, int]
    is_limited: bool = False


ATTACKS = (
    Attack("30 children behind 10,000", lambda stage, size: family_behind_a_line(stage, size, 30), (10_000, 500)),
    Attack("1,000 children behind 10,000", lambda stage, size: family_behind_a_line(stage, size, size // 10),
           (10_000, 500)),
    Attack("30 children × 200 machines", wide_children, (30, 5)),
    Attack("1,000 siblings start at once", siblings, (1000, 60)),
    Attack("1,000 machines are given back, next runs of 101", next_runs_are_wide, (1000, 100)),
    Attack("5,000 machines are given back, each wanted", many_are_next, (5000, 300)),
    Attack("1,000 observed runs on one machine", many_observed, (1000, 100)),
    Attack("10,000 waiters in one line", a_long_line, (10_000, 500)),
    Attack("10,000 waits time out at once", due_at_once, (10_000, 500)),
    Attack("100 grants of 200 machines end at once", grants_end_at_once, (100, 10)),
    Attack("opening with 5,000 waiters", opening, (5000, 300)),
    Attack("runs of 10,000 machines", wide_runs, (10_000, 1000)),
    Attack("more waiters than a token may have", more_than_may, (3000, 300), is_limited=True),
)  # fmt: skip
