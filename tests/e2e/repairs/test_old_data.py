"""Rule 15: Redis comes up with less than all, or Octopus does not say all; nobody is granted on a guess."""

from __future__ import annotations

from datetime import timedelta

from app.domain.run import RunRequest, TaskEnd
from tests.e2e.repairs.helpers import (
    FOR_EVER,
    MARKED,
    Denies,
    calls,
    deploys,
    machine,
    rebuilds,
    records,
    state,
    works,
)  # fmt: skip
from tests.simulator.steps import manual, work


def test_board_stays_closed_for_a_run_whose_machines_octopus_will_not_tell(empty, octopus, make_context):
    """They could be those that somebody waits for (rule 15); people are told, once."""
    context = make_context(empty)
    hidden, other = works(octopus, "Hidden"), works(octopus, "Web", "web-02")
    client = Denies(context.octopus, hidden)

    for _ in range(2):
        assert not rebuilds(context, client=client)
        # A minute later it is asked about again; Redis itself ends these keys.
        assert empty.client.delete(*empty.client.keys(empty.keys.named("resolving:", "rebuild-*"))) == 1

    assert empty.closed_since_ms()
    assert state(empty, other) == "observed"
    [letter] = context.services.dead_jobs.all()
    assert letter["job"] == "rebuild"
    assert f"nobody is granted until {hidden.task_id} has ended" in letter["error"]
    assert "403" in letter["error"] and "octowait rebuild --open" in letter["error"]
    assert [r.detail["job"] for r in records(empty, kind="job_failed")] == ["rebuild"]


def test_board_opens_when_the_run_that_it_was_closed_for_has_ended(empty, octopus, make_context):
    context = make_context(empty)
    hidden = works(octopus, "Hidden")
    client = Denies(context.octopus, hidden)
    assert not rebuilds(context, client=client)

    octopus.cancel(hidden)
    octopus.wait_for(hidden, "Canceled")

    assert rebuilds(context, after=timedelta(seconds=5), client=client)


def test_run_that_is_hidden_is_asked_about_once_a_minute(empty, octopus, make_context):
    context = make_context(empty)
    client = Denies(context.octopus, works(octopus, "Hidden"))
    rebuilds(context, client=client)
    before = calls(octopus)

    for _ in range(4):
        rebuilds(context, after=timedelta(seconds=5), client=client)

    assert calls(octopus) - before == 4 * 2, "the tasks and the interruptions of a pass, and nothing about the run"


def test_board_stays_closed_until_every_step_had_time_to_show_life(empty, octopus, make_context):
    """One that showed it a moment before the board was closed does so again after half of its time."""
    context = make_context(empty)
    works(octopus, "Web")
    passed = timedelta(milliseconds=empty.now_ms() - empty.closed_since_ms())

    assert not rebuilds(context, after=timedelta(seconds=70) - passed)
    assert rebuilds(context, after=timedelta(seconds=20))


def test_waiter_of_a_restored_backup_that_works_is_not_trampled(board, octopus, make_context):
    """The backup was made while it waited; it was granted since, and works."""
    context, at_work = make_context(board), works(octopus, "Web")
    board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
    board.join(RunRequest(at_work.task_id), {machine(octopus)})
    board.join(RunRequest("ServerTasks-901", parked=True), {machine(octopus)})
    board.script.offset_ms += 1000
    board.close(by="ann", reason="restored a backup")
    board.release("ServerTasks-900", cause="reconciled", ended=TaskEnd("succeeded"))

    assert rebuilds(context)

    assert state(board, at_work) == "observed"
    assert state(board, "ServerTasks-901") == "waiting"


def test_parked_waiter_of_a_restored_backup_that_was_resumed_is_not_trampled(board, octopus, make_context, do):
    """octowait answered its intervention, and Redis does not know any more."""
    context = make_context(board)
    board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
    asks = manual("octowait", instructions=MARKED)
    parked = deploys(octopus, "Web", steps=[asks, work("deploy", machines=["web-01"], seconds=FOR_EVER)])
    octopus.wait_for(parked, is_paused=True)
    board.join(RunRequest(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    [found] = context.octopus.interruptions(parked.task_id, pending_only=True, space=octopus.space_id)
    context.octopus.take_responsibility(found)
    context.octopus.submit(found, "Proceed", notes="octowait")
    octopus.wait_for(parked, "Executing")
    board.close(by="ann", reason="restored a backup")

    assert rebuilds(context)

    assert state(board, parked) == "observed"
    assert [r.cause for r in records(board, kind="resumed")] == ["octowait"]


def test_run_that_was_taken_for_dead_and_works_is_found(board, octopus, make_context):
    context, at_work = make_context(board), works(octopus, "Web")
    board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
    board.join(RunRequest(at_work.task_id), {machine(octopus)})
    board.script.offset_ms += 600_000
    board.sweep()
    assert state(board, at_work) == "expired"
    board.close(by="ann", reason="restored a backup")

    assert rebuilds(context)

    assert state(board, at_work) == "observed"


def test_paused_run_is_told_of_once_however_long_the_board_stays_closed(empty, octopus, make_context):
    context = make_context(empty)
    client = Denies(context.octopus, works(octopus, "Hidden"))
    approval = deploys(
        octopus, "Db", steps=[manual("Approve", instructions="Ask Jane"), work("d", machines=["web-01"])]
    )
    octopus.wait_for(approval, is_paused=True)

    for _ in range(3):
        rebuilds(context, after=timedelta(minutes=2), client=client)

    assert len(records(empty, kind="event", task_id=approval.task_id)) == 2, "its start and its pause"
