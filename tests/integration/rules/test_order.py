"""Rule 3: by priority, then by arrival, at every machine."""

import pytest

from app.domain.errors import GateError, NotWaiting, UnknownRun
from app.domain.run import MAX_PRIORITY


def test_place_is_the_largest_of_all_lines(board, a_run):
    board.join(a_run(), {"Machines-7", "Machines-8"})
    for _ in range(3):
        board.join(a_run(), {"Machines-7"})

    place = board.join(a_run(), {"Machines-7", "Machines-8"})

    assert [machine.place for machine in place.machines] == [4, 1]
    assert place.place == 4
    assert place.machines[0].ahead == ("ServerTasks-2", "ServerTasks-3", "ServerTasks-4")


def test_a_long_list_of_those_ahead_is_cut(board, a_run):
    for _ in range(31):
        board.join(a_run(), {"Machines-7"})

    place = board.join(a_run(), {"Machines-7"})

    assert place.place == 31
    assert len(place.machines[0].ahead) == 20


def test_higher_priority_is_granted_first(board, a_run):
    first = a_run()
    board.join(first, {"Machines-7"})
    low, high = a_run(priority=-1), a_run(priority=3)
    board.join(low, {"Machines-7"})
    middle = board.join(a_run(), {"Machines-7"})
    board.join(high, {"Machines-7"})

    order = []
    for _ in range(3):
        board.release(order[-1] if order else first.task_id)
        order += [t for t in (low.task_id, middle.task_id, high.task_id) if board.place(t).is_granted]

    assert order == [high.task_id, middle.task_id, low.task_id]


def test_run_that_is_first_at_one_machine_only_is_not_granted(board, a_run):
    board.join(a_run(), {"Machines-9"})
    first = a_run()
    board.join(first, {"Machines-7", "Machines-9"})

    second = board.join(a_run(), {"Machines-7", "Machines-8"})

    assert second.is_waiting
    assert [(machine.id, machine.place) for machine in second.machines] == [("Machines-7", 2), ("Machines-8", 1)]


def test_equal_priorities_are_granted_by_arrival(board, a_run):
    holder, *runs = [a_run(priority=5) for _ in range(12)]
    board.join(holder, {"Machines-7"})
    for run in runs:
        board.join(run, {"Machines-7"})

    assert [board.place(run.task_id).place for run in runs] == list(range(1, 12))


def test_largest_priorities_keep_the_order(board, a_run):
    board.join(a_run(), {"Machines-7"})
    low, high = a_run(priority=-MAX_PRIORITY), a_run(priority=MAX_PRIORITY)
    board.join(low, {"Machines-7"})
    board.join(high, {"Machines-7"})

    assert board.place(high.task_id).place == 1
    assert board.place(low.task_id).place == 2


@pytest.mark.parametrize("priority", [MAX_PRIORITY + 1, -MAX_PRIORITY - 1, 10**12])
def test_priority_that_would_spoil_the_line_is_refused(board, a_run, priority):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    with pytest.raises(GateError, match="expected -1000000 to 1000000"):
        board.join(a_run(priority=priority), {"Machines-7"})
    with pytest.raises(GateError, match="expected -1000000 to 1000000"):
        board.prioritize(waiter.task_id, priority, by="ann", reason="urgent")


def test_run_that_wants_many_machines_does_not_starve(board, a_run):
    one, other, wide = a_run(), a_run(), a_run()
    board.join(one, {"Machines-7"})
    board.join(other, {"Machines-8"})
    board.join(wide, {"Machines-7", "Machines-8"})
    late = board.join(a_run(), {"Machines-7"})

    board.release(one.task_id)
    assert board.place(late.task_id).is_waiting
    board.release(other.task_id)

    assert board.place(wide.task_id).is_granted


def test_prioritizing_moves_a_waiter_to_the_front(board, a_run):
    holder, first, second = a_run(), a_run(), a_run()
    for run in (holder, first, second):
        board.join(run, {"Machines-7"})

    place = board.prioritize(second.task_id, 1, by="ann", reason="hotfix")

    assert place.place == 1
    assert board.place(first.task_id).place == 2


def test_prioritizing_keeps_the_arrival_among_equals(board, a_run):
    _, first, second = runs = [a_run() for _ in range(3)]
    for run in runs:
        board.join(run, {"Machines-7"})

    board.prioritize(second.task_id, 4, by="ann", reason="hotfix")
    board.prioritize(first.task_id, 4, by="ann", reason="hotfix too")

    assert board.place(first.task_id).place == 1


def test_prioritizing_down_grants_who_was_behind(board, a_run):
    blocker, wide, narrow = a_run(), a_run(), a_run()
    board.join(blocker, {"Machines-7"})
    board.join(wide, {"Machines-7", "Machines-8"})
    board.join(narrow, {"Machines-8"})

    board.prioritize(wide.task_id, -1, by="ann", reason="not now")

    assert board.place(narrow.task_id).is_granted


def test_prioritizing_up_grants_who_is_ready_now(board, a_run):
    blocker, wide, narrow = a_run(), a_run(), a_run()
    board.join(blocker, {"Machines-7"})
    board.join(wide, {"Machines-7", "Machines-8"})
    board.join(narrow, {"Machines-8"})

    assert board.prioritize(narrow.task_id, 1, by="ann", reason="hotfix").is_granted


def test_only_a_waiter_can_be_prioritized(board, a_run):
    run = a_run()
    board.join(run, {"Machines-7"})

    with pytest.raises(NotWaiting, match="ServerTasks-1 is granted"):
        board.prioritize(run.task_id, 1, by="ann", reason="hotfix")
    with pytest.raises(UnknownRun):
        board.prioritize("ServerTasks-404", 1, by="ann", reason="hotfix")
