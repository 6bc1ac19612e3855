"""P4: join, poll, release and the end of a task, as waiters, machines and the timeline grow."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from app.coordination.board import Board
from tests.bench.past import without_file, write_past
from tests.bench.report import Report, median, number, spread
from tests.bench.world import board_on, directory, embedded, end_of, fill, new_run
from tests.open_board import OpenBoard

TTL = timedelta(hours=1)

OPERATIONS = ("join", "poll", "release", "end")

#: Waiters that the measured line always has, so that a release always grants.
SHORT = 10


class Line:
    """The line of one machine, which the operations leave as long as it was."""

    def __init__(self, board: Board, machine: str, waiters: int) -> None:
        self._board, self._machine = board, machine
        runs = [new_run() for _ in range(waiters + 1)]
        fill(board, ((run, [machine]) for run in runs), ttl=TTL)
        self._tasks = deque(run.task_id for run in runs)
        self.took: dict[str, list[float]] = {name: [] for name in OPERATIONS}

    def turn(self) -> None:
        """Two join at the end, one of them asks, one releases at the head, Octopus tells of the end of the next."""
        self._join()
        self._join()
        self._time("poll", self._board.poll, self._tasks[-1])
        self._time("release", self._board.release, self._tasks.popleft())
        self._time("end", self._board.deliver, end_of(self._tasks.popleft()))

    def _join(self) -> None:
        run = new_run()
        self._time("join", lambda: self._board.join(run, [self._machine], ttl=TTL))
        self._tasks.append(run.task_id)

    def _time(self, name: str, do: Callable[..., Any], *arguments: Any) -> None:
        began = time.perf_counter()
        do(*arguments)
        self.took[name].append(1e6 * (time.perf_counter() - began))


def same_line(board: Board, size: int) -> Line:
    return Line(board, "Machines-0", size)


def other_lines(board: Board, size: int) -> Line:
    """*size* waiters, in tens, at other machines."""
    fill(board, ((new_run(), [f"Machines-{n // 11 + 1}"]) for n in range(size * 11 // 10)), ttl=TTL)
    return Line(board, "Machines-0", SHORT)


def machines(board: Board, size: int) -> Line:
    """*size* machines, each held."""
    fill(board, ((new_run(), [f"Machines-{n + 1}"]) for n in range(size)), ttl=TTL)
    return Line(board, "Machines-0", SHORT)


def records(board: Board, size: int) -> Line:
    """*size* records in the timeline."""
    write_past(board, size)
    return Line(board, "Machines-0", SHORT)


def run(report: Report) -> None:
    """Print each operation's median at every size; all sizes are there at once and take turns."""
    waiters = (10, 1_000, 10_000) if report.quick else (10, 1_000, 10_000, 100_000)
    past = (1_000, 100_000) if report.quick else (1_000, 100_000, 1_000_000)
    _measure(report, "waiters in the same line", waiters, same_line)
    _measure(report, "waiters at other machines", waiters, other_lines)
    _measure(report, "machines", (10, 1_000, 10_000), machines)
    _measure(report, "records in the timeline", past, records)


def _measure(report: Report, what: str, sizes: tuple[int, ...], build: Callable[[Board, int], Line]) -> None:
    lines: dict[int, Line] = {}
    with directory() as where, embedded(where) as url, board_on(url) as first:
        with without_file(first):
            for size in sizes:
                # A namespace for each size, on one server and one client.
                board = OpenBoard(first.client, namespace=f"s{size}")
                board.open("test")
                lines[size] = build(board, size)
        for _ in range(int(report.pick(20, 60))):
            for line in lines.values():
                for _ in range(10):
                    line.turn()
    rows = [[size, *(spread(line.took[name]) for name in OPERATIONS)] for size, line in lines.items()]
    smallest, largest = ([median(lines[size].took[name]) for name in OPERATIONS] for size in (sizes[0], sizes[-1]))
    ratios = [big / small for big, small in zip(largest, smallest, strict=True)]
    report.table(
        f"µs by {what}: p50 / p99", ("", *OPERATIONS), [*rows, ["largest ÷ smallest, p50", *map(number, ratios)]]
    )
    for name, ratio in zip(OPERATIONS, ratios, strict=True):
        report.measured("P4", ratio, operation=name, least=sizes[0], most=sizes[-1], things=what)
