"""Rule 8: runs without a lease that events showed make their machines busy."""

from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.integration.octopus_tells import WEB
from tests.integration.rules.helpers import kinds


def test_started_run_holds_nothing_until_its_machines_are_known(board, octopus):
    octopus.tells(Effect.STARTED, "ServerTasks-900")

    assert board.place("ServerTasks-900").state == "started"
    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_granted


def test_observed_run_gives_up_its_hold_when_it_asks(board, a_run, octopus):
    octopus.runs("ServerTasks-900")
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    asked = board.join(RunRequest("ServerTasks-900"), {"Machines-7"})

    assert board.place(waiter.task_id).is_granted
    assert (asked.state, asked.place) == ("waiting", 1)
    assert "seen running" in asked.reason


def test_observed_run_that_asks_for_other_machines_frees_the_first(board, a_run, octopus):
    octopus.runs("ServerTasks-900")
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    assert board.join(RunRequest("ServerTasks-900"), {"Machines-8"}).is_granted

    assert board.place(waiter.task_id).is_granted


def test_overlap_that_nobody_could_prevent_is_recorded(board, timeline, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    octopus.runs("ServerTasks-900")

    [record] = timeline.read(Filter(kind="overlapped"))
    assert (record.task_id, record.machines, record.detail["with"]) == (
        "ServerTasks-900", ("Machines-7",), "ServerTasks-1",
    )  # fmt: skip


def test_run_that_was_there_before_a_reservation_is_no_overlap(board, timeline, octopus):
    board.reserve("Machines-7", note="new disk", by="ann")

    octopus.runs("ServerTasks-900")

    assert kinds(timeline) == ["reserved", "event", "observed"]


def test_machine_stays_busy_until_both_of_an_overlap_have_ended(board, a_run, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    octopus.runs("ServerTasks-900")
    waiter = a_run(task_id="ServerTasks-2")
    board.join(waiter, {"Machines-7"})

    board.release("ServerTasks-1")
    assert board.place(waiter.task_id).is_waiting
    octopus.tells(Effect.ENDED, "ServerTasks-900")

    assert board.place(waiter.task_id).is_granted


def test_resolving_is_late_when_the_run_holds_a_lease_by_now(board, octopus):
    octopus.tells(Effect.STARTED)
    board.join(RunRequest("ServerTasks-1"), {"Machines-8"})

    assert board.observe("ServerTasks-1", WEB, info={}) == "late"
    assert board.join(RunRequest("ServerTasks-2"), {"Machines-7"}).is_granted


def test_run_without_machines_is_observed_and_ends(board, octopus):
    octopus.runs(machines=[])

    octopus.tells(Effect.ENDED)

    assert board.place("ServerTasks-1").state == "ended"
