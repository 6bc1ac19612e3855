"""What is older than the retention is forgotten, and nothing else."""

from datetime import timedelta

import pytest

from app.domain.events import Effect
from app.domain.run import RunRequest


def test_run_that_ended_before_the_retention_is_forgotten(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1", {"deployment_id": "Deployments-51"}), {"Machines-7"})
    board.release("ServerTasks-1")

    clock.advance(timedelta(days=91))
    board.sweep()

    assert board.place("ServerTasks-1") is None
    assert octopus.tells(Effect.ENDED, None, deployment_id="Deployments-51") == "unlinked"


def test_run_that_still_holds_is_not_forgotten(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.QUEUED, "ServerTasks-2")
    octopus.runs("ServerTasks-2", [{"id": "Machines-8"}])

    clock.advance(timedelta(days=91))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted
    assert board.place("ServerTasks-2").state == "observed"


def test_event_ids_are_remembered_for_as_long_as_the_retention(board, clock, octopus):
    event = octopus.event(Effect.OTHER)
    board.deliver(event)

    clock.advance(timedelta(days=89))
    board.sweep()
    assert board.deliver(event) == "duplicate"
    clock.advance(timedelta(days=2))
    board.sweep()

    assert not board.client.exists(board.keys.events)


def test_ids_of_events_about_no_run_are_remembered_for_a_day(board, clock, octopus):
    """Nothing comes of them when they are told again, and whoever has the webhook's secret can invent any number."""
    events = [octopus.event(Effect.OTHER, None) for _ in range(20)]
    for event in events:
        assert board.deliver(event) == "ignored"

    clock.advance(timedelta(hours=23))
    board.sweep()
    assert {board.deliver(event) for event in events} == {"duplicate"}
    clock.advance(timedelta(hours=2))
    about_a_run = octopus.event(Effect.QUEUED)
    board.deliver(about_a_run)
    board.sweep()

    assert [name.decode() for name in board.client.zrange(board.keys.events, 0, -1)] == [about_a_run.key]


@pytest.mark.parametrize("effect", [Effect.QUEUED, Effect.PAUSED, Effect.OTHER])
def test_run_that_never_started_is_forgotten_too(board, clock, octopus, effect):
    octopus.tells(effect)

    clock.advance(timedelta(days=91))
    board.sweep()

    assert board.place("ServerTasks-1") is None
    assert not board.client.exists(board.keys.index("run", "ServerTasks-1"))


def test_machine_that_nobody_has_used_for_the_retention_is_forgotten(board, clock):
    for number in (1, 2, 3, 4):
        board.join(RunRequest(f"ServerTasks-{number}"), {f"Machines-{number}"})
    board.join(RunRequest("ServerTasks-5"), {"Machines-2", "Machines-5"}, ttl=timedelta(days=200))
    board.join(RunRequest("ServerTasks-6"), {"Machines-6"})
    for number in (1, 3, 4, 6):
        board.release(f"ServerTasks-{number}")
    board.reserve("Machines-3", note="disk", by="ann")
    clock.advance(timedelta(days=89))
    assert board.forget_machines() == 0
    board.join(RunRequest("ServerTasks-7"), {"Machines-4"})
    board.release("ServerTasks-7")

    clock.advance(timedelta(days=2))

    assert board.forget_machines() == 2
    # Who holds one, wants one, has reserved one or has used one lately.
    assert {name.decode() for name in board.client.hkeys(board.keys.machines)} == {
        "machines-2", "machines-5", "machines-3", "machines-4",
    }  # fmt: skip
    assert board.join(RunRequest("ServerTasks-8"), {"Machines-1"}).is_granted
