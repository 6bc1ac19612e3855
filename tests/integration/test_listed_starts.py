"""Starts that no webhook brought are found in the list of active tasks; what that lists no longer has not ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.coordination.board import Board, Policy
from app.domain.events import Effect, Event
from app.domain.records import Filter
from app.domain.run import TaskEnd
from app.domain.run_info import Document
from app.history.timeline import Timeline
from app.jobs import queues_of
from app.octopus.errors import OctopusBusy
from tests.conftest import Clock
from tests.integration.reconciling import context, do, holds, make_context, octopus, state
from workers import reconcile, resolve, watch
from workers.active_tasks import MOST_LISTED

__all__ = ["context", "make_context", "octopus"]

TASK = "ServerTasks-1"


def tells(board: Board, effect: Effect, moment_ms: int, task: str = TASK, *, number: int = 1) -> str:
    """A webhook about *task*."""
    event = Event(f"events-{effect}-{number}", None, f"Deployment{effect}", effect, moment_ms, task, None)
    return board.deliver(event)


def events_of(board: Board, task: str = TASK) -> list[dict[str, Any]]:
    records = Timeline(board.client, board.keys).read(Filter(task_id=task, kind="event"))
    return [dict(record.detail) for record in records]


def is_busy(board: Board) -> bool:
    return bool(board.client.zcard(board.keys.holders) or board.client.zcard(board.keys.unresolved))


@pytest.mark.parametrize("kind", ["DeploymentId", "RunbookRunId"])
def test_run_that_nobody_told_of_is_found_and_resolved(board, clock, octopus, context, kind):
    start_ms = clock.now_ms - 90_000
    octopus.has(1, start_ms=start_ms, kind=kind)

    do(context, reconcile)

    place = board.place(TASK)
    assert (place.state, place.run.started_oct_ms) == ("started", start_ms)
    assert context.unresolved.tasks() == [TASK]
    assert place.run.info.space_id == "Spaces-1"
    assert place.run.info.runbook_run_id if kind == "RunbookRunId" else place.run.info.deployment_id
    queues = queues_of(board.client, context.settings)
    assert any("-resolve-" in job for queue in queues for job in queue.job_ids)
    [event] = events_of(board)
    assert (event["via"], event["late_ms"] >= 89_000) == ("reconcile", True)


WHERE = {
    "ProjectId": "Projects-7",
    "EnvironmentId": "Environments-2",
    "TenantId": "Tenants-3",
    "ReleaseId": "Releases-9",
}


@pytest.mark.parametrize(
    ("kind", "run_id"),
    [("DeploymentId", "Deployments-1"), ("RunbookRunId", "RunbookRuns-1")],
    ids=["deployment", "run"],
)
def test_start_says_where_it_runs_as_its_event_would(board, clock, octopus, context, kind, run_id):
    octopus.has(1, start_ms=clock.now_ms, kind=kind)
    octopus.runs[run_id] = WHERE

    for _ in range(3):
        do(context, reconcile)

    info = board.place(TASK).run.info
    assert (info.project, info.environment) == (Document("Projects-7"), Document("Environments-2"))
    assert info.tenant == Document("Tenants-3")
    assert info.release == (Document("Releases-9") if kind == "DeploymentId" else None)
    assert sum("ids=" in asked and "tasks" not in asked for asked in octopus.asked) == 1, "once, not in each look"


def test_machines_of_the_last_run_are_busy_as_soon_as_the_next_is_listed(board, clock, octopus, context):
    """Nobody has asked yet which machines it uses (rule 19)."""
    info = {"space_id": "Spaces-1", "project": {"id": "Projects-7"}, "environment": {"id": "Environments-2"}}
    tells(board, Effect.STARTED, clock.now_ms - 60_000, "ServerTasks-9", number=9)
    board.observe("ServerTasks-9", [{"id": "Machines-1", "name": "web-01"}], info=info)
    tells(board, Effect.ENDED, clock.now_ms - 30_000, "ServerTasks-9", number=9)
    octopus.has(1, start_ms=clock.now_ms)
    octopus.runs["Deployments-1"] = {key: WHERE[key] for key in ("ProjectId", "EnvironmentId")}

    do(context, reconcile)
    holds(board, 2, "Machines-1")

    assert state(board, 2) == "waiting"


@pytest.mark.parametrize("status", [403, 404, 500])
def test_start_is_told_also_where_it_is_not_known_where_it_runs(board, clock, octopus, context, status):
    octopus.has(1, start_ms=clock.now_ms)
    octopus.statuses["deployments"] = status

    do(context, reconcile)

    assert state(board, 1) == "started"
    assert context.unseen.why_hidden("Spaces-1", board.now_ms()) is None, "its tasks can be seen"


def test_it_is_told_once(board, clock, octopus, context):
    octopus.has(1, start_ms=clock.now_ms - 90_000)

    for node in ("node-1", "node-2", None):
        octopus.tasks[TASK.lower()]["ServerNode"] = node
        do(context, reconcile)

    assert len(events_of(board)) == 1


STARTED = {"start_ms": 1_700_000_000_000}

# What Octopus says of a task, and whether it may be at work on machines.
BEGUN = [
    ("Executing", STARTED, True),
    ("Executing", {}, True),
    ("Cancelling", STARTED, True),
    ("Queued", {}, False),
    ("Queued", STARTED, True),
    ("Queued", {"HasPendingInterruptions": True}, True),
    ("Queued", {"PendingInterruptionTypes": ["ManualIntervention"]}, True),
    ("Queued", {"HasPendingInterruptions": False, "PendingInterruptionTypes": ["PullRequestCompletion"]}, True),
    ("Queued", {"HasPendingInterruptions": True, "PendingInterruptionTypes": []}, True),
    ("Queued", {"HasPendingPreconditions": True}, False),
    ("Queued", {"HasPendingPreconditions": True, **STARTED}, False),
    ("Queued", {"PendingPreconditionTypes": ["Approval"], **STARTED}, False),
    ("Queued", {"HasPendingPreconditions": True, "HasPendingInterruptions": True, **STARTED}, True),
    ("Executing", {"HasPendingPreconditions": True, **STARTED}, True),
    ("Executing", {"PendingInterruptionTypes": ["GuidedFailure"], **STARTED}, True),
    ("Executing", {"kind": "", **STARTED}, False),
    ("Success", STARTED, False),
    ("Failed", {}, False),
    ("Canceled", STARTED, False),
    ("TimedOut", {}, False),
]


@pytest.mark.parametrize(("word", "fields", "is_begun"), BEGUN)
@pytest.mark.parametrize("knows_filters", [True, False])
def test_which_tasks_have_begun(board, octopus, context, word, fields, is_begun, knows_filters):
    octopus.knows_filters = knows_filters
    octopus.has(1, word, **fields)

    do(context, reconcile)

    assert state(board, 1) == ("started" if is_begun else None)


def test_runs_that_are_known_to_be_at_work_or_to_wait_are_told_nothing(board, clock, octopus, context):
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-1")
    tells(board, Effect.STARTED, clock.now_ms, "ServerTasks-3", number=3)
    tells(board, Effect.STARTED, clock.now_ms, "ServerTasks-4", number=4)
    board.observe("ServerTasks-4", [{"id": "Machines-4", "name": "web-04"}], info={})
    for number in (1, 2, 3, 4):
        octopus.has(number, start_ms=clock.now_ms - 60_000)
    before = board.client.xlen(board.keys.timeline)

    do(context, reconcile)

    assert [state(board, number) for number in (1, 2, 3, 4)] == ["granted", "waiting", "started", "observed"]
    assert board.client.xlen(board.keys.timeline) == before


def test_run_that_was_only_queued_until_now_is_told(board, clock, octopus, context):
    tells(board, Effect.QUEUED, clock.now_ms - 90_000)
    octopus.has(1, start_ms=clock.now_ms - 60_000)

    do(context, reconcile)

    assert state(board, 1) == "started"


def test_run_whose_wait_expired_while_its_task_works_is_told_after_each_end(board, clock, octopus, context):
    """Its step goes on without, under "proceed"; it is asked for once more after it had come back."""
    octopus.has(1, start_ms=clock.now_ms - 60_000)
    holds(board, 2, "Machines-1")
    for _ in range(2):
        holds(board, 1, "Machines-1")
        board.release(TASK, cause="step")
        assert state(board, 1) == "left"
        do(context, reconcile)
        do(context, reconcile)
        assert board.place(TASK).is_to_resolve
        clock.advance(timedelta(seconds=1))

    assert state(board, 2) == "granted"


def test_run_that_has_given_its_machines_back_is_not_taken_for_a_new_one(board, clock, octopus, context):
    """Its release step is its last but one."""
    octopus.has(1, start_ms=clock.now_ms - 60_000)
    holds(board, 1, "Machines-1")
    board.release(TASK, cause="step")
    before = board.client.xlen(board.keys.timeline)

    do(context, reconcile)

    assert state(board, 1) == "released"
    assert board.client.xlen(board.keys.timeline) == before


@pytest.mark.parametrize("has_heard", [True, False], ids=["its events came", "nothing came"])
def test_run_anew_of_a_task_is_told(board, clock, octopus, context, has_heard):
    """A trigger runs the same deployment again, perhaps under the same task."""
    first_ms = clock.now_ms - 600_000
    if has_heard:
        tells(board, Effect.STARTED, first_ms)
    holds(board, 1, "Machines-1")
    board.release(TASK, cause="step")
    clock.advance(timedelta(minutes=1))
    if has_heard:
        tells(board, Effect.ENDED, clock.now_ms - 30_000)
    octopus.has(1, start_ms=clock.now_ms - 1_000)

    do(context, reconcile)

    place = board.place(TASK)
    assert (str(place.state), place.run.run) == ("started", 2)


# What happens while Octopus answers


def test_task_whose_end_is_told_between_the_list_and_the_start_is_not_busy(board, clock, octopus, context):
    octopus.has(1, start_ms=clock.now_ms - 60_000)
    octopus.after_list = lambda: tells(board, Effect.ENDED, clock.now_ms)

    do(context, reconcile)

    assert state(board, 1) == "ended"
    assert not is_busy(board)


def test_task_that_ends_between_the_list_and_the_start_untold_ends_with_the_next_look(board, clock, octopus, context):
    octopus.has(1, start_ms=clock.now_ms - 60_000)
    octopus.after_list = lambda: octopus.has(1, "Success", start_ms=clock.now_ms - 60_000)

    do(context, reconcile)
    assert state(board, 1) == "started"
    do(context, resolve)

    assert state(board, 1) == "ended"
    assert not is_busy(board)


def test_observed_task_that_ended_untold_ends_with_the_next_look(board, clock, octopus, context):
    octopus.has(1, start_ms=clock.now_ms - 60_000)
    do(context, reconcile)
    board.observe(TASK, [{"id": "Machines-1", "name": "web-01"}], info={})
    octopus.has(1, "Success", start_ms=clock.now_ms - 60_000)

    do(context, reconcile)

    assert state(board, 1) == "ended"
    assert not is_busy(board)


def test_run_that_joins_between_the_list_and_the_start_waits(board, clock, octopus, context):
    octopus.has(1, start_ms=clock.now_ms - 60_000)
    holds(board, 2, "Machines-1")
    octopus.has(2, start_ms=clock.now_ms - 60_000)
    octopus.after_list = lambda: holds(board, 1, "Machines-1")

    do(context, reconcile)

    assert state(board, 1) == "waiting"


def test_run_that_is_reconciled_between_the_list_and_the_start_stays_ended(board, clock, octopus, context):
    """Another worker sees its end in the meantime, without the time of it."""
    start_ms = clock.now_ms - 60_000
    octopus.has(1, start_ms=start_ms)
    holds(board, 1, "Machines-1")

    seen = board.place(TASK)
    octopus.after_list = lambda: board.release(TASK, cause="reconciled", seen=seen, ended=TaskEnd("succeeded"))
    do(context, reconcile)

    assert state(board, 1) == "released"
    assert not is_busy(board)


class Then:
    """A client of Octopus; *happens* is called between its list and who gets it."""

    def __init__(self, client: Any, happens: Callable[[], None]) -> None:
        self._client, self._happens = client, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def asking(self, **manner: Any) -> Any:
        return Then(self._client.asking(**manner), self._happens)

    def listed_tasks(self, **options: Any) -> Any:
        found = self._client.listed_tasks(**options)
        self._happens()
        return found


STEPS = st.lists(
    st.sampled_from(["reconcile", "started", "ended", "resolve", "join", "leave", "wait"]), min_size=1, max_size=12
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=STEPS, amid=STEPS, after=STEPS)
def test_nothing_stays_busy_with_a_task_that_has_ended_in_whatever_order(
    make_board, make_context, octopus, redis_url, before, amid, after
):
    """Before its end, between a list and what comes of it, and after; webhooks come or do not."""
    board = make_board()
    board.client.delete(*board.all_keys())
    board.open("test")
    clock, context = Clock(board), make_context(board)
    start_ms = clock.now_ms - 60_000
    octopus.has(1, start_ms=start_ms)
    end_ms = 0

    def step(name: str) -> None:
        if name in ("reconcile", "resolve"):
            do(context, {"reconcile": reconcile, "resolve": resolve}[name])
        elif name == "started":
            tells(board, Effect.STARTED, start_ms)
        elif name == "ended" and end_ms:
            tells(board, Effect.ENDED, end_ms)
        elif name == "join" and not end_ms:
            holds(board, 1, "Machines-1")
        elif name == "leave":
            board.release(TASK, cause="step")
        elif name == "wait":
            clock.advance(timedelta(seconds=3))

    def happens() -> None:
        nonlocal end_ms
        for name in amid:
            step(name)
        end_ms = clock.now_ms
        octopus.has(1, "Success", start_ms=start_ms)

    for name in before:
        step(name)
    do(replace(context, octopus=Then(context.octopus, happens)), reconcile)
    for name in after:
        step(name)
    clock.advance(timedelta(minutes=10))
    for key in board.client.scan_iter(board.keys.named("resolving:", "*"), count=10_000):
        board.client.delete(key)
    do(context, reconcile)
    do(context, resolve)
    do(context, reconcile)

    assert not is_busy(board)


# What Octopus does not say


def test_what_is_listed_no_longer_has_not_ended(board, clock, octopus, context):
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-2", "Spaces-2")
    octopus.has(1, start_ms=clock.now_ms)
    octopus.has(2, start_ms=clock.now_ms, space="Spaces-2")
    octopus.has(3, start_ms=clock.now_ms, space="Spaces-2")
    do(context, reconcile)
    octopus.tasks.clear()

    for _ in range(3):
        do(context, reconcile)

    assert [state(board, number) for number in (1, 2, 3)] == ["granted", "granted", "started"]


def test_what_the_list_says_has_ended_ends(board, clock, octopus, context):
    """A version that ignores the filter lists those that have ended, too; it is asked about nobody else."""
    octopus.knows_filters = False
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-2")
    octopus.has(1, "Failed", start_ms=clock.now_ms, CompletedTime=None)
    octopus.has(2, start_ms=clock.now_ms)

    do(context, reconcile)

    assert [state(board, number) for number in (1, 2)] == ["released", "granted"]
    assert len(octopus.asked) == 1


def test_maintenance_of_two_hours_ends_nothing(board, clock, octopus, context):
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-1")
    tells(board, Effect.STARTED, clock.now_ms, "ServerTasks-3", number=3)
    octopus.is_in_maintenance = True

    for _ in range(24):
        clock.advance(timedelta(minutes=5))
        for job in (watch, reconcile):
            with pytest.raises(OctopusBusy):
                do(context, job)
        do(context, resolve)

    assert [state(board, number) for number in (1, 2, 3)] == ["granted", "waiting", "started"]
    octopus.is_in_maintenance = False
    octopus.has(1, "Success")
    octopus.has(2)
    do(context, watch)
    assert [state(board, number) for number in (1, 2)] == ["released", "granted"], "the first look after it ends it"


@pytest.mark.parametrize("status", [403, 404, 500])
def test_hidden_space_of_the_settings_hides_no_start_elsewhere(board, clock, octopus, make_context, status):
    context = make_context(board, octopus_spaces=("Spaces-1", "Spaces-2"))
    octopus.statuses["Spaces-1"] = status
    octopus.has(2, start_ms=clock.now_ms, space="Spaces-2")

    do(context, reconcile)

    assert state(board, 2) == "started"


def test_only_spaces_of_the_settings_are_listed(board, clock, octopus, make_context):
    context = make_context(board, octopus_spaces=("Spaces-2",))
    octopus.has(1, start_ms=clock.now_ms, space="Spaces-1")
    octopus.has(2, start_ms=clock.now_ms, space="Spaces-2")

    do(context, reconcile)

    assert [state(board, number) for number in (1, 2)] == [None, "started"]
    assert len(octopus.lists()) == 1


def test_many_spaces_of_the_settings_are_listed_in_turns(board, octopus, make_context):
    names = tuple(f"Spaces-{number}" for number in range(1, 21))
    context = make_context(board, octopus_spaces=names)

    for number in range(1, 4):
        do(context, reconcile)
        assert len(octopus.lists()) == 7 * number

    assert {asked.split("/")[2] for asked in octopus.lists()} == set(names)


def test_endless_list_is_read_as_far_as_it_is_newest(board, clock, octopus, context):
    for number in range(1, MOST_LISTED + 300):
        octopus.has(number, "Queued")
    octopus.has(9999, start_ms=clock.now_ms)

    do(context, reconcile)

    assert state(board, 9999) == "started"
    assert len(octopus.lists()) <= 7


def test_task_that_cannot_be_read_hides_no_other(board, clock, octopus, context):
    octopus.has(1, start_ms=clock.now_ms)
    octopus.has(2, start_ms=clock.now_ms)
    octopus.tasks["servertasks-1"]["Id"] = None

    with capture_logs() as logs:
        do(context, reconcile)

    assert state(board, 2) == "started"
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == [
        "Octopus lists a task that cannot be read"
    ]


def test_closed_board_is_told_of_starts_by_the_rebuild_alone(board, clock, octopus, context):
    """It gives the steps that wait time to come back first."""
    board.close(by="ann")
    octopus.has(1, start_ms=clock.now_ms)

    do(context, reconcile)

    assert state(board, 1) is None
    assert octopus.asked == []


# Pauses


@pytest.mark.parametrize(
    "fields", [{"HasPendingInterruptions": True}, {"PendingInterruptionTypes": ["ManualIntervention"]}]
)
def test_pause_of_a_run_that_nobody_told_of_is_seen(board, clock, octopus, context, fields):
    octopus.has(1, "Queued", start_ms=clock.now_ms - 1000, **fields)

    do(context, reconcile)

    assert board.place(TASK).run.paused is True


@pytest.fixture
def giving(make_board: Any) -> Board:
    """A board whose paused runs give their machines away."""
    return make_board(Policy(paused_holds=False))


def gives_way(board: Board, clock: Clock) -> None:
    """It worked, was paused for a person, and gave its machines away."""
    tells(board, Effect.STARTED, clock.now_ms - 60_000)
    board.observe(TASK, [{"id": "Machines-1", "name": "web-01"}], info={})
    tells(board, Effect.PAUSED, clock.now_ms)
    assert not is_busy(board)


def test_run_that_gave_way_and_went_on_untold_makes_its_machines_busy(giving, octopus, make_context):
    clock = Clock(giving)
    gives_way(giving, clock)
    clock.advance(timedelta(minutes=1))
    octopus.has(1, start_ms=clock.now_ms - 120_000)

    do(make_context(giving), reconcile)

    assert state(giving, 1) == "observed"


def test_run_that_gave_way_and_is_paused_still_holds_nothing(giving, octopus, make_context):
    clock = Clock(giving)
    gives_way(giving, clock)
    clock.advance(timedelta(minutes=1))
    octopus.has(1, "Queued", start_ms=clock.now_ms - 120_000, HasPendingInterruptions=True)

    do(make_context(giving), reconcile)

    assert not is_busy(giving)


def test_run_that_gives_way_while_octopus_answers_is_not_taken_for_resumed(giving, octopus, make_context):
    """The answer is from before its pause."""
    clock = Clock(giving)
    octopus.has(1, start_ms=clock.now_ms - 120_000)
    octopus.after_list = lambda: gives_way(giving, clock)

    do(make_context(giving), reconcile)

    assert not is_busy(giving)


@pytest.mark.parametrize(("seconds", "is_put_off"), [(1, False), (40, True)])
def test_look_that_took_long_lets_other_jobs_have_their_turn(board, octopus, context, monkeypatch, seconds, is_put_off):
    """It is asked for again before it is over, and goes before what is not urgent: catch up, notices, the archive."""
    times = iter([0, seconds, 100, 101])
    monkeypatch.setattr(reconcile, "monotonic", lambda: next(times))

    do(context, reconcile)
    do(context, reconcile)
    assert len(octopus.lists()) == (1 if is_put_off else 2)

    left = board.client.pttl(board.keys.named("resolving:", "reconcile"))
    assert (0 < left <= 500 * context.settings.reconcile_seconds) is is_put_off
    board.client.delete(board.keys.named("resolving:", "reconcile"))
    monkeypatch.setattr(reconcile, "monotonic", lambda: 0)
    before = len(octopus.lists())
    do(context, reconcile)
    assert len(octopus.lists()) == before + 1
