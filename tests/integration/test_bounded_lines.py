"""What follows from a change at many machines, each with waiters of its own, is not done in one script (rule 23).

Commands and calls of the string library are counted, not time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.domain.run import RunRequest, State
from tests.bench.acts import TTL, children, hold, machine_ids, start, sweep_all
from tests.bench.shapes import large_process
from tests.bench.wide_shapes import (
    EACH,
    child_behind_a_wide_run,
    end_of_many,
    release_of_many,
    wide_child_behind_lines,
    wide_run_behind_lines,
)
from tests.bench.world import fill, new_run, new_task
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


# Searches for circles of waits


def circle_by_priority(board: OpenBoard, many: list[str]) -> RunRequest:
    """A run of no family which, once it has joined before a waiting child, waits for the parent of that."""
    board.join(RunRequest("ServerTasks-1"), ["Machines-other"])
    board.join(RunRequest("ServerTasks-2"), many)
    board.join(RunRequest("ServerTasks-3", on_behalf_of="ServerTasks-1"), many[:1])
    return RunRequest("ServerTasks-4", priority=1)


def test_run_with_many_machines_that_is_no_child_is_searched_in_the_next_script(own_board: OpenBoard) -> None:
    many = machine_ids(400)
    run = circle_by_priority(own_board, many)
    own_board.script = scripts = CountedScripts(own_board)

    place = own_board.join(run, [*many, "Machines-other"])

    names = [name for _, name in scripts.commands]
    assert names[0] == "join" and {*names[1:]} == {"carry_on"}
    assert place.is_waiting
    left = own_board.look(run.task_id)
    assert left and left.state is State.REFUSED and left.run.cause == "circle"


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "closed"])
def test_search_that_was_left_is_left_by_who_has_work_of_its_own(own_board: OpenBoard, is_open: bool) -> None:
    many, living = machine_ids(400), own_board.script
    run = circle_by_priority(own_board, many)
    if not is_open:
        own_board.close(by="ann", reason="test")
    own_board.script = Dying(own_board)
    own_board.join(run, [*many, "Machines-other"])
    own_board.script = scripts = CountedScripts(own_board)

    place = own_board.poll("ServerTasks-3")

    assert place and place.is_waiting
    assert max(scripts.commands) < (60, "") and work_left(own_board) == 1
    own_board.script = living
    sweep_all(own_board)
    left = own_board.look(run.task_id)
    assert left and left.state is State.REFUSED


def test_search_reads_the_records_of_many_holders_at_once(own_board: OpenBoard) -> None:
    many, parent = machine_ids(1000), hold(own_board, ["Machines-P"])
    fill(own_board, ((new_run(), [machine]) for machine in many), ttl=TTL)
    own_board.script = scripts = CountedScripts(own_board)

    children(own_board, parent, 1, [*many, "Machines-P"])

    assert max(count for count, name in scripts.commands if name == "carry_on") < 100


def test_run_that_nobody_may_wait_for_is_found_out_in_few_steps_a_machine(own_board: OpenBoard) -> None:
    many, parent = machine_ids(2000), hold(own_board, ["Machines-P"])
    hold(own_board, many)
    fill(own_board, ((new_run(), [machine]) for machine in many for _ in range(2)), ttl=TTL)
    children(own_board, parent, 1, ["Machines-1", "Machines-P"])
    worked = counted(own_board)

    own_board.join(new_run(), many, ttl=TTL)

    assert strings_of(worked, "carry_on") <= 2.5


def test_search_reads_the_record_of_who_holds_many_machines_once(own_board: OpenBoard) -> None:
    many, parent = machine_ids(600), hold(own_board, ["Machines-P"])
    fill(own_board, ((new_run(), [machine]) for machine in many), ttl=TTL)
    start(own_board, observed := new_task(), info={})
    own_board.observe(observed, [{"id": machine} for machine in many], info={})
    worked = counted(own_board)

    children(own_board, parent, 1, [*many, "Machines-P"])

    # Those of the holders, and of the parent.
    assert max(counts["records"] for name, counts in worked.work if name == "carry_on") <= len(many) + 3
