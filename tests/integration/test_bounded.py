"""No script keeps Redis for long, whatever board it comes to (rule 23): its commands are counted, not its time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import gevent
import pytest
from gevent.event import Event

from app.domain.run import RunRequest
from app.store import scripts as scripts_module
from app.store.connection import connect
from app.store.scripts import Scripts
from app.web.background import carry_on
from tests.bench.acts import Shape
from tests.bench.shapes import SHAPES, wide_child, wide_run
from tests.conftest import Clock
from tests.integration.octopus_tells import Octopus
from tests.lua_names import with_values
from tests.open_board import OpenBoard

#: Commands of one script at most: 1 to 5 µs each; and of one about a run with many machines, for each of these: what it
#: does for many at once is one, and only an entry in the index of a machine is one by itself.
MOST_COMMANDS, MOST_COMMANDS_A_MACHINE = 6_000, 1.3


class CountedScripts(Scripts):
    """Counts the commands that each script has Redis carry out."""

    def __init__(self, board: OpenBoard) -> None:
        super().__init__(board.client, board.keys)
        self._board = board
        self.commands: list[tuple[int, str]] = []

    def _execute(self, name: str, args: Any, **options: bool) -> Any:
        before = self._count()
        answer = super()._execute(name, args, **options)
        self.commands.append((self._count() - before, name))
        return answer

    def _count(self) -> int:
        # To load a script is no work of it; which of its two forms is called depends on how long ago something was due.
        stats = self._board.client.info("commandstats")
        carried_out = (stats[name] for name in stats if name != "cmdstat_script|load")
        return sum(each["calls"] - each["failed_calls"] for each in carried_out)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_longest_script_is_bounded(own_board: OpenBoard, shape: Shape) -> None:
    size = shape.sizes[1]
    acts = shape.build(own_board, size)
    counted = CountedScripts(own_board)
    counted.offset_ms, own_board.script = own_board.script.offset_ms, counted

    for act in acts:
        act()

    of_one_run = shape.build in (wide_run, wide_child)
    assert max(counted.commands)[0] <= (MOST_COMMANDS_A_MACHINE * size if of_one_run else MOST_COMMANDS)


@pytest.mark.parametrize("holder", ["the run itself", "another run", "several runs", "nobody"])
def test_poll_costs_hardly_more_with_many_machines_than_with_few(own_board: OpenBoard, holder: str) -> None:
    many = [f"Machines-{number}" for number in range(3000)]
    held = {"another run": [many], "several runs": [many[:1000], many[2500:]], "nobody": [["Machines-x"]]}
    for number, machines in enumerate(held.get(holder, [])):
        own_board.join(RunRequest(f"ServerTasks-{number}"), machines)
    run = RunRequest("ServerTasks-100")
    own_board.join(run, [*many, *(["Machines-x"] if holder == "nobody" else [])])
    own_board.script = counted = CountedScripts(own_board)

    place = own_board.poll(run.task_id)

    assert place and place.is_granted == (holder == "the run itself")
    assert max(counted.commands) <= (60, "poll")


#: What a caller of the API, Octopus or the clock can set in motion.
SCRIPTS = {"join", "poll", "release", "deliver", "observe", "prioritize", "sweep", "open"}


def test_shapes_take_each_script_that_can_be_long(redis_url: str, namespace: str) -> None:
    names = set()
    for number, shape in enumerate(SHAPES):
        client = connect(redis_url)
        board = OpenBoard(client, namespace=f"{namespace}-{number}")
        board.open("test")
        acts = shape.build(board, 3)
        counted = CountedScripts(board)
        counted.offset_ms, board.script = board.script.offset_ms, counted
        for act in acts:
            act()
        names |= {name for _, name in counted.commands}
        client.close()

    assert names >= SCRIPTS


def test_what_a_release_leaves_is_done_when_it_returns(board: OpenBoard) -> None:
    machines = [f"Machines-{n}" for n in range(2000)]
    board.join(RunRequest("ServerTasks-0"), machines)
    waiters = [RunRequest(f"ServerTasks-{n + 1}") for n in range(len(machines))]
    for waiter, machine in zip(waiters, machines, strict=True):
        board.join(waiter, [machine], ttl=timedelta(hours=1))

    assert board.release("ServerTasks-0") == "released"

    assert board.client.zcard(board.keys.lines) == 0
    assert board.client.zcount(board.keys.deadlines, "-inf", 2) == 0


def test_what_is_left_by_one_who_dies_is_done_by_others(board: OpenBoard) -> None:
    class Dying(Scripts):
        def carry_on(self) -> bool:
            return True

    machines, living = [f"Machines-{n}" for n in range(2000)], board.script
    board.join(RunRequest("ServerTasks-0"), machines)
    for n, machine in enumerate(machines):
        board.join(RunRequest(f"ServerTasks-{n + 1}"), [machine], ttl=timedelta(hours=1))
    board.script = Dying(board.client, board.keys)
    board.release("ServerTasks-0")
    assert board.client.zcard(board.keys.lines) > 0

    board.script = living
    while board.sweep().more:
        pass

    assert board.client.zcard(board.keys.lines) == 0


def leave_much_work(board: OpenBoard) -> Callable[[], object]:
    """What has a script leave work: it ends a run that holds many machines, each with a line."""
    machines = [f"Machines-{number}" for number in range(2000)]
    board.join(RunRequest("ServerTasks-0"), machines)
    for number, machine in enumerate(machines):
        board.join(RunRequest(f"ServerTasks-{number + 1}"), [machine], ttl=timedelta(hours=1))
    return lambda: board.release("ServerTasks-0")


def test_web_process_answers_before_what_is_left_is_done(own_board: OpenBoard) -> None:
    release = leave_much_work(own_board)
    own_board.script = counted = CountedScripts(own_board)
    left = Event()
    counted.on_left = left.set
    carrying = gevent.spawn(carry_on, counted, left)
    gevent.sleep(0)

    release()
    own_board.look("ServerTasks-0")

    names = [name for _, name in counted.commands]
    assert "carry_on" not in names and own_board.client.zcard(own_board.keys.lines) > 0
    while not carrying.dead and own_board.client.zcount(own_board.keys.deadlines, "-inf", 2):
        gevent.sleep(0)
    carrying.kill()
    assert own_board.client.zcard(own_board.keys.lines) == 0
    assert "sweep" not in [name for _, name in counted.commands]


def test_web_process_does_what_is_due_as_well(own_board: OpenBoard) -> None:
    clock, left = Clock(own_board), Event()
    own_board.join(RunRequest("ServerTasks-0"), ["Machines-1"])
    for number in range(1, 1001):
        own_board.join(RunRequest(f"ServerTasks-{number}"), ["Machines-1"], ttl=timedelta(minutes=1))
    own_board.client.hset(own_board.keys.counters, "served_at", clock.now_ms + 90_000)
    clock.advance(timedelta(seconds=90))
    carrying = gevent.spawn(carry_on, own_board.script, left)
    own_board.script.on_left = left.set
    assert own_board.sweep().more
    assert own_board.client.zcard(own_board.keys.lines) > 0

    left.set()
    gevent.sleep(0)

    assert own_board.client.zcard(own_board.keys.lines) == 0
    carrying.kill()


@pytest.mark.parametrize("what", ["timeout", "hold", "provisional", "expect", "grace", "life"])
def test_deadline_that_ends_nothing_is_gone_when_it_has_passed(own_board: OpenBoard, what: str) -> None:
    own_board.join(RunRequest("ServerTasks-1"), ["Machines-1"])
    own_board.join(RunRequest("ServerTasks-2"), ["Machines-1"])
    own_board.client.zadd(own_board.keys.deadlines, {f"{what}\0ServerTasks-{number}": 1000 for number in (1, 2)})

    assert not own_board.script.carry_on()

    assert own_board.client.zcount(own_board.keys.deadlines, "-inf", 1000) == 0


def test_caller_does_a_part_of_what_is_left_and_the_sweep_the_others(own_board: OpenBoard, monkeypatch: Any) -> None:
    monkeypatch.setattr(scripts_module, "MOST_SHARES", 1)
    release = leave_much_work(own_board)
    own_board.script = counted = CountedScripts(own_board)

    release()

    assert [name for _, name in counted.commands].count("carry_on") == 1
    assert own_board.client.zcard(own_board.keys.lines) > 0


def test_call_of_somebody_else_does_little_of_what_is_left_and_asks_once(
    own_board: OpenBoard, monkeypatch: Any
) -> None:
    monkeypatch.setattr(scripts_module, "DUE_SECONDS", 60)
    release = leave_much_work(own_board)
    own_board.join(RunRequest("ServerTasks-9000"), ["Machines-other"])
    own_board.script = counted = CountedScripts(own_board)
    counted.on_left = lambda: None
    release()
    own_board.look("ServerTasks-9000")
    left = own_board.client.zcount(own_board.keys.deadlines, "-inf", 2)
    counted.commands.clear()

    own_board.look("ServerTasks-9000")
    counted.carry_on()

    (beside, _), (alone, name) = counted.commands[:2]
    assert name == "carry_on" and own_board.client.zcount(own_board.keys.deadlines, "-inf", 2) < left
    assert 20 < beside < alone / 2


def test_waiter_that_is_over_by_now_is_not_granted_however_much_else_is(board: OpenBoard, clock: Any) -> None:
    holder, first, second = RunRequest("ServerTasks-900"), RunRequest("ServerTasks-901"), RunRequest("ServerTasks-902")
    for n in range(400):
        board.join(RunRequest(f"ServerTasks-{n}"), ["Machines-1"], ttl=timedelta(minutes=1))
    board.join(holder, ["Machines-7"])
    board.join(first, ["Machines-7"], ttl=timedelta(minutes=2))
    board.join(second, ["Machines-7"], ttl=timedelta(hours=1))
    board.client.hset(board.keys.counters, "served_at", clock.now_ms + 180_000)
    clock.advance(timedelta(minutes=3))

    board.release(holder.task_id)

    assert board.client.zcount(board.keys.deadlines, "-inf", clock.now_ms) > 0
    assert board.place(second.task_id).is_granted


def test_many_observed_runs_on_one_machine_are_counted_and_few_are_told(board: OpenBoard, clock: Any) -> None:
    octopus = Octopus(board, clock)
    for n in range(60):
        octopus.runs(f"ServerTasks-{n}", [{"id": "Machines-7"}])
    overlaps = [entry[1] for entry in board.client.xrange(board.keys.timeline) if entry[1][b"kind"] == b"overlapped"]

    waiter = board.join(RunRequest("ServerTasks-100"), ["Machines-7", "Machines-8"])

    assert [(len(m.holders), m.holders_count) for m in waiter.machines] == [(20, 60), (0, 0)]
    assert (board.place("ServerTasks-1").machines[0].holders_count) == 59
    # Each has a record of those that were there before it, of twenty of them at most.
    assert len(overlaps) == sum(min(n, 20) for n in range(60))


def test_answer_has_the_record_of_a_holder_once(board: OpenBoard) -> None:
    machines = [f"Machines-{n}" for n in range(150)]
    board.join(RunRequest("ServerTasks-1", {"url": "x" * 3000}), machines)
    board.reserve("Machines-3", note="disk", by="ann")
    board.join(RunRequest("ServerTasks-2"), machines)

    answer = board.script("poll", "ServerTasks-2", "look", "")

    assert len(str(answer)) < 40_000
    place = board.place("ServerTasks-2")
    assert {m.holders[0].task_id for m in place.machines} == {"ServerTasks-1"}
    reserved = [m for m in place.machines if len(m.holders) > 1]
    assert [(m.id, [h.kind for h in m.holders]) for m in reserved] == [("Machines-3", ["lease", "reservation"])]


@pytest.mark.parametrize("shared", ["Machines-1", "Machines-3"])
def test_children_behind_a_line_as_long_as_a_search_are_searched_in_one_script(board: OpenBoard, shared: str) -> None:
    class ShortSearches(CountedScripts):
        def text(self, name: str, *, with_expiry: bool) -> str:
            text = super().text(name, with_expiry=with_expiry)
            if name != "release":
                return text
            text = with_values(text, "SLICE, SHARE = 3000, 1500", "SLICE, SHARE = 40, 40")
            return with_values(text, "MAX_SEARCHED = 10000", "MAX_SEARCHED = 50")

    board.join(RunRequest("ServerTasks-1"), [shared])
    board.join(RunRequest("ServerTasks-2"), ["Machines-2"])
    for n in range(55):
        board.join(RunRequest(f"ServerTasks-{100 + n}"), ["Machines-2"])
    for n in range(6):
        board.join(RunRequest(f"ServerTasks-{200 + n}", on_behalf_of="ServerTasks-1"), [shared, "Machines-2"])
    board.script = counted = ShortSearches(board)

    board.release("ServerTasks-1")

    assert [name for _, name in counted.commands] == ["release"]
    assert board.place("ServerTasks-205").is_waiting


def test_script_starts_many_of_a_family_however_many_of_it_have_started(own_board: OpenBoard) -> None:
    many, size = [f"Machines-{number}" for number in range(20)], 100
    own_board.join(RunRequest("ServerTasks-1"), many)
    own_board.join(RunRequest("ServerTasks-2"), ["Machines-P"])
    children = [RunRequest(f"ServerTasks-{100 + n}", on_behalf_of="ServerTasks-2") for n in range(size)]
    for child in children:
        own_board.join(child, many)
    own_board.script = counted = CountedScripts(own_board)

    own_board.release("ServerTasks-1")

    assert own_board.client.zcard(own_board.keys.children) == 0
    # Each starts some of them, whoever has started before.
    assert len([name for _, name in counted.commands if name == "carry_on"]) <= size / 4


def test_lines_and_holders_of_many_machines_that_nobody_else_wants_are_counted_and_not_read(
    own_board: OpenBoard,
) -> None:
    many, run = [f"Machines-{number}" for number in range(3000)], RunRequest("ServerTasks-1")
    own_board.client.config_resetstat()

    own_board.join(run, many)

    stats = own_board.client.info("commandstats")
    # The view of the first two hundred.
    assert stats["cmdstat_zrangebylex"]["calls"] <= 3
    assert stats["cmdstat_zlexcount"]["calls"] <= 60
