"""Hostile shapes of runs with many machines, each of which has waiters of its own.

What is done about one of these machines is done about all, and at no two of them the same stands: no look at one says
anything about another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.bench.acts import TTL, Act, Shape, children, hold, later, machine_ids, start_of, sweep_all, wait
from tests.bench.world import end_of, fill, new_run
from tests.open_board import OpenBoard

#: Waiters in each line, where there are several: more than one look at many machines reads.
EACH = 6


def _lines(board: OpenBoard, machines: Sequence[str], each: int = 1) -> None:
    """*each* waiters at each machine, who want nothing else."""
    fill(board, ((new_run(), [machine]) for _ in range(each) for machine in machines), ttl=2 * TTL)


def wide_run_behind_lines(board: OpenBoard, size: int) -> Sequence[Act]:
    """A run with *size* machines waits behind several others in each line, is put before them, starts and ends."""
    many, wide, other = machine_ids(size), new_run(), new_run()
    holder = hold(board, many)
    _lines(board, many, EACH)
    return [lambda: board.join(wide, many, ttl=TTL), lambda: board.poll(wide.task_id),
            lambda: board.prioritize(wide.task_id, 5, by="ann", reason="hotfix"), lambda: board.poll(wide.task_id),
            lambda: board.join(other, many, ttl=TTL), lambda: board.release(holder), lambda: board.poll(wide.task_id),
            lambda: board.release(wide.task_id), lambda: board.release(other.task_id),
            lambda: sweep_all(board)]  # fmt: skip


def wide_run_before_lines(board: OpenBoard, size: int) -> Sequence[Act]:
    """A run waits for the first and the last of *size* machines, before several others in each line."""
    many, wide = machine_ids(size), new_run()
    first, last = hold(board, many[:1]), hold(board, many[-1:])
    board.join(wide, many, ttl=TTL)
    _lines(board, many, EACH)
    return [lambda: board.release(first), lambda: board.release(last), lambda: board.poll(wide.task_id),
            lambda: board.release(wide.task_id), lambda: sweep_all(board)]  # fmt: skip


def release_of_many(board: OpenBoard, size: int) -> Sequence[Act]:
    """A run of *size* machines ends, each with a next run."""
    many = machine_ids(size)
    holder = hold(board, many)
    _lines(board, many)
    return [lambda: board.release(holder), lambda: sweep_all(board)]


def end_of_many(board: OpenBoard, size: int) -> Sequence[Act]:
    """Octopus tells of the end of such a run."""
    many = machine_ids(size)
    holder = hold(board, many)
    _lines(board, many, EACH)
    return [lambda: board.deliver(end_of(holder)), lambda: sweep_all(board)]


def next_run_of_many(board: OpenBoard, size: int) -> Sequence[Act]:
    """Catch up reads the end of such a run together with the next start of its task."""
    many = machine_ids(size)
    holder = hold(board, many)
    _lines(board, many)
    end, start = end_of(holder), start_of(holder)
    both = [end, replace(start, occurred_ms=(end.occurred_ms or 0) + 1000)]
    return [lambda: board.deliver_as_one(both, via="catch_up"), lambda: sweep_all(board)]


def expiry_of_many(board: OpenBoard, size: int) -> Sequence[Act]:
    """Nobody collects the grant of such a run, and one that waits for the same machines is gone as well."""
    many = machine_ids(size)
    first = hold(board, many)
    wait(board, 2, many)
    _lines(board, many)
    board.release(first)
    return later(board)


def wide_child_behind_lines(board: OpenBoard, size: int) -> Sequence[Act]:
    """Children want *size* machines, each with a waiter of its own before them."""
    many = machine_ids(size)
    parent, stranger = hold(board, ["Machines-P"]), hold(board, many)
    _lines(board, many)
    return [lambda: children(board, parent, 2, [*many, "Machines-P"]), lambda: board.release(parent),
            lambda: board.release(stranger), lambda: sweep_all(board)]  # fmt: skip


def child_behind_a_wide_run(board: OpenBoard, size: int) -> Sequence[Act]:
    """Children want one machine, behind a run with *size* machines that stands behind a waiter at each of them."""
    many = machine_ids(size)
    parent = hold(board, ["Machines-P"])
    hold(board, many)
    _lines(board, many)
    wide = wait(board, 1, [*many, "Machines-X"])[0]
    return [lambda: children(board, parent, 3, ["Machines-P", "Machines-X"]),
            lambda: board.prioritize(wide, 1, by="ann", reason="hotfix"), lambda: board.release(parent),
            lambda: sweep_all(board)]  # fmt: skip


def child_behind_many_pairs(board: OpenBoard, size: int) -> Sequence[Act]:
    """Children want one machine behind *size* waiters, each of which wants a machine of its own besides."""
    parent, _ = hold(board, ["Machines-P"]), hold(board, ["Machines-X"])
    fill(board, ((new_run(), ["Machines-X", machine]) for machine in machine_ids(size)), ttl=TTL)
    return [lambda: children(board, parent, 3, ["Machines-P", "Machines-X"]), lambda: board.release(parent),
            lambda: sweep_all(board)]  # fmt: skip


WIDE_SHAPES = (
    Shape("10,000 machines, behind 6 waiters at each", wide_run_behind_lines, (10_000, 600), 100),
    Shape("10,000 machines, before 6 waiters at each", wide_run_before_lines, (10_000, 600), 100),
    Shape("release of 10,000 machines, each with a next run", release_of_many, (10_000, 2000), 100),
    Shape("end of a run of 10,000 machines, 6 waiters at each", end_of_many, (10_000, 600), 100),
    Shape("end and next start of a run of 10,000 machines", next_run_of_many, (10_000, 2000), 100),
    Shape("grants of 10,000 machines end at once, each with a next run", expiry_of_many, (10_000, 2000), 100),
    Shape("children with 10,000 machines, a waiter at each", wide_child_behind_lines, (10_000, 2000), 100),
    Shape("children behind a run with 10,000 machines, a waiter at each", child_behind_a_wide_run, (10_000, 2000), 100),
    Shape("children behind 9,000 waiters with a machine of their own each", child_behind_many_pairs, (9000, 1000)),
)
