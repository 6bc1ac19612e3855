"""Shapes of a board that are hostile to a server with one thread: what is built, and what is done to it then.

All of them are what the API admits to one who has a token for steps, or what a large and honest installation comes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from app.domain.run import RunRequest
from tests.bench.acts import (
    TTL,
    Act,
    Shape,
    children,
    hold,
    later,
    machine_ids,
    observe,
    start,
    sweep_all,
    wait,
    work_on_one,
)  # fmt: skip
from tests.bench.world import end_of, fill, new_run, new_task
from tests.open_board import OpenBoard


def family_behind_a_line(board: OpenBoard, size: int) -> Sequence[Act]:
    """A parent holds one machine; its children, 30 of *size* waiters, want another one behind a long line."""
    parent, _ = hold(board, ["Machines-P"]), hold(board, ["Machines-1"])
    wait(board, size, ["Machines-1"])
    children(board, parent, max(3, size * 30 // 10_000), ["Machines-1", "Machines-P"])
    return [lambda: board.release(parent), lambda: sweep_all(board)]


def large_family(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* children behind ten times as many waiters."""
    parent, _ = hold(board, ["Machines-P"]), hold(board, ["Machines-1"])
    wait(board, 10 * size, ["Machines-1"])
    children(board, parent, size, ["Machines-1", "Machines-P"])
    return [lambda: board.release(parent), lambda: sweep_all(board)]


