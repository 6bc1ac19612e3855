"""Rule 7: events are idempotent and free of order."""

from datetime import timedelta

import pytest

from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.integration.octopus_tells import WEB
from tests.integration.rules.helpers import kinds, seconds


def test_same_event_five_times_takes_effect_once(board, timeline, octopus):
    event = octopus.event(Effect.STARTED)

    outcomes = [board.deliver(event) for _ in range(5)]

    assert outcomes == ["unresolved"] + ["duplicate"] * 4
    assert kinds(timeline) == ["event"]


def test_end_before_its_start_leaves_nothing_held(board, a_run, octopus):
    octopus.tells(Effect.ENDED, ago=seconds(1))

    assert octopus.tells(Effect.STARTED, ago=seconds(60)) == "applied"
    assert board.observe("ServerTasks-1", WEB, info={}) == "late"
    assert board.join(a_run(task_id="ServerTasks-2"), {"Machines-7"}).is_granted


def test_start_and_end_of_the_same_moment_leave_nothing_held(board, octopus):
    end = octopus.event(Effect.ENDED, ago=seconds(1))
    board.deliver(end)

    octopus.tells(Effect.STARTED, occurred_ms=end.occurred_ms)

    assert board.observe("ServerTasks-1", WEB, info={}) == "late"


def test_late_start_after_release_leaves_nothing_held(board, clock, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(20))
    board.release("ServerTasks-1")

    assert octopus.tells(Effect.STARTED, ago=seconds(21)) == "applied"

    assert board.place("ServerTasks-1").state == "released"
    assert board.observe("ServerTasks-1", WEB, info={}) == "late"


def test_start_of_a_holder_that_comes_late_changes_nothing(board, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.STARTED, ago=seconds(3)) == "applied"

    assert board.place("ServerTasks-1").is_granted


def test_unknown_category_is_kept_in_the_timeline_and_changes_nothing(board, timeline, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.OTHER, category="DeploymentFrozen") == "ignored"

    assert board.place("ServerTasks-1").is_granted
    [record] = timeline.read(Filter(kind="event"))
    assert record.detail["category"] == "DeploymentFrozen"


def test_event_without_a_task_is_linked_by_its_deployment(board, octopus):
    board.join(RunRequest("ServerTasks-1", {"deployment_id": "Deployments-51"}), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, None, deployment_id="deployments-51") == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_event_that_cannot_be_linked_is_not_remembered(board, octopus):
    event = octopus.event(Effect.ENDED, None, deployment_id="Deployments-51")
    assert [board.deliver(event), board.deliver(event)] == ["unlinked", "unlinked"]

    board.join(RunRequest("ServerTasks-1", {"deployment_id": "Deployments-51"}), {"Machines-7"})

    assert board.deliver(event) == "applied"


def test_a_resume_after_the_release_begins_no_new_run(board, octopus, clock, a_run):
    run, other = a_run(), a_run()
    octopus.tells(Effect.STARTED, run.task_id)
    board.join(run, {"Machines-7"})
    board.release(run.task_id)
    clock.advance(seconds(60))

    assert octopus.tells(Effect.RESUMED, run.task_id) == "ignored"
    assert board.observe(run.task_id, WEB, info={}) == "late"
    assert board.join(other, {"Machines-7"}).is_granted


def test_a_resume_from_before_the_pause_changes_nothing(board, clock, octopus):
    octopus.runs()
    clock.advance(seconds(10))
    octopus.tells(Effect.PAUSED, ago=seconds(1))

    assert octopus.tells(Effect.RESUMED, ago=seconds(2)) == "ignored"
    assert board.place("ServerTasks-1").run.paused


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(hours=23)])
def test_start_that_was_told_of_ahead_of_its_time_has_its_end(board, clock, octopus, ahead):
    """One who has the webhook's secret must not let a machine be busy for ever: the true end would be too early."""
    assert octopus.tells(Effect.STARTED, ago=-ahead) == "unresolved"
    board.observe("ServerTasks-1", WEB, info={})
    clock.advance(seconds(240))

    assert octopus.tells(Effect.ENDED) == "applied"

    assert board.place("ServerTasks-1").state == "ended"


def test_clock_of_octopus_may_be_five_minutes_ahead(board, clock, octopus):
    octopus.tells(Effect.STARTED, ago=-seconds(290))

    # An end that occurred before it, by Octopus's own clock, is that of an earlier run.
    assert octopus.tells(Effect.ENDED, ago=-seconds(200)) == "ignored"
    assert octopus.tells(Effect.ENDED, ago=-seconds(295)) == "applied"


def test_an_event_of_the_far_future_is_not_believed(board, octopus):
    assert octopus.tells(Effect.STARTED, ago=-timedelta(days=2)) == "implausible"
    assert board.place("ServerTasks-1") is None
