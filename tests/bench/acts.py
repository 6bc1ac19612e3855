"""What shapes of a board are built of (shapes.py, wide_shapes.py), and what is done to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.domain.events import Effect, Event
from tests.bench.world import INFO, fill, new_run, new_task
from tests.open_board import OpenBoard

#: Longer than any bench.
TTL = timedelta(hours=1)

#: What is done to a board that was built; what is measured are the scripts that it calls.
Act = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """*build* makes a board of a *size* and returns what is to be done to it, step by step.

    *sizes*: the full one, and a small one for each run of the tests. *limit_ms* of the longest script at full size.
    """

    name: str
    build: Callable[[OpenBoard, int], Sequence[Act]]
    sizes: tuple[int, int]
    limit_ms: int = 50


def machine_ids(count: int, *, first: int = 1) -> list[str]:
    return [f"Machines-{n}" for n in range(first, first + count)]


def hold(board: OpenBoard, machines: Sequence[str]) -> str:
    run = new_run()
    board.join(run, machines, ttl=TTL)
    return run.task_id


def wait(board: OpenBoard, count: int, machines: Sequence[str], **fields: object) -> list[str]:
    runs = [new_run(**fields) for _ in range(count)]
    fill(board, ((run, machines) for run in runs), ttl=TTL)
    return [run.task_id for run in runs]


def children(board: OpenBoard, parent: str, count: int, machines: Sequence[str]) -> None:
    for _ in range(count):
        board.join(new_run(on_behalf_of=parent), machines, ttl=TTL)


def sweep_all(board: OpenBoard) -> None:
    while board.sweep(serving=True).more:
        pass


def observe(board: OpenBoard) -> None:
    task = new_task()
    start(board, task, info={})
    work_on_one(board, task)


def start(board: OpenBoard, task: str, info: Mapping[str, Any] = INFO) -> None:
    board.deliver(start_of(task, info))


def start_of(task: str, info: Mapping[str, Any] = INFO) -> Event:
    """What Octopus tells when a task has started."""
    event, now_ms = f"Events-{new_task()}", int(time.time() * 1000)
    return Event(event.lower(), event, "DeploymentStarted", Effect.STARTED, now_ms, task, None, info=info)


def work_on_one(board: OpenBoard, task: str) -> None:
    board.observe(task, [{"id": "Machines-1", "name": "one"}], info={})


def later(board: OpenBoard) -> Sequence[Act]:
    def pass_time() -> None:
        # Octowait itself was there all the time.
        board.script.offset_ms += 5000
        board.sweep(serving=True)

    board.sweep(serving=True)
    board.script.offset_ms += TTL // timedelta(milliseconds=1) + 10_000
    board.client.hset(board.keys.counters, "served_at", board.now_ms())
    return [pass_time, lambda: sweep_all(board)]