def wide_children(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* children want the same 200 machines, which a stranger holds."""
    many = machine_ids(200)
    parent, stranger = hold(board, ["Machines-P"]), hold(board, many)
    children(board, parent, size, [*many, "Machines-P"])
    return [lambda: board.release(parent), lambda: board.release(stranger), lambda: sweep_all(board)]


def siblings_start_at_once(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* children share what their parent gets: 20 machines each."""
    many = machine_ids(20)
    stranger, parent = hold(board, many), hold(board, ["Machines-P"])
    children(board, parent, size, many)
    return [lambda: board.release(stranger), lambda: sweep_all(board)]


def next_runs_are_wide(board: OpenBoard, size: int) -> Sequence[Act]:
    """A run of *size* machines ends; the next run of each wants 100 free ones besides."""
    held = machine_ids(size)
    holder = hold(board, held)
    fill(board, ((new_run(), [m, *machine_ids(100, first=100_000 + 100 * n)]) for n, m in enumerate(held)), ttl=TTL)
    return [lambda: board.release(holder), lambda: sweep_all(board)]


def many_are_next(board: OpenBoard, size: int) -> Sequence[Act]:
    """A run of *size* machines ends; somebody waits for each."""
    held = machine_ids(size)
    holder = hold(board, held)
    fill(board, ((new_run(), [m]) for m in held), ttl=TTL)
    return [lambda: board.release(holder), lambda: sweep_all(board)]


def end_is_told(board: OpenBoard, size: int) -> Sequence[Act]:
    """Octopus tells of the end of a run of *size* machines; somebody waits for each."""
    held = machine_ids(size)
    holder = hold(board, held)
    fill(board, ((new_run(), [m]) for m in held), ttl=TTL)
    return [lambda: board.deliver(end_of(holder)), lambda: sweep_all(board)]


def many_observed(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* observed runs on one machine."""
    for _ in range(size):
        observe(board)
    waiter = new_run()
    return [lambda: board.join(waiter, ["Machines-1"], ttl=TTL), lambda: board.poll(waiter.task_id),
            lambda: observe(board)]  # fmt: skip


def a_long_line(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* waiters in one line: the first, the last and one who comes."""
    holder = hold(board, ["Machines-1"])
    tasks = wait(board, size, ["Machines-1"])
    return [lambda: board.poll(tasks[-1]), lambda: board.join(new_run(), ["Machines-1"], ttl=TTL),
            lambda: board.release(tasks[size // 2]), lambda: board.prioritize(tasks[-1], 5, by="ann", reason="hotfix"),
            lambda: board.release(holder), lambda: sweep_all(board)]  # fmt: skip


def waiters_die_at_once(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* waiters in one line show no sign of life."""
    hold(board, ["Machines-1"])
    wait(board, size, ["Machines-1"])
    return later(board)


def holds_end_at_once(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* grants of 200 machines that nobody collected; each machine has a next run."""
    for number in range(size):
        many = machine_ids(200, first=1 + 200 * number)
        first = hold(board, many)
        wait(board, 1, many)
        board.release(first)
    return later(board)


def opening(board: OpenBoard, size: int) -> Sequence[Act]:
    """*size* waiters come while the board is closed, each at a machine of its own and one that all want."""
    board.close(by="ann", reason="test")
    fill(board, ((new_run(), ["Machines-0", f"Machines-{n}"]) for n in range(1, size + 1)), ttl=TTL)
    return [lambda: board.open("operator", by="ann"), lambda: sweep_all(board)]


def wide_run(board: OpenBoard, size: int) -> Sequence[Act]:
    """A run with *size* machines joins, asks and gives them back; another one waits for the same meanwhile."""
    many = machine_ids(size)
    one, other = new_run(), new_run()

    def join(run: RunRequest) -> Act:
        return lambda: board.join(run, many, ttl=TTL)

    return [join(one), lambda: board.poll(one.task_id), join(other), lambda: board.poll(other.task_id),
            lambda: board.release(one.task_id), lambda: board.poll(other.task_id), lambda: board.release(other.task_id),
            lambda: sweep_all(board)]  # fmt: skip


def wide_child(board: OpenBoard, size: int) -> Sequence[Act]:
    """Children want the same *size* machines, one of which their parent holds and a stranger the others."""
    many = machine_ids(size)
    parent, stranger = hold(board, many[:1]), hold(board, many[1:])
    return [lambda: children(board, parent, 3, many), lambda: board.release(parent), lambda: board.release(stranger),
            lambda: sweep_all(board)]  # fmt: skip


def large_process(board: OpenBoard, size: int) -> Sequence[Act]:
    """Runs of a process that has used *size* machines start, without an API key; somebody waits for each machine."""
    many, tasks = machine_ids(size), [new_task() for _ in range(3)]
    board.release(hold(board, many))
    hold(board, many)
    fill(board, ((new_run(), [m]) for m in many), ttl=TTL)
    return [*(partial(start, board, task) for task in tasks), partial(work_on_one, board, tasks[0]),
            lambda: board.deliver(end_of(tasks[1])), lambda: sweep_all(board)]  # fmt: skip


SHAPES = (
    Shape("30 children behind a line of 10,000", family_behind_a_line, (10_000, 1000)),
    Shape("1,000 children behind a line of 10,000", large_family, (1000, 60)),
    Shape("30 children × 200 machines", wide_children, (30, 30)),
    Shape("1,000 siblings start at once", siblings_start_at_once, (1000, 60)),
    Shape("release of 1,000 machines, next runs of 101", next_runs_are_wide, (1000, 100)),
    Shape("release of 5,000 machines, each with a next run", many_are_next, (5000, 1000), 100),
    Shape("end of a run of 5,000 machines, each with a next run", end_is_told, (5000, 1000), 100),
    Shape("1,000 observed runs on one machine", many_observed, (1000, 200)),
    Shape("10,000 waiters in one line", a_long_line, (10_000, 1000)),
    Shape("10,000 waiters die at once", waiters_die_at_once, (10_000, 1000)),
    Shape("100 grants of 200 machines end at once", holds_end_at_once, (100, 10)),
    Shape("opening with 5,000 waiters", opening, (5000, 1000)),
    Shape("join, poll and release with 10,000 machines", wide_run, (10_000, 1000), 100),
    Shape("children with 10,000 machines", wide_child, (10_000, 2000), 100),
    Shape("starts of a process with 10,000 machines, each with a next run", large_process, (10_000, 2000), 100),
)
