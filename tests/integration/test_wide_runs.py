"""Runs with many machines are looked at all at once: they are told what they would be told one by one."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from app.domain.records import Filter
from app.domain.run import RunRequest
from app.domain.status import RunStatus
from tests.conftest import Clock, opened
from tests.integration.octopus_tells import Octopus
from tests.integration.test_gate_model import BulkGate, Changed
from tests.open_board import OpenBoard

#: In the order of Redis; as others name machines; both.
NUMBERED = [f"Machines-{number}" for number in range(1, 31)]
NAMED = [*(f"web-{letter}" for letter in "abcdefgh"), "web-a.x", "web-10", "web-9", "a1", "a-1", "a1-b", "a~1", "a_1"]

#: Nothing is looked at at once.
ONE_BY_ONE = {"FEW = 8": "FEW = 10000"}


class Both:
    """The same is done to two boards, of which one looks at machines one by one."""

    def __init__(self, board: OpenBoard) -> None:
        other = opened(OpenBoard(board.client, namespace=f"t{uuid.uuid4().hex[:12]}"))
        self.boards = (board, other)
        for each, sizes in zip(self.boards, (BulkGate.sizes, ONE_BY_ONE), strict=True):
            each.script = Changed(each, sizes)

    def do(self, act: Callable[[OpenBoard], object]) -> None:
        first, second = map(act, self.boards)
        assert first == second

    def compare(self, tasks: list[str]) -> None:
        for task in tasks:
            self.do(lambda board, task=task: seen(board.place(task)))  # type: ignore[misc]


def seen(place: RunStatus | None) -> object:
    """What a status says, without times."""
    if place is None:
        return None
    machines = [
        (m.id, m.place, m.ahead, m.holders_count, [(held.kind, held.task_id) for held in m.holders])
        for m in place.machines
    ]
    return place.state, place.place, place.run.machines, machines


def records(board: OpenBoard) -> list[object]:
    return [{name: value for name, value in fields.items() if name in (b"kind", b"task", b"machines", b"cause")}
            for _, fields in board.client.xrange(board.keys.timeline)]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("machines", [NUMBERED, NAMED, NUMBERED + NAMED], ids=["numbered", "named", "both"])
def test_many_machines_at_once_are_what_they_are_one_by_one(board: OpenBoard, machines: list[str], seed: int) -> None:
    dice, both, tasks = random.Random(seed), Both(board), []
    octopus = {each: Octopus(each, Clock(each)) for each in both.boards}
    for number in range(60):
        task, others = f"ServerTasks-{number}", [*tasks]
        some = dice.sample(machines, dice.choice([1, 2, 9, len(machines) // 2, len(machines)]))
        act = dice.choice(["join", "join", "join", "child", "release", "release", "observe", "reserve", "prioritize"])
        other = dice.choice(others) if others else None
        if act in ("join", "child"):
            parent = other if act == "child" else None
            run = RunRequest(task, priority=dice.choice([0, 0, 1]), on_behalf_of=parent)
            both.do(lambda b, run=run, some=some: seen(b.join(run, some, ttl=timedelta(hours=9))))
            tasks.append(task)
        elif act == "observe":
            both.do(lambda b, task=task, some=some: octopus[b].runs(task, [{"id": m} for m in some]))
            tasks.append(task)
        elif act == "reserve":
            both.do(lambda b, some=some: bool(b.reserve(some[0], note="disk", by="ann")))
            both.do(lambda b, some=some: b.unreserve(some[-1], by="ann"))
        elif other and act == "release":
            both.do(lambda b, other=other: b.release(other))
            tasks.remove(other)
        elif other and both.boards[0].place(other).is_waiting:  # type: ignore[union-attr]
            both.do(lambda b, other=other: seen_priority(b, other))
    both.compare(tasks)
    both.do(records)


def seen_priority(board: OpenBoard, task: str) -> object:
    try:
        return seen(board.prioritize(task, 2, by="ann", reason="hotfix"))
    except Exception as error:
        return str(error)


def test_busy_machine_in_the_middle_of_many_keeps_a_run_waiting(board: OpenBoard) -> None:
    many = [f"Machines-{number}" for number in range(1, 3001)]
    for number in (9, 10, 1500, 3000):
        board.join(RunRequest(f"ServerTasks-{number}"), [f"Machines-{number}"])
        run = RunRequest(f"ServerTasks-{10_000 + number}")

        assert board.join(run, many).is_waiting
        board.release(f"ServerTasks-{number}")

        assert board.place(run.task_id).is_granted  # type: ignore[union-attr]
        board.release(run.task_id)


def test_earlier_waiter_in_the_middle_of_many_goes_first(board: OpenBoard) -> None:
    many = [f"Machines-{number}" for number in range(1, 1201)]
    board.join(RunRequest("ServerTasks-1"), ["Machines-0"])
    board.join(RunRequest("ServerTasks-2"), ["Machines-0", "Machines-777"])

    place = board.join(RunRequest("ServerTasks-3"), many)

    assert (place.state, place.place, place.machines[0].id) == ("waiting", 2, "Machines-777")
    assert place.machines[0].ahead == ("ServerTasks-2",)


def test_machine_tells_of_a_run_that_joined_and_was_granted_at_once(board: OpenBoard, timeline, clock) -> None:  # type: ignore[no-untyped-def]
    for number in range(3):
        board.join(RunRequest(f"ServerTasks-{number}"), ["Machines-7", "Machines-8"])
        board.release(f"ServerTasks-{number}")
    expected = [(kind, f"ServerTasks-{n}") for n in range(3) for kind in ("joined", "granted", "released")]
    of_machine = Filter(machine_id="Machines-7")

    assert [(r.kind, r.task_id) for r in timeline.read(of_machine)] == expected
    for limit in range(1, 10):
        newest = timeline.newest(of_machine, limit=limit)
        assert [(r.kind, r.task_id) for r in newest] == expected[-limit:]
        pages, after = [], None
        while after or not pages:
            page, after = timeline.page(of_machine, limit=limit, after=after)
            pages.append([(r.kind, r.task_id) for r in page])
        assert [each for page in pages for each in page] == expected
        assert all(len(page) == limit for page in pages[:-1])
    # One entry for both records.
    assert board.client.xlen(board.keys.index("machine", "Machines-7")) == 6


@pytest.mark.parametrize("width", [1, 9], ids=["one machine", "many"])
def test_run_among_many_that_use_a_machine_is_shown_twenty_others_and_counts_all(
    board: OpenBoard, clock: Clock, width: int
) -> None:
    octopus, machines = Octopus(board, clock), [f"Machines-{number}" for number in range(10, 10 + width)]
    for count in range(1, 24):
        octopus.runs(f"ServerTasks-{100 + count}", [{"id": machine} for machine in machines])
        if count in (19, 20, 21, 22, 23):
            for task in ("ServerTasks-101", f"ServerTasks-{100 + count}"):
                shown = board.place(task).machines  # type: ignore[union-attr]
                assert {(m.holders_count, len(m.holders)) for m in shown} == {(count - 1, min(count - 1, 20))}
