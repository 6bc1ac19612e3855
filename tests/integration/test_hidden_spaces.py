"""Watch and reconcile where Octopus hides a space, or a run: that is this run's trouble, and nobody else's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from app.coordination.board import Board
from app.domain.run import RunRequest
from app.octopus.errors import OctopusBusy, OctopusDenied
from tests.integration.reconciling import context, do, holds, make_context, octopus, state
from tests.integration.spaces_of_octopus import Octopus
from workers import reconcile, watch

__all__ = ["context", "make_context", "octopus"]

HIDING = [403, 404]


@pytest.fixture
def three(board: Board, octopus: Octopus) -> None:
    """One holder in a space that is hidden; one whose task has ended, and who waits for it, in another."""
    holds(board, 3, "Machines-3", "Spaces-99")
    holds(board, 4, "Machines-3", "Spaces-99")
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-1")
    octopus.has(2)
    octopus.has(3, space="Spaces-99")
    octopus.has(1, "Success")


@pytest.mark.parametrize("status", HIDING)
@pytest.mark.parametrize("job", [watch, reconcile], ids=["watch", "reconcile"])
def test_run_in_a_hidden_space_stops_nobody(board, octopus, context, three, status, job):
    octopus.statuses["Spaces-99"] = status

    do(context, job)

    assert [state(board, number) for number in (1, 2, 3)] == ["released", "granted", "granted"]


@pytest.mark.parametrize("status", HIDING)
def test_run_in_a_hidden_space_is_marked_with_what_octopus_answers(board, octopus, context, three, status):
    octopus.statuses["Spaces-99"] = status

    do(context, watch)

    [marked] = context.unseen.runs()
    assert (marked.task_id, marked.space_id) == ("ServerTasks-3", "Spaces-99")
    assert marked.why == f"Octopus answers {status} for Spaces-99"


@pytest.mark.parametrize("space", ["../x", "Spaces-1/..", "Default Space", 7, ["Spaces-1"]])
@pytest.mark.parametrize("job", [watch, reconcile], ids=["watch", "reconcile"])
def test_space_of_an_older_version_that_is_no_id_stops_nobody(board, octopus, context, space, job):
    holds(board, 3, "Machines-3", space)
    holds(board, 4, "Machines-3", space)
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-1")
    octopus.has(1, "Success")
    octopus.has(3, "Failed", space="Spaces-7")

    do(context, job)

    assert [state(board, number) for number in (1, 2)] == ["released", "granted"]
    assert state(board, 3) == "released", "its space counts as unknown, and it is asked for in all of them"


@pytest.mark.parametrize("space", ["../x", "Spaces-99", None])
def test_forced_release_asks_whatever_space_was_said(board, octopus, context, space):
    holds(board, 1, "Machines-1", space)
    octopus.has(1)

    objection = context.services.objection_to_release(board.place("ServerTasks-1"))

    assert objection and objection.code == "still_running"


def test_hidden_space_is_told_of_once_and_asked_about_seldom(board, clock, octopus, context, three):
    octopus.statuses["Spaces-99"] = 403

    with capture_logs() as logs:
        for _ in range(10):
            do(context, watch)

    assert [entry["space"] for entry in logs if entry["log_level"] == "error"] == ["Spaces-99"]
    assert [entry["why"] for entry in logs if entry["log_level"] == "warning"] == ["Octopus answers 403 for Spaces-99"]
    assert sum("Spaces-99/tasks?" in asked for asked in octopus.asked) == 1
    assert sum("tasks/ServerTasks-3" in asked for asked in octopus.asked) == 2, "there and anywhere, once in minutes"
    assert [asked for asked in octopus.asked if "Spaces-1/" in asked], "the other space is asked about all the time"


def test_space_that_is_seen_again_is_looked_after_as_before(board, clock, octopus, context, three):
    octopus.statuses["Spaces-99"] = 404
    do(context, watch)
    del octopus.statuses["Spaces-99"]
    octopus.has(3, "Canceled", space="Spaces-99")

    clock.advance(timedelta(seconds=16))
    do(context, watch)

    assert [state(board, number) for number in (3, 4)] == ["released", "granted"]
    assert context.unseen.runs() == []


def test_space_stays_hidden_for_longer_the_longer_it_is(board, clock, octopus, context, three):
    octopus.statuses["Spaces-99"] = 403
    asked = []
    for _ in range(60):
        clock.advance(timedelta(seconds=15))
        do(context, watch)
        asked.append(sum("Spaces-99/tasks?" in each for each in octopus.asked))

    assert asked[0] == 1 and 5 <= asked[-1] <= 8, "of 60 looks in a quarter of an hour"


def test_run_that_named_another_space_than_its_own_is_found(board, octopus, context):
    """Nobody checks what a step says: it is in Spaces-1, which the key may see."""
    holds(board, 3, "Machines-3", "Spaces-99")
    holds(board, 4, "Machines-3", "Spaces-1")
    octopus.has(3, "Success", space="Spaces-1")
    octopus.statuses["Spaces-99"] = 403

    do(context, watch)

    assert [state(board, number) for number in (3, 4)] == ["released", "granted"]
    assert context.unseen.runs() == []


def test_key_that_octopus_does_not_take_hides_no_space(board, octopus, context, three):
    octopus.statuses |= {"Spaces-1": 401, "Spaces-99": 401}

    with pytest.raises(OctopusDenied):
        do(context, watch)

    assert context.unseen.runs() == []
    assert context.unseen.why_hidden("Spaces-1", board.now_ms()) is None


def test_trouble_of_one_space_stops_no_other(board, octopus, context, three):
    octopus.statuses["Spaces-99"] = 500

    do(context, watch)

    assert [state(board, number) for number in (1, 2, 3)] == ["released", "granted", "granted"]
    assert context.unseen.runs() == [], "it may answer the next time"


def test_job_fails_where_octopus_answers_nothing_at_all(board, octopus, context, three):
    octopus.statuses |= {"Spaces-1": 500, "Spaces-99": 500}

    with pytest.raises(OctopusBusy):
        do(context, watch)

    assert [state(board, number) for number in (1, 2, 3)] == ["granted", "waiting", "granted"]


def test_key_that_may_see_no_tasks_at_all_is_no_failure_every_few_seconds(board, octopus, context, three):
    octopus.statuses |= {"Spaces-1": 403, "Spaces-99": 403, "all": 403}

    for _ in range(3):
        do(context, watch)
        do(context, reconcile)

    assert {run.why for run in context.unseen.runs()} == {
        "Octopus answers 403 for Spaces-1", "Octopus answers 403 for Spaces-99",
    }  # fmt: skip


def test_run_whose_interruptions_are_hidden_stops_nobody(board, clock, octopus, context):
    """Octopus shows the task, and 404 for what it asks people."""
    board.join(RunRequest("ServerTasks-1", info={"space_id": "Spaces-1"}), {"Machines-1"}, ttl=timedelta(hours=9))
    board.join(RunRequest("ServerTasks-2", parked=True, info={"space_id": "Spaces-1"}), {"Machines-1"})
    board.join(RunRequest("ServerTasks-3", parked=True, info={"space_id": "Spaces-1"}), {"Machines-1"})
    clock.advance(timedelta(minutes=5))
    octopus.has(1)
    octopus.has(2, "Queued")
    octopus.has(3, "Canceled")

    do(context, reconcile)

    assert [state(board, number) for number in (1, 2, 3)] == ["granted", "waiting", "left"]


# Numbers of requests (P7)


def tasks_in_spaces(board: Board, octopus: Octopus, spaces: int, *, hidden: int = 0) -> None:
    for number in range(1, spaces + 1):
        holds(board, number, f"Machines-{number}", f"Spaces-{number}")
        holds(board, 1000 + number, f"Machines-{number}", f"Spaces-{number}")
        octopus.has(number, space=f"Spaces-{number}")
        octopus.has(1000 + number, space=f"Spaces-{number}")
        if number <= hidden:
            octopus.statuses[f"Spaces-{number}"] = 403


@pytest.mark.parametrize("spaces", [1, 2, 3, 12])
def test_requests_of_a_minute_stay_within_bounds(board, clock, octopus, context, spaces):
    tasks_in_spaces(board, octopus, spaces)

    for second in range(0, 60, 5):
        do(context, watch)
        if second % 30 == 0:
            do(context, reconcile)
        clock.advance(timedelta(seconds=5))

    assert len(octopus.asked) <= min(20 + 14 * spaces, context.settings.octopus_rpm)


def test_many_spaces_take_turns(board, clock, octopus, context):
    tasks_in_spaces(board, octopus, 12)

    for _ in range(6):
        do(context, watch)

    assert {asked.split("/")[2] for asked in octopus.asked} == {f"Spaces-{number}" for number in range(1, 13)}


def test_hidden_spaces_cost_the_others_no_turn(board, clock, octopus, context):
    tasks_in_spaces(board, octopus, 12, hidden=11)
    for _ in range(8):
        do(context, watch)
    octopus.asked.clear()

    do(context, watch)

    assert [asked for asked in octopus.asked if "tasks?" in asked and "Spaces-12/" in asked]


def test_large_space_and_a_small_one_both_have_their_turns(board, octopus, context):
    for number in range(1, 121):
        holds(board, number, f"Machines-{number}")
        octopus.has(number)
    holds(board, 500, "Machines-500", "Spaces-2")
    octopus.has(500, "Success", space="Spaces-2")
    for number in (*range(1, 121), 500):
        holds(board, 1000 + number, f"Machines-{number}")

    for _ in range(4):
        do(context, watch)

    assert state(board, 500) == "released"
    asked = {task for query in octopus.asked for task in query.partition("ids=")[2].partition("&")[0].split("%2C")}
    assert len(asked) == 121


def test_tasks_that_octopus_hides_are_asked_for_singly_within_a_bound(board, octopus, context):
    for number in range(1, 31):
        holds(board, number, f"Machines-{number}")
        holds(board, 1000 + number, f"Machines-{number}")

    for _ in range(12):
        do(context, watch)

    singly = [asked for asked in octopus.asked if "/tasks/" in asked]
    assert len(singly) == 2 * reconcile.MOST_SINGLE


def test_mark_goes_with_the_run(board, octopus, context, three):
    octopus.statuses["Spaces-99"] = 403
    do(context, watch)

    board.release("ServerTasks-3", cause="forced", by="ann", reason="nobody sees it")
    board.release("ServerTasks-4", cause="forced", by="ann", reason="nobody sees it")
    do(context, reconcile)

    assert context.unseen.runs() == []
