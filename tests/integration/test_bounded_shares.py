"""No script takes long beside its own: neither for what is presumed, nor for what others have left (rule 23)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from app.coordination.board import Policy
from app.domain.events import Effect
from app.domain.run import RunRequest, State
from app.store.connection import connect
from tests.conftest import Clock
from tests.integration.octopus_tells import Octopus
from tests.integration.test_bounded import MOST_COMMANDS_A_MACHINE, CountedScripts
from tests.open_board import OpenBoard

INFO = {
    "space_id": "Spaces-1",
    "project": {"id": "Projects-7"},
    "environment": {"id": "Environments-2"},
    "deployment_id": "Deployments-1",
}

MANY = [f"Machines-{number}" for number in range(1, 1001)]


class Decoding(CountedScripts):
    """Counts the bytes of JSON that each script decodes as well."""

    def __init__(self, board: OpenBoard) -> None:
        super().__init__(board)
        self.decoded: list[tuple[int, str]] = []

    def text(self, name: str, *, with_expiry: bool) -> str:
        counting = """local json = cjson
local cjson = setmetatable({ decode = function(text)
    redis.call("INCRBY", KEYS[1] .. "decoded", #text)
    return json.decode(text)
end }, { __index = json })
"""
        return counting + super().text(name, with_expiry=with_expiry)

    def _execute(self, name: str, args: Any, **options: bool) -> Any:
        answer = super()._execute(name, args, **options)
        self.decoded.append((int(self._client.getdel(self._prefix + "decoded") or 0), name))
        return answer


@pytest.fixture
def keyless(own_url, namespace):
    client = connect(own_url)
    board = OpenBoard(client, namespace=namespace, policy=Policy(provisional=timedelta(seconds=60)))
    board.open("test")
    yield board
    client.close()


@pytest.fixture
def told(keyless):
    """What Octopus tells of a process that has used many machines."""
    keyless.join(RunRequest("ServerTasks-800", info=INFO), MANY)
    keyless.release("ServerTasks-800")
    return Octopus(keyless, Clock(keyless))


def wait_for(board: OpenBoard, whom: str) -> None:
    if whom != "nobody":
        board.join(RunRequest("ServerTasks-50"), MANY)
    if whom == "one for all":
        board.join(RunRequest("ServerTasks-51"), MANY)
    elif whom == "one for each":
        for number, machine in enumerate(MANY):
            board.join(RunRequest(f"ServerTasks-{1000 + number}"), [machine])


def start(octopus: Octopus, number: int) -> str:
    return octopus.tells(Effect.STARTED, f"ServerTasks-{number}", info=INFO)


def counted(board: OpenBoard) -> Decoding:
    scripts = Decoding(board)
    scripts.offset_ms, board.script = board.script.offset_ms, scripts
    return scripts


@pytest.mark.parametrize("who_waits", ["nobody", "one for all", "one for each"])
def test_what_is_presumed_begins_and_ends_with_few_commands_a_machine(
    keyless: OpenBoard, told: Octopus, who_waits: str
) -> None:
    wait_for(keyless, who_waits)
    scripts = counted(keyless)

    for number in range(900, 903):
        start(told, number)
    keyless.observe("ServerTasks-900", [{"id": "Machines-1"}], info={})
    told.tells(Effect.ENDED, "ServerTasks-901")

    assert max(scripts.commands)[0] <= MOST_COMMANDS_A_MACHINE * len(MANY)
    assert keyless.place("ServerTasks-902").run.presumed == tuple(sorted(MANY))
    # None of those who wait is decoded to know how long it has been delayed; later a share of them each time.
    assert max(scripts.decoded)[0] < 100 * len(MANY)


def test_holders_are_not_decoded_for_their_families(keyless: OpenBoard, told: Octopus) -> None:
    for number in range(900, 920):
        start(told, number)
    keyless.join(RunRequest("ServerTasks-1"), ["Machines-other"])
    keyless.join(RunRequest("ServerTasks-2", on_behalf_of="ServerTasks-1"), ["Machines-1"])
    keyless.join(RunRequest("ServerTasks-3"), ["Machines-1"])
    scripts = counted(keyless)

    keyless.release("ServerTasks-3")
    keyless.join(RunRequest("ServerTasks-4", on_behalf_of="ServerTasks-1"), ["Machines-1"])
    keyless.prioritize("ServerTasks-4", 5, by="ann", reason="hotfix")

    # Each of the twenty has the ids of many machines in its record, 14 KB.
    assert max(scripts.decoded)[0] < 30_000


def test_view_of_holders_with_many_machines_leaves_these_out(keyless: OpenBoard, told: Octopus) -> None:
    for number in range(900, 903):
        start(told, number)
    keyless.join(RunRequest("ServerTasks-1"), ["Machines-1"])

    answer = keyless.script("poll", "ServerTasks-1", "look", "")

    assert len(str(answer)) < 4000
    held = [holder.task_id for holder in keyless.place("ServerTasks-1").machines[0].holders]
    assert held == ["ServerTasks-900", "ServerTasks-901", "ServerTasks-902"]


def test_family_of_many_that_hold_is_searched_for_its_children_once(keyless: OpenBoard) -> None:
    keyless.join(RunRequest("ServerTasks-1"), ["Machines-1"])
    for number in range(100, 300):
        keyless.join(RunRequest(f"ServerTasks-{number}", on_behalf_of="ServerTasks-1"), ["Machines-1"])
    keyless.join(RunRequest("ServerTasks-2"), ["Machines-2"])
    keyless.join(RunRequest("ServerTasks-3"), ["Machines-3"])
    keyless.join(RunRequest("ServerTasks-350", on_behalf_of="ServerTasks-1"), ["Machines-1", "Machines-3"])
    scripts = counted(keyless)

    keyless.join(RunRequest("ServerTasks-351", on_behalf_of="ServerTasks-2"), ["Machines-1", "Machines-2"])

    assert keyless.place("ServerTasks-351").is_waiting
    assert max(scripts.commands) < (150, "")


@pytest.mark.parametrize("has_stranger", [False, True])
def test_line_of_siblings_that_want_the_same_is_read_at_one_machine(keyless: OpenBoard, has_stranger: bool) -> None:
    many, parent = MANY[:30], "ServerTasks-1"
    keyless.join(RunRequest(parent), ["Machines-other"])
    keyless.join(RunRequest("ServerTasks-2"), many)
    for number in range(100, 120):
        keyless.join(RunRequest(f"ServerTasks-{number}", on_behalf_of=parent), many)
    if has_stranger:
        # It waits for the parent, and whoever comes now stands behind it at the last machine.
        keyless.join(RunRequest("ServerTasks-3"), [many[-1], "Machines-other"])
    keyless.client.config_resetstat()

    place = keyless.join(RunRequest("ServerTasks-4", on_behalf_of=parent), many)

    assert (place.state, place.is_waiting) == (State.REFUSED if has_stranger else State.WAITING, not has_stranger)
    # Who holds each and, for the view, who is ahead there; one line for the search, and that of the stranger.
    assert keyless.client.info("commandstats")["cmdstat_zrangebylex"]["calls"] < 2.5 * len(many)


def test_overlaps_with_many_machines_name_some_and_count_the_others(keyless: OpenBoard) -> None:
    octopus, machines = Octopus(keyless, Clock(keyless)), [{"id": machine, "name": "web"} for machine in MANY]
    for number in range(1, 7):
        octopus.runs(f"ServerTasks-{number}", machines)
    octopus.tells(Effect.STARTED, "ServerTasks-7")
    scripts = counted(keyless)

    keyless.observe("ServerTasks-7", machines, info={})

    # Each machine is asked for alone, since it has many holders, and has an entry in its index for the own record; and
    # for those about the others, all together.
    assert max(scripts.commands)[0] <= 3.2 * len(MANY)
    records = keyless.client.xrevrange(keyless.keys.timeline, count=6)
    named = [fields[b"machines"].count(b",") + 1 for _, fields in reversed(records)]
    details = [json.loads(fields[b"detail"]) for _, fields in reversed(records)]
    assert [detail["with"] for detail in details] == [f"ServerTasks-{number}" for number in range(1, 7)]
    assert named[0] > 800 and sum(named) <= 1000 + len(named)
    assert {count + detail.get("more", 0) for count, detail in zip(named, details, strict=True)} == {named[0]}


# What others have left, beside one's own


def test_script_does_nothing_about_many_machines_for_others_beside_its_own(keyless: OpenBoard) -> None:
    clock = Clock(keyless)
    keyless.join(RunRequest("ServerTasks-7"), ["Machines-7"])
    keyless.join(RunRequest("ServerTasks-1"), MANY, ttl=timedelta(minutes=1))
    keyless.join(RunRequest("ServerTasks-2"), ["Machines-1"], ttl=timedelta(hours=1))
    other = [f"Servers-{number}" for number in range(1, 1001)]
    keyless.client.hset(keyless.keys.counters, "served_at", clock.now_ms + 120_000)
    clock.advance(timedelta(minutes=2))
    scripts = counted(keyless)

    keyless.join(RunRequest("ServerTasks-3"), other)

    assert max(scripts.commands)[0] <= MOST_COMMANDS_A_MACHINE * len(other)
    assert keyless.place("ServerTasks-2").is_waiting
    while keyless.sweep().more:
        pass
    assert keyless.place("ServerTasks-2").is_granted


def test_grant_of_many_machines_that_was_left_is_left_again_by_who_has_work_of_its_own(keyless: OpenBoard) -> None:
    class Dying(CountedScripts):
        def carry_on(self) -> bool:
            return True

    keyless.join(RunRequest("ServerTasks-1"), MANY)
    keyless.join(RunRequest("ServerTasks-10"), MANY)
    keyless.join(RunRequest("ServerTasks-11"), ["Machines-1"])
    keyless.script, living = Dying(keyless), keyless.script
    keyless.release("ServerTasks-1")
    assert keyless.place("ServerTasks-10").is_waiting
    keyless.script = living
    scripts = counted(keyless)

    keyless.join(RunRequest("ServerTasks-12"), ["Machines-2"])

    assert max(scripts.commands) < (200, "")
    assert not keyless.place("ServerTasks-11").is_granted
    while keyless.sweep().more:
        pass
    assert keyless.place("ServerTasks-10").is_granted
    assert not keyless.place("ServerTasks-12").is_granted
