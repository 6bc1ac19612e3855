"""Rule 16: every change is one timeline record."""

from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.integration.octopus_tells import WEB
from tests.integration.rules.helpers import kinds, minutes, seconds


def test_every_change_writes_exactly_one_record(board, timeline, clock, octopus):
    def grown(change):
        before = len(kinds(timeline))
        change()
        return kinds(timeline)[before:]

    one, two = RunRequest("ServerTasks-1"), RunRequest("ServerTasks-2")
    assert grown(lambda: board.join(one, {"Machines-7", "Machines-8"})) == ["joined", "granted"]
    assert grown(lambda: board.join(two, {"Machines-7"}, ttl=minutes(1))) == ["joined"]
    assert grown(lambda: board.prioritize("ServerTasks-2", 3, by="ann", reason="x")) == ["prioritized"]
    assert grown(lambda: board.reserve("Machines-9", note="x", by="ann")) == ["reserved"]
    assert grown(lambda: board.unreserve("Machines-9", by="ann")) == ["unreserved"]
    assert grown(lambda: octopus.tells(Effect.STARTED, "ServerTasks-900")) == ["event"]
    assert grown(lambda: board.observe("ServerTasks-900", WEB, info={})) == ["observed", "overlapped"]
    assert grown(lambda: octopus.tells(Effect.ENDED, "ServerTasks-900")) == ["event", "ended"]
    assert grown(lambda: board.release("ServerTasks-1")) == ["released", "granted"]
    clock.advance(minutes(2))
    assert grown(board.sweep) == ["expired"]


def test_what_changes_nothing_writes_nothing(board, timeline, octopus, a_run):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    event = octopus.event(Effect.OTHER)
    board.deliver(event)
    before = kinds(timeline)

    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    board.poll("ServerTasks-2")
    board.place("ServerTasks-1")
    board.release("ServerTasks-404")
    board.unreserve("Machines-7", by="ann")
    board.deliver(event)
    board.sweep()

    assert kinds(timeline) == before


def test_records_carry_ids_cause_and_durations(board, timeline, clock):
    info = {"project": {"id": "Projects-7"}, "environment": {"id": "Environments-2"}}
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2", info), {"Machines-7"})
    clock.advance(seconds(50))

    board.release("ServerTasks-1")

    [granted] = timeline.read(Filter(kind="granted", task_id="ServerTasks-2"))
    assert (granted.project_id, granted.environment_id, granted.machines) == (
        "Projects-7", "Environments-2", ("Machines-7",),
    )  # fmt: skip
    assert 50_000 <= granted.detail["waited_ms"] < 60_000
    assert granted.detail["token"] == board.place("ServerTasks-2").fencing_token
