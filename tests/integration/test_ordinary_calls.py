"""What the calls of an ordinary wait have Redis carry out: each command is time in which nobody else is answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.run import RunRequest
from tests.integration.test_bounded import CountedScripts
from tests.open_board import OpenBoard

INFO = {
    "project": {"id": "Projects-7"},
    "environment": {"id": "Environments-2"},
    "deployment_id": "Deployments-1",
    "space_id": "Spaces-1",
}

#: Commands of one script at most, for a run with one machine whose step has no claim or has one. Those that change
#: something look at the types of all keys, with 16 of them.
MOST = {
    "join": {"granted": (58, 59), "waits": (52, 53)},
    "poll": {"waits": (10, 10), "hears": (12, 12), "collects": (8, 14), "goes on": (8, 10)},
    "release": {"hands over": (56, 59), "leaves it free": (36, 39)},
}

#: Commands of a release that hands four machines over to one run, for which a third one waits.
MOST_FOR_FOUR = 68


def test_who_waits_for_a_wake_reads_only_that_the_run_waits(own_board: OpenBoard) -> None:
    own_board.join(RunRequest("ServerTasks-1"), ["Machines-1"])
    own_board.join(RunRequest("ServerTasks-2"), ["Machines-1"])
    own_board.script = counted = CountedScripts(own_board)
    own_board.poll("ServerTasks-2")  # Redis knows the script from now on.
    counted.commands.clear()

    place = own_board.wait("servertasks-2", timeout=timedelta(milliseconds=30))

    assert place and place.is_waiting and place.task_id == "ServerTasks-2"
    (brief, _), (whole, _) = counted.commands
    assert brief - 1 <= 6 < whole


@pytest.mark.parametrize("claims", [False, True], ids=["without a claim", "with a claim"])
def test_ordinary_wait_takes_few_commands(own_board: OpenBoard, claims: bool) -> None:
    def run(number: int) -> RunRequest:
        request = RunRequest(f"ServerTasks-{number}", info={**INFO, "deployment_id": f"Deployments-{number}"})
        return replace(request, claim=f"{number:032}") if claims else request

    before, holder, waiter = run(1), run(2), run(3)
    # The next ones find a process that is known, and scripts that are loaded.
    for known in (before, replace(before, task_id="ServerTasks-4")):
        own_board.join(known, ["Machines-1"])
        own_board.poll(known.task_id, claim=known.claim)
        own_board.release(known.task_id, claim=known.claim)
    own_board.script = counted = CountedScripts(own_board)

    def count(what: str, name: str) -> None:
        commands, script = counted.commands.pop()
        assert script == name and not counted.commands
        assert commands - 1 <= MOST[name][what][claims], what

    own_board.join(holder, ["Machines-1"])
    count("granted", "join")
    own_board.join(waiter, ["Machines-1"])
    count("waits", "join")
    own_board.poll(waiter.task_id, claim=waiter.claim)
    count("waits", "poll")
    own_board.release(holder.task_id, claim=holder.claim)
    count("hands over", "release")
    for what in ("hears", "collects", "goes on"):
        # A step with a claim blocks until it hears.
        place = own_board.poll(waiter.task_id, claim=waiter.claim, blocks=claims and what == "hears")
        assert place and place.is_granted
        count(what, "poll")
    own_board.release(waiter.task_id, claim=waiter.claim)
    count("leaves it free", "release")


def test_hand_over_of_several_machines_looks_at_the_next_run_once(own_board: OpenBoard) -> None:
    machines = [f"Machines-{number}" for number in range(1, 5)]
    for number in range(4):
        own_board.join(RunRequest(f"ServerTasks-{number}", info=INFO), machines)
    own_board.script = counted = CountedScripts(own_board)

    own_board.release("ServerTasks-0")
    own_board.release("ServerTasks-1")

    # Who stands behind the one that has just got them all is not looked at: the machines are busy with it. One of the
    # two may have compared the clocks as well.
    assert min(commands for commands, _ in counted.commands) - 1 <= MOST_FOR_FOUR
