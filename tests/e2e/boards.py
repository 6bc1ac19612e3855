"""Puts runs and machines on a board."""

from __future__ import annotations

import json
from datetime import timedelta

from app.coordination.board import Board
from app.domain.run import RunRequest
from tests.conftest import Clock

TTL = timedelta(hours=1)


def name_machine(board: Board, number: int, name: str) -> None:
    record = json.dumps({"id": f"Machines-{number}", "name": name})
    board.client.hset(board.keys.machines, f"machines-{number}", record)


def join(
    board: Board, task: int, *machines: int, project: str = "Web", priority: int = 0, environment: str = "Production",
    ttl: timedelta = TTL,
) -> None:  # fmt: skip
    info = {
        "project": {"id": "Projects-7", "name": project},
        "release": {"id": "Releases-90", "version": "1.4.0"},
        "environment": {"id": "Environments-2", "name": environment},
        "url": f"https://octopus.example.com/app#/Spaces-1/tasks/ServerTasks-{task}",
    }
    run = RunRequest(f"ServerTasks-{task}", info, priority=priority)
    board.join(run, {f"Machines-{number}" for number in machines}, ttl=ttl)
    board.poll(run.task_id)


def write_past(board: Board, clock: Clock, *, hours: int = 4) -> None:
    """An afternoon on web-01, ending now: three runs one after another, a reservation, and an overlap on web-02.

    To be written before a service starts, which has no part in this clock.
    """
    for number in (1, 2):
        name_machine(board, number, f"web-{number:02}")
    # Records never go back in time: what was written to make the board must not hold these in the present.
    board.client.hdel(board.keys.counters, "stamp")
    long, minutes = timedelta(days=3), lambda number: clock.advance(timedelta(minutes=number))
    clock.advance(-timedelta(hours=hours))
    join(board, 1, 1, project="Web", ttl=long)
    minutes(10)
    join(board, 2, 1, project="Api", ttl=long)
    minutes(5)
    join(board, 3, 1, project="Portal", environment="Staging", ttl=long)
    minutes(15)
    board.release("ServerTasks-1")
    board.poll("ServerTasks-2")
    minutes(20)
    board.release("ServerTasks-2")
    board.reserve("Machines-1", note="disk swap", by="dana")
    board.poll("ServerTasks-3")
    minutes(30)
    board.unreserve("Machines-1", by="dana")
    board.release("ServerTasks-3", cause="forced", by="dana", reason="its server died")
    minutes(60 * hours - 80 - 5)
    join(board, 4, 1, project="Web", ttl=long)
    join(board, 5, 1, project="Api", ttl=long)
    minutes(5)
