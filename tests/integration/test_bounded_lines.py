"""What follows from a change at many machines, each with waiters of its own, is not done in one script (rule 23).

Commands and calls of the string library are counted, not time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.bench.acts import TTL, hold, machine_ids, sweep_all
from tests.bench.shapes import large_process
from tests.bench.wide_shapes import (
    EACH,
    child_behind_a_wide_run,
    end_of_many,
    release_of_many,
    wide_child_behind_lines,
    wide_run_behind_lines,
)
from tests.bench.world import fill, new_run
from tests.integration.test_bounded import CountedScripts
from tests.integration.test_bounded_work import Worked, counted
from tests.open_board import OpenBoard

SIZE = 1000

#: Commands of a script for each machine: that of the index, and what is done for some hundred at once.
MOST_A_MACHINE = 1.2


class Dying(CountedScripts):
    """Nobody goes on with what is left."""

    def carry_on(self) -> bool:
        return True


def work_left(board: OpenBoard) -> int:
    return int(board.client.zcount(board.keys.deadlines, "-inf", 2))


@pytest.mark.parametrize("shape", [release_of_many, end_of_many], ids=lambda shape: shape.__name__)
def test_end_of_a_run_leaves_the_lines_of_its_many_machines_unread(own_board: OpenBoard, shape: Callable) -> None:  # type: ignore[type-arg]
    end, finish = shape(own_board, SIZE)
    own_board.script = scripts = Dying(own_board)

    end()

    # Its webhook asks besides whether anybody waits at all.
    most = MOST_A_MACHINE + (1 if shape is end_of_many else 0)
    assert max(scripts.commands)[0] <= most * SIZE
    assert 0 < work_left(own_board) <= 2 + SIZE / 500
    finish()
    assert own_board.client.zcard(own_board.keys.holders) == SIZE
    assert work_left(own_board) == 0


def test_waiters_behind_two_ends_at_once_start_in_their_order(own_board: OpenBoard) -> None:
    many = machine_ids(SIZE)
    first, second = hold(own_board, many[: SIZE // 2]), hold(own_board, many[SIZE // 2 :])
    pairs = list(zip(many[: SIZE // 2], many[SIZE // 2 :], strict=True))
    fill(own_board, ((new_run(), pair) for pair in pairs for _ in range(2)), ttl=TTL)
    own_board.script = Dying(own_board)

    own_board.release(first)
    own_board.release(second)
    sweep_all(own_board)

    assert own_board.client.zcard(own_board.keys.holders) == SIZE
    assert own_board.client.zcard(own_board.keys.lines) == SIZE


def test_run_that_is_put_first_leaves_the_lines_of_its_many_machines_unread(own_board: OpenBoard) -> None:
    acts = wide_run_behind_lines(own_board, SIZE)
    own_board.script = scripts = CountedScripts(own_board)

    for act in acts[:3]:
        act()

    prioritized = [count for count, name in scripts.commands if name == "prioritize"]
    # The view looks at two hundred of them.
    assert len(prioritized) == 1 and prioritized[0] <= MOST_A_MACHINE * SIZE + 3.5 * 200
    assert own_board.client.zcard(own_board.keys.lines) == (EACH + 1) * SIZE


def strings_of(worked: Worked, name: str) -> float:
    """Calls of the string library of a script for each machine, of the one that had most."""
    return max(counts["strings"] for script, counts in worked.work if script == name) / 2000


def test_search_behind_a_wide_run_takes_few_steps_for_each_waiter(own_board: OpenBoard) -> None:
    join, *_ = child_behind_a_wide_run(own_board, 2000)
    worked = counted(own_board)

    join()

    assert strings_of(worked, "join") <= 7


def test_search_of_a_wide_child_takes_few_steps_for_each_waiter(own_board: OpenBoard) -> None:
    join, *_ = wide_child_behind_lines(own_board, 2000)
    worked = counted(own_board)

    join()

    assert strings_of(worked, "carry_on") <= 10


def test_start_of_a_large_process_takes_few_steps_a_machine(own_board: OpenBoard) -> None:
    begin, *_ = large_process(own_board, 2000)
    worked = counted(own_board)

    begin()

    assert strings_of(worked, "deliver") <= 8


def test_release_takes_few_steps_a_machine(own_board: OpenBoard) -> None:
    end, _ = release_of_many(own_board, 2000)
    worked = counted(own_board)

    end()

    assert strings_of(worked, "release") <= 3
