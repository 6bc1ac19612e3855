"""Whether what is explained is so: on a real board, by doing what it says."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from app.domain.errors import ClosesCircle, GateError
from app.domain.explain import explain
from app.domain.run import MAX_PRIORITY, Rebuilt, RunRequest

TTL = timedelta(days=1)


@pytest.fixture
def join(board):
    def join(number, *machines, parent=None, priority=0):
        started_by = f"ServerTasks-{parent}" if parent else None
        run = RunRequest(
            f"ServerTasks-{number}", {"on_behalf_of": started_by}, priority=priority, on_behalf_of=started_by
        )
        return board.join(run, [f"Machines-{machine}" for machine in machines], ttl=TTL)

    return join


@pytest.fixture
def why(board):
    return lambda number: explain(
        board.place(f"ServerTasks-{number}"), board.place, lambda place: None, board.waiting_children
    )


def told(chain):
    return [(link.kind, link.task_id, link.machine_id) for link in chain]


def test_chain_goes_on_behind_one_who_holds_and_waits_for_a_run_that_it_started(join, why):
    join(1, 2)
    join(2, 1)
    join(3, 2, parent=2)
    join(4, 1)

    found = why(4)

    assert told(found.chain) == [
        ("waiting", "ServerTasks-2", "Machines-1"), ("waiting", "ServerTasks-3", "Machines-2"),
        ("working", "ServerTasks-1", "Machines-2"),
    ]  # fmt: skip
    assert "ServerTasks-2 has held Machines-1 for 0 s and waits for a run that it started." in found.sentences
    assert "ServerTasks-3, which that one started, has waited for Machines-2 for 0 s." in found.sentences
    assert found.sentences[4].startswith("Machines-2 is free when ServerTasks-1 has ended.")


def test_child_that_a_rebuild_put_back_is_still_the_child_of_its_parent(board, join, why):
    """What it is shown with comes from Octopus, which knows nothing of parents."""
    join(1, 2)
    join(2, 1)
    rebuilt = RunRequest("ServerTasks-3", {"space_id": "Spaces-1"}, parked=True, on_behalf_of="servertasks-2",
                  rebuilt=Rebuilt(1, True))  # fmt: skip
    board.join(rebuilt, ["Machines-2"])
    join(4, 1)

    assert "ServerTasks-3, which that one started, has waited for Machines-2 for 0 s." in why(4).sentences


def test_one_who_works_while_another_of_its_family_waits_is_the_last_of_the_chain(join, why):
    join(1, 2)
    join(2, 3)
    join(3, 2, parent=2)
    join(4, 1, parent=2)
    join(5, 1)

    assert told(why(5).chain) == [("working", "ServerTasks-4", "Machines-1")]


def test_priority_that_would_close_a_circle_is_said_to_be_refused(join, why, board):
    join(1, 2)
    join(2, 1)
    join(3, 2, parent=2)
    join(4, 1, 2)

    found = why(4)

    assert "With the highest priority it would wait for itself, so that is refused." in found.sentences
    with pytest.raises(ClosesCircle):
        board.prioritize("ServerTasks-4", MAX_PRIORITY, by="ann", reason="hotfix")


def test_with_the_highest_priority_it_stands_behind_those_who_had_it_before(join, why):
    join(1, 1)
    join(2, 1, priority=MAX_PRIORITY)
    join(3, 1)
    join(4, 1)

    first = why(4).first

    assert (first.place, first.passes, first.blocked_by) == (2, 1, ("ServerTasks-1",))


@pytest.mark.parametrize("seed", range(60))
def test_highest_priority_changes_what_was_said(board, join, why, seed):
    draw = random.Random(seed)
    for number in range(1, 13):
        parent = draw.choice([None, None, *range(1, number)])
        join(number, *draw.sample(range(1, 5), draw.choice([1, 1, 2, 3])), parent=parent, priority=draw.choice([0, 1]))
        if draw.random() < 0.2:
            board.release(f"ServerTasks-{draw.randrange(1, number + 1)}")
    places = [board.place(f"ServerTasks-{number}") for number in range(1, 13)]
    waiting = [place.task_id for place in places if place.is_waiting]
    if not waiting:
        return
    task = draw.choice(waiting)
    said = why(task.removeprefix("ServerTasks-")).first

    try:
        place = board.prioritize(task, MAX_PRIORITY, by="ann", reason="hotfix")
    except GateError as error:
        assert isinstance(error, ClosesCircle)
        assert said.refused
        return

    assert not said.refused
    assert said.starts_now == place.is_granted
    assert place.is_granted or said.place == (place.place or 0)


@pytest.mark.parametrize("seed", range(30))
def test_without_a_machine_it_would_stand_as_one_who_had_not_asked_for_it(board, join, why, seed):
    draw = random.Random(seed)
    before = [(draw.sample(range(1, 5), draw.choice([1, 2, 3])), draw.choice([0, 1])) for _ in range(draw.randrange(9))]
    for number, (machines, priority) in enumerate(before, start=1):
        join(number, *machines, priority=priority)
    wanted = draw.sample(range(1, 5), draw.choice([2, 3]))
    if not join(10, *wanted).is_waiting:
        return
    said = {other.machine_id: other for other in why(10).without}

    for dropped in wanted:
        assert board.release("ServerTasks-10") == "left"
        place = join(10, *(machine for machine in wanted if machine != dropped))
        other = said[f"Machines-{dropped}"]
        assert (place.is_granted, place.place or 1) == (other.starts_now, other.place)
        board.release("ServerTasks-10")
        join(10, *wanted)
