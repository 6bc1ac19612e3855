"""A task that ran again while nobody told: what catch up makes of its end and the start that follows, read together."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import pytest

from app.coordination.board import Board, Policy
from app.domain.events import Effect, Event, parse_event
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.octopus.errors import OctopusUnreachable
from tests.conftest import Clock, an_event, services_on
from tests.integration.octopus_tells import Octopus
from tests.integration.rules.helpers import kinds, seconds
from tests.integration.spaces_of_octopus import at
from workers.catch_up import CatchUp, changes_of
from workers.context import Context

TASK, NEXT = "ServerTasks-1", "ServerTasks-9"

#: Where the process runs, so that its machines are remembered.
INFO = {"space_id": "Spaces-1", "project": {"id": "Projects-7"}, "environment": {"id": "Environments-2"}}

STARTED, SUCCEEDED, CANCELED = "DeploymentStarted", "DeploymentSucceeded", "DeploymentCanceled"
PAUSED = "ManualInterventionInterruptionRaised"


class Events:
    """The events of an Octopus Server: ``GET /events``, newest first.

    Attributes:
        failing: Spaces that do not answer.
        asked: What was asked for: from, to and spaces of each request.
    """

    def __init__(self, clock: Clock, failing: Collection[str] = ()) -> None:
        self._clock, self.failing = clock, failing
        self._events: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[int, int, Collection[str]]] = []

    def happens(
        self, category: str, *, task: int | None = 1, after: timedelta = timedelta(minutes=1), is_tied: bool = False
    ) -> None:
        """Let it occur, *after* what was before, or in the millisecond in which the event before it did."""
        if not is_tied:
            self._clock.advance(after)
        number, occurred_ms = len(self._events) + 1, self._events[-1][0] if is_tied else self._clock.now_ms
        related = ["Deployments-1", "Projects-7", "Environments-2"]
        event = an_event(category, number=number, task=task, occurred=at(occurred_ms), related=related)
        self._events.append((occurred_ms, event))
        return number

    @property
    def latest(self) -> dict[str, Any]:
        return self._events[-1][1]

    def event_categories(self) -> list[Any]:
        class Category:
            id = STARTED

        return [Category]

    def events(self, *, from_ms: int, to_ms: int, categories: Any, spaces: Collection[str]) -> list[dict[str, Any]]:
        self.asked.append((from_ms, to_ms, spaces))
        if set(spaces) & set(self.failing):
            raise OctopusUnreachable("timed out")
        return [event for occurred_ms, event in reversed(self._events)
                if from_ms <= occurred_ms <= to_ms and (not spaces or event["SpaceId"] in spaces)]  # fmt: skip


@pytest.fixture
def board(make_board: Callable[..., Board]) -> Board:
    return make_board(Policy(has_key=True, paused_holds=False))


@pytest.fixture
def events(clock: Clock) -> Events:
    return Events(clock)


@pytest.fixture
def make_context(board: Board, redis_url: str) -> Callable[..., Context]:
    def make(**settings: Any) -> Context:
        services = services_on(
            board, redis_url, octopus_url="http://127.0.0.1:9", octopus_api_key="API-KEY", **settings
        )
        return Context(services, None)

    return make


@pytest.fixture
def catch_up(make_context: Callable[..., Context], events: Events) -> Callable[..., bool]:
    """Reads all that has happened."""

    def read(**settings: Any) -> bool:
        return CatchUp(make_context(**settings), events).run()  # type: ignore[arg-type]

    return read


def waits(board: Board, task: str = NEXT, machine: str = "Machines-7") -> str:
    return str(board.join(RunRequest(task), {machine}, ttl=timedelta(hours=90)).state)


def state(board: Board, task: str = TASK) -> str:
    place = board.place(task)
    return str(place.state) if place else "unknown"


def unresolved(board: Board) -> list[str]:
    return [task.decode() for task in board.client.zrange(board.keys.unresolved, 0, -1)]


def holds(board: Board, **request: Any) -> None:
    board.join(RunRequest(TASK, info=INFO, **request), {"Machines-7"}, ttl=timedelta(hours=90))
    board.poll(TASK, claim=request.get("claim"))


def is_observed(board: Board, clock: Clock) -> None:
    octopus = Octopus(board, clock)
    octopus.tells(Effect.STARTED, TASK, number=900, info=INFO)
    board.observe(TASK, [{"id": "Machines-7"}], info={})


@pytest.mark.parametrize("kind", ["granted", "observed", "started"])
@pytest.mark.parametrize("is_waited_for", [True, False])
def test_re_run_has_its_machines_without_a_moment_between(
    board, clock, events, catch_up, timeline, kind, is_waited_for
):
    if kind == "granted":
        holds(board)
    elif kind == "observed":
        is_observed(board, clock)
    else:
        holds(board)
        board.release(TASK)
        clock.advance(timedelta(minutes=5))
        Octopus(board, clock).tells(Effect.STARTED, TASK, number=900, info=INFO)
    assert state(board) == kind
    if is_waited_for:
        assert waits(board) == "waiting"
    first = board.place(TASK).run.run
    events.happens(SUCCEEDED)
    events.happens(STARTED)

    catch_up()

    assert (state(board), unresolved(board), board.place(TASK).run.run) == ("started", [TASK], first + 1)
    assert is_waited_for or waits(board) == "waiting"
    assert state(board, NEXT) == "waiting"
    # It works elsewhere now, as a trigger runs it for other machines.
    board.observe(TASK, [{"id": "Machines-8"}], info={})
    assert state(board, NEXT) == "granted"
    assert waits(board, "ServerTasks-10", "Machines-8") == "waiting"
    told = [(r.kind, r.run) for r in timeline.read(Filter(task_id=TASK)) if r.kind in ("released", "ended", "observed")]
    assert told[-2:] == [("released" if kind == "granted" else "ended", first), ("observed", first + 1)]


def test_machines_that_no_process_is_known_by_stay_busy_as_well(board, clock, events, catch_up):
    board.join(RunRequest(TASK), {"Machines-7"}, ttl=timedelta(hours=90))
    waits(board)
    events.happens(SUCCEEDED)
    events.happens(STARTED)

    catch_up()

    assert (state(board), state(board, NEXT)) == ("started", "waiting")


def test_end_that_no_start_follows_frees_at_once_and_is_told_once(board, clock, events, catch_up, timeline):
    holds(board)
    waits(board)
    events.happens(SUCCEEDED)

    catch_up()
    catch_up()

    assert (state(board), state(board, NEXT)) == ("released", "granted")
    assert kinds(timeline, task_id=TASK).count("event") == 1
    [record] = timeline.read(Filter(kind="caught_up"))
    assert (record.detail["missed"], kinds(timeline).count("released")) == (1, 1)


def test_end_that_the_start_of_another_task_of_its_deployment_follows_is_its_own(board, clock, events, catch_up):
    """A trigger runs the deployment as another task, for machines that were left out the first time."""
    holds(board)
    waits(board)
    events.happens(SUCCEEDED)
    events.happens(STARTED, task=2)

    catch_up()

    assert (state(board), state(board, "ServerTasks-2"), state(board, NEXT)) == ("released", "started", "granted")


def test_end_that_is_told_as_that_of_the_deployment_and_of_the_task(board, clock, events, catch_up):
    holds(board)
    waits(board)
    events.happens(SUCCEEDED)
    events.happens("TaskSucceeded", after=timedelta(milliseconds=5))
    events.happens(STARTED)

    catch_up()

    assert (state(board), state(board, NEXT), board.place(TASK).run.run) == ("started", "waiting", 2)


def test_short_run_that_runs_again_at_once_is_two(board, clock, events, catch_up):
    holds(board)
    waits(board)
    events.happens(SUCCEEDED, after=seconds(2))
    events.happens(STARTED, after=seconds(2))
    clock.advance(seconds(60))

    catch_up()

    assert (state(board), unresolved(board), state(board, NEXT)) == ("started", [TASK], "waiting")


@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("twin", [None, "TaskSucceeded"])
def test_run_that_begins_in_the_millisecond_in_which_the_one_before_ends(
    board, clock, events, catch_up, timeline, is_told, twin
):
    holds(board)
    waits(board)
    events.happens(SUCCEEDED)
    if is_told:
        # A webhook had told of the end, and the waiter that was granted then ended before the next start was read.
        assert board.deliver(parse_event(events.latest)) == "applied"
        board.release(NEXT)
        waits(board, "ServerTasks-10", "Machines-8")
    if twin:
        events.happens(twin, is_tied=True)
    events.happens(STARTED, is_tied=True)

    catch_up()

    assert (state(board), board.place(TASK).run.run, unresolved(board)) == ("started", 2, [TASK])
    assert is_told or state(board, NEXT) == "waiting"
    assert waits(board, "ServerTasks-11") == "waiting"
    records = timeline.read(Filter(kind="event", task_id=TASK))
    assert [r.detail.get("follows") for r in records] == [None, *(["Events-1"] * (2 if twin else 1))]


def test_several_runs_of_a_task_are_told_apart(board, clock, events, catch_up):
    is_observed(board, clock)
    for category in (SUCCEEDED, STARTED, SUCCEEDED, STARTED):
        events.happens(category)

    catch_up()

    assert (state(board), board.place(TASK).run.run, waits(board)) == ("started", 3, "waiting")


@pytest.mark.parametrize("task", [1, None])
def test_end_is_read_with_the_start_of_the_next_stretch(board, clock, events, make_context, task):
    """Of long stretches as of those that were halved since they took too many requests."""
    holds(board)
    waits(board)
    context = make_context()
    context.services.catch_up.set_read_to(clock.now_ms)
    events.happens(SUCCEEDED, after=timedelta(hours=6) - seconds(3))
    events.happens(STARTED if task else SUCCEEDED, task=task or 3, after=seconds(10))
    clock.advance(timedelta(hours=1))

    CatchUp(context, events).run()

    assert len(events.asked) > 1
    assert (state(board), state(board, NEXT)) == (("started", "waiting") if task else ("released", "granted"))


def test_space_that_does_not_answer_keeps_no_other_from_what_was_read(board, clock, events, catch_up):
    holds(board)
    waits(board)
    events.happens(SUCCEEDED)
    events.failing = ["Spaces-2"]

    with pytest.raises(OctopusUnreachable):
        catch_up(octopus_spaces=("Spaces-1", "Spaces-2"))

    assert (state(board), state(board, NEXT)) == ("released", "granted")


def test_run_that_a_pause_had_taken_its_machines_from_works_again(board, clock, events, catch_up):
    holds(board)
    for category in (PAUSED, CANCELED, STARTED):
        events.happens(category)

    catch_up()

    assert (state(board), unresolved(board), waits(board)) == ("started", [TASK], "waiting")
    assert not board.place(TASK).run.paused


@pytest.mark.parametrize("cause", ["step", "reconciled", "forced"])
def test_run_that_was_over_already_works_again(board, clock, events, catch_up, cause):
    holds(board)
    clock.advance(seconds(60))
    board.release(TASK, cause=cause)
    events.happens(SUCCEEDED, after=seconds(1))
    events.happens(STARTED, after=seconds(3))

    catch_up()

    assert (state(board), unresolved(board), waits(board)) == ("started", [TASK], "waiting")


@pytest.mark.parametrize("parked", [False, True])
def test_waiter_that_was_cancelled_and_works_now_holds_its_machines(board, clock, events, catch_up, parked):
    waits(board, "ServerTasks-2")
    waits(board)
    board.join(RunRequest(TASK, info=INFO, parked=parked), {"Machines-7"}, ttl=timedelta(hours=90))
    events.happens(CANCELED)
    events.happens(STARTED)

    catch_up()
    board.release("ServerTasks-2")

    assert (state(board), state(board, NEXT)) == ("started", "waiting")


def test_late_request_of_the_run_before_ends_nothing(board, clock, events, catch_up):
    holds(board, claim="first")
    waits(board)
    events.happens(SUCCEEDED)
    events.happens(STARTED)
    catch_up()

    assert board.release(TASK, claim="first") == "nothing"

    assert (state(board), state(board, NEXT)) == ("started", "waiting")


def test_what_was_known_of_the_run_before_is_not_of_the_next(board, clock, events, catch_up):
    is_observed(board, clock)
    board.note_cancelling(board.place(TASK))
    events.happens(CANCELED)
    events.happens(STARTED)

    catch_up()

    run = board.place(TASK).run
    assert (run.run, run.paused, run.cancelling_at_ms) == (2, False, None)


def test_start_that_a_webhook_tells_does_not_make_an_end_true_that_a_webhook_told(board, clock):
    """Whoever knows the secret could tell both, and free what the step had named beyond the machines of its process."""
    holds(board)
    waits(board)
    clock.advance(seconds(60))
    octopus = Octopus(board, clock)
    assert board.deliver(octopus.event(Effect.ENDED, TASK), confirm=True) == "unconfirmed"
    clock.advance(seconds(1))

    board.deliver(octopus.event(Effect.STARTED, TASK), confirm=True)

    assert (state(board), board.place(TASK).run.run, state(board, NEXT)) == ("granted", 1, "waiting")


def test_ends_and_starts_of_several_tasks_are_not_mixed() -> None:
    def event(number: int, effect: Effect, task: str | None, deployment: str | None = None) -> Event:
        return Event(f"events-{number}", f"Events-{number}", "", effect, number, task, deployment)

    ended, started = Effect.ENDED, Effect.STARTED
    given = [
        event(1, ended, "ServerTasks-1"), event(2, ended, None, "Deployments-1"), event(3, ended, "SERVERTASKS-1"),
        event(4, ended, "ServerTasks-2"), event(5, started, "ServerTasks-1", "Deployments-1"), event(6, started, None),
        event(7, ended, None), event(8, started, "ServerTasks-1"), event(9, started, "ServerTasks-2"),
    ]  # fmt: skip

    groups = [[each.occurred_ms for each in group] for group in changes_of(given)]

    assert groups == [[1, 3, 5], [2], [4, 9], [6], [7], [8]]


def begins(board: Board, clock: Clock, kind: str, task: str, machine: str) -> None:
    """Let the task be in a state of that *kind* before its end is told."""
    octopus = Octopus(board, clock)
    request, number = RunRequest(task, info=INFO, parked="parked" in kind), 900 + int(task[-1])
    if "waiting" in kind:
        waits(board, f"{task}0", machine)
    if kind in ("observed", "paused", "cancelling"):
        octopus.tells(Effect.STARTED, task, number=number, info=INFO)
        board.observe(task, [{"id": machine}], info={})
    elif kind != "unknown":
        board.join(request, {machine}, ttl=timedelta(hours=90))
        board.poll(task)
    clock.advance(seconds(60))
    if kind == "paused":
        octopus.tells(Effect.PAUSED, task, number=number + 10)
    elif kind == "cancelling":
        board.note_cancelling(board.place(task))
        clock.advance(timedelta(minutes=12))
    elif kind in ("released", "reconciled", "forced"):
        board.release(task, cause="step" if kind == "released" else kind)
    elif kind == "expired":
        clock.advance(timedelta(hours=100))
        board.sweep()


KINDS = (
    "unknown", "granted", "granted and parked", "observed", "paused", "cancelling", "released", "reconciled", "forced",
    "waiting", "waiting and parked", "expired",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_twin", [False, True])
@pytest.mark.parametrize("pause", [1, 60])
@pytest.mark.parametrize("outcome", ["succeeded", "canceled"])
def test_as_one_change_means_what_changes_of_means(make_board, kind, is_twin, pause, outcome):
    board = make_board(Policy(has_key=True, paused_holds=False, abandoned_grace=timedelta(minutes=10)))
    clock = Clock(board)
    results = []
    for number, is_together in ((1, True), (2, False)):
        task = f"ServerTasks-{number}"
        begins(board, clock, kind, task, f"Machines-{number}")
        octopus = Octopus(board, clock)
        ids = iter(range(100 * number, 100 * number + 9))
        events = [octopus.event(Effect.ENDED, task, number=next(ids), outcome=outcome, info=INFO)]
        if is_twin:
            clock.advance(timedelta(milliseconds=5))
            events.append(octopus.event(Effect.ENDED, task, number=next(ids), outcome=outcome))
        clock.advance(seconds(pause))
        events.append(octopus.event(Effect.STARTED, task, number=next(ids), info=INFO))
        clock.advance(seconds(60))
        if is_together:
            outcomes = board.deliver_as_one(events, via="catch_up")
        else:
            outcomes = [board.deliver(event, via="catch_up") for event in events]
        run = board.place(task).run
        results.append((outcomes, run.state, run.run, run.paused, run.cancelling_at_ms, task in unresolved(board)))
        assert not list(board.audit.repair())

    assert results[0] == results[1]
