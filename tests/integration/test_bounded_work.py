"""What scripts do in Lua itself is bounded (rule 23): what they read, and their calls of its strings, are counted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.domain.run import RunRequest, State
from app.store.scripts import Scripts
from tests.bench.shapes import large_process, wide_child
from tests.integration.test_bounded import CountedScripts
from tests.lua_names import with_values
from tests.open_board import OpenBoard

#: In front of a script and behind it: counts the members and records that it reads, and its calls of the string
#: library, some 0.1 microseconds each and by far the most that it does.
_BEFORE = """
local worked, members, records = 0, 0, 0
local strings, given = string, redis
local string, redis = setmetatable({}, { __index = strings }), setmetatable({}, { __index = given })
for _, name in ipairs({ "sub", "find", "match", "byte", "lower", "format" }) do
    string[name] = function(...)
        worked = worked + 1
        return strings[name](...)
    end
end
redis.call = function(command, ...)
    local answer = given.call(command, ...)
    if command == "ZRANGEBYLEX" then
        members = members + #answer
    elseif command == "HMGET" and (...) == KEYS[1] .. "runs" then
        for _, value in ipairs(answer) do
            records = records + (value and 1 or 0)
        end
    end
    return answer
end
local function whole()
"""
_BEHIND = """
end
local answer = whole()
given.call("HSET", "worked", "strings", worked, "members", members, "records", records)
return answer
"""


class Worked(Scripts):
    """Counts what each script does in Lua."""

    def __init__(self, board: OpenBoard) -> None:
        super().__init__(board.client, board.keys)
        self.offset_ms = board.script.offset_ms
        #: {"strings": calls of the string library, "members", "records": how many were read} of each script.
        self.work: list[tuple[str, dict[str, int]]] = []

    def text(self, name: str, *, with_expiry: bool) -> str:
        return _BEFORE + super().text(name, with_expiry=with_expiry) + _BEHIND

    def _execute(self, name: str, args: Any, **options: bool) -> Any:
        answer = super()._execute(name, args, **options)
        counts = self._client.hgetall("worked")
        self.work.append((name, {what.decode(): int(count) for what, count in counts.items()}))
        return answer

    def most(self, what: str) -> int:
        return max(counts[what] for _, counts in self.work)


def counted(board: OpenBoard) -> Worked:
    board.script = worked = Worked(board)
    return worked


def test_child_with_many_machines_costs_few_looks_at_each(own_board: OpenBoard) -> None:
    size = 2000
    acts = wide_child(own_board, size)
    worked = counted(own_board)

    for act in acts:
        act()

    # At each machine stand the same: what follows from that is found out at one of them.
    assert max(counts["strings"] for name, counts in worked.work if name == "join") <= 28 * size
    assert max(counts["strings"] for name, counts in worked.work if name != "join") <= 16 * size


@pytest.mark.parametrize("has_long_line", [False, True])
def test_view_of_many_machines_counts_a_part_of_who_waits_there(own_board: OpenBoard, has_long_line: bool) -> None:
    many = [f"Machines-{number}" for number in range(4000)]
    for number in range(5):
        own_board.join(RunRequest(f"ServerTasks-{number}"), many)
    longest = "Machines-3456"
    for number in range(100, 103 if has_long_line else 100):
        own_board.join(RunRequest(f"ServerTasks-{number}"), [longest])
    own_board.join(RunRequest("ServerTasks-200"), many)
    worked = counted(own_board)

    place = own_board.poll("ServerTasks-200")

    # Who stands at each of the first two hundred, besides.
    assert worked.most("members") <= 6000 + 5 * 200 * 2
    assert place and max(machine.place for machine in place.machines) == (8 if has_long_line else 5)
    assert place.machines[0].id == longest or not has_long_line


def test_family_with_many_children_is_searched_in_shares(own_board: OpenBoard) -> None:
    class ShortSearches(CountedScripts):
        def text(self, name: str, *, with_expiry: bool) -> str:
            text = super().text(name, with_expiry=with_expiry)
            if "MAX_LOOKS" in text:
                text = with_values(text, "MAX_LOOKS = 3000", "MAX_LOOKS = 300")
                text = with_values(text, "MOST_BEFORE_SEARCH = 500", "MOST_BEFORE_SEARCH = 50")
            return text

    own_board.join(RunRequest("ServerTasks-1"), ["Machines-1"])
    own_board.join(RunRequest("ServerTasks-2"), ["Machines-2"])
    for number in range(100, 200):
        own_board.join(RunRequest(f"ServerTasks-{number}", on_behalf_of="ServerTasks-1"), ["Machines-1", "Machines-2"])
    own_board.script = shares = ShortSearches(own_board)

    own_board.release("ServerTasks-1")

    # Each of them costs as much as some machines.
    assert [name for _, name in shares.commands] == ["release", "carry_on", "carry_on"]
    assert max(shares.commands)[0] < 250


def test_start_reads_no_records_of_who_waits_for_what_it_is_presumed_to_use(own_board: OpenBoard) -> None:
    size = 2000
    *starts, observe, _, _ = large_process(own_board, size)
    worked = counted(own_board)

    starts[0]()
    # Each of them was delayed for as long as one may be before, and is delayed by the first start.
    hold_ms = own_board.policy.provisional // timedelta(milliseconds=1)
    own_board.client.hset(
        own_board.keys.delays,
        mapping={
            task.decode(): f"{hold_ms} {own_board.now_ms()}" for task in own_board.client.hkeys(own_board.keys.wants)
        },
    )
    starts[1]()
    observe()

    assert own_board.client.zcard(own_board.keys.holders) > 2 * size
    assert worked.most("records") < 50


def test_children_that_wait_all_the_same_are_looked_at_once_and_not_at_each_machine(own_board: OpenBoard) -> None:
    class FewSharers(Worked):
        def text(self, name: str, *, with_expiry: bool) -> str:
            text = super().text(name, with_expiry=with_expiry)
            if "MAX_SHARERS" in text:
                text = with_values(text, "MAX_SHARERS = 20000", "MAX_SHARERS = 500")
                text = with_values(text, "SLICE, SHARE = 3000, 1500", "SLICE, SHARE = 60, 60")
            return text

    many = [f"Machines-{number}" for number in range(200)]
    own_board.join(RunRequest("ServerTasks-1"), ["Machines-other"])
    own_board.join(RunRequest("ServerTasks-2"), many)
    for number in range(100, 106):
        own_board.join(RunRequest(f"ServerTasks-{number}", on_behalf_of="ServerTasks-1"), many)
    own_board.script = worked = FewSharers(own_board)

    own_board.release("ServerTasks-2")
    while own_board.sweep().more:
        pass

    waiting = [task for task in own_board.client.hkeys(own_board.keys.wants)]
    assert 0 < len(waiting) < 6
    # Each of the six is looked at some times, not at each of two hundred machines.
    assert sum(counts["strings"] for _, counts in worked.work) < 6 * 4 * 10 * len(many)


def wide_circle(board: OpenBoard, many: list[str]) -> RunRequest:
    """A child that, once it has joined, waits for its parent."""
    board.join(RunRequest("ServerTasks-1"), ["Machines-other"])
    board.join(RunRequest("ServerTasks-2"), many)
    board.join(RunRequest("ServerTasks-3"), [many[-1], "Machines-other"])
    return RunRequest("ServerTasks-4", on_behalf_of="ServerTasks-1")


def test_child_with_many_machines_is_searched_for_a_circle_in_the_next_script(own_board: OpenBoard) -> None:
    many = [f"Machines-{number}" for number in range(400)]
    child = wide_circle(own_board, many)
    own_board.script = scripts = CountedScripts(own_board)

    place = own_board.join(child, many)

    names = [name for _, name in scripts.commands]
    assert names[0] == "join" and {*names[1:]} == {"carry_on"}
    assert place.is_waiting
    left = own_board.poll(child.task_id)
    assert left and left.state is State.REFUSED and left.run.cause == "circle"


def test_search_for_a_circle_ends_at_its_most_also_at_the_lines_of_one_run(own_board: OpenBoard) -> None:
    class ShortSearches(Worked):
        def text(self, name: str, *, with_expiry: bool) -> str:
            text = super().text(name, with_expiry=with_expiry)
            return with_values(text, "MAX_SEARCHED = 10000", "MAX_SEARCHED = 50") if "MAX_SEARCHED" in text else text

    many = [f"Machines-{number}" for number in range(400)]
    own_board.join(RunRequest("ServerTasks-1"), ["Machines-other"])
    own_board.join(RunRequest("ServerTasks-2"), many)
    for number, machine in enumerate(many):
        own_board.join(RunRequest(f"ServerTasks-{100 + number}"), [machine])
    own_board.script = worked = ShortSearches(own_board)

    place = own_board.join(RunRequest("ServerTasks-4", on_behalf_of="ServerTasks-1"), many)

    assert place.is_waiting
    assert [name for name, _ in worked.work] == ["join", "carry_on"]
    # Most of that is to read who holds its machines and stands in their lines.
    assert worked.work[-1][1]["strings"] < 12 * len(many)


def test_long_lines_of_many_machines_are_not_read_to_find_out_that_they_are_long(own_board: OpenBoard) -> None:
    many = [f"Machines-{number}" for number in range(1000)]
    for number in range(9):
        own_board.join(RunRequest(f"ServerTasks-{number}"), many)
    worked = counted(own_board)

    own_board.release("ServerTasks-0")

    assert own_board.look("ServerTasks-1").state is State.GRANTED
    # The first of each line, which is asked for alone.
    assert max(counts["members"] for name, counts in worked.work if name == "release") <= 1.2 * len(many)
