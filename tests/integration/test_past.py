"""Who waited for whom, on histories that the real board wrote."""

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.coordination.snapshot import take
from app.domain.analysis.fronts import Reason
from app.domain.analysis.ledger import By, Ledger
from app.domain.analysis.replay import Hold, Replay, Wait
from app.domain.errors import GateError
from app.domain.events import Effect, Event
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.followers.learner import Learner
from app.history.intervals import WAITS_IN_A_TURN, Past
from app.history.timeline import Timeline
from app.store.connection import connect
from tests.bench.world import calls_of
from tests.conftest import Clock, opened
from tests.open_board import OpenBoard, estimates_on

MACHINES = ["Machines-1", "Machines-2", "Machines-3"]

tasks = st.sampled_from([f"ServerTasks-{number}" for number in range(1, 9)])
machine_sets = st.sets(st.sampled_from(MACHINES), min_size=1)

#: What happens, most often somebody joining or giving back.
moves = st.lists(
    st.one_of(
        st.tuples(st.just("join"), tasks, machine_sets, st.integers(-1, 1), st.sampled_from([None, None, 70])),
        st.tuples(st.just("join"), tasks, machine_sets, st.just(0), st.none()),
        st.tuples(st.just("child"), tasks, tasks, machine_sets),
        st.tuples(st.just("release"), tasks),
        st.tuples(st.just("release"), tasks),
        st.tuples(st.just("poll"), tasks),
        st.tuples(st.just("prioritize"), tasks, st.integers(-2, 2)),
        st.tuples(st.just("reserve"), st.sampled_from(MACHINES), st.sampled_from([None, 60])),
        st.tuples(st.just("unreserve"), st.sampled_from(MACHINES)),
        st.tuples(st.just("start"), tasks, machine_sets),
        st.tuples(st.just("end"), tasks),
        st.tuples(st.just("close")),
        st.tuples(st.just("open")),
        st.tuples(st.just("open")),
        st.tuples(st.just("advance"), st.integers(1, 90)),
    ),
    min_size=5,
    max_size=60,
)

#: The same where most are children of others, who may be children themselves and ask before their parents do.
families = st.lists(
    st.one_of(
        st.tuples(st.just("child"), tasks, tasks, machine_sets),
        st.tuples(st.just("child"), tasks, tasks, st.sets(st.sampled_from(MACHINES), min_size=1, max_size=1)),
        st.tuples(st.just("join"), tasks, machine_sets, st.just(0), st.none()),
        st.tuples(st.just("release"), tasks),
        st.tuples(st.just("start"), tasks, machine_sets),
        st.tuples(st.just("reserve"), st.sampled_from(MACHINES), st.none()),
        st.tuples(st.just("unreserve"), st.sampled_from(MACHINES)),
    ),
    min_size=10,
    max_size=60,
)


class World:
    """A board on which moves are made, and what it looked like after each."""

    def __init__(self, url):
        self.client = connect(url)
        self.board = opened(OpenBoard(self.client, namespace=f"h{uuid.uuid4().hex[:12]}"))
        self.clock = Clock(self.board)
        self.timeline = Timeline(self.client, self.board.keys)
        self.past = Past(self.client, self.board.keys)
        self.seen = []

    def play(self, moves):
        for move in moves:
            # No two moves in one millisecond, and no look in that of a move: then a look tells which front it saw.
            self.clock.advance(timedelta(milliseconds=2))
            try:
                getattr(self, move[0])(*move[1:])
            except GateError:
                pass
            self.clock.advance(timedelta(milliseconds=2))
            self.seen.append(take(self.client, self.board.keys, offset_ms=self.board.script.offset_ms))

    def join(self, task, machines, priority, timeout):
        limit = timedelta(seconds=timeout) if timeout else None
        self.board.join(RunRequest(task, priority=priority, timeout=limit), machines, ttl=timedelta(seconds=100))

    def child(self, task, parent, machines):
        self.board.join(RunRequest(task, on_behalf_of=parent), machines, ttl=timedelta(seconds=100))

    def close(self):
        self.board.close(by="ann")

    def open(self):
        self.board.open("operator", by="ann")

    def release(self, task):
        self.board.release(task)

    def poll(self, task):
        self.board.poll(task)

    def prioritize(self, task, priority):
        self.board.prioritize(task, priority, by="ann", reason="hotfix")

    def reserve(self, machine, seconds):
        until_ms = self.clock.now_ms + seconds * 1000 if seconds else None
        self.board.reserve(machine, note="disk", by="ann", until_ms=until_ms)

    def unreserve(self, machine):
        self.board.unreserve(machine, by="ann")

    def start(self, task, machines):
        self._event(task, Effect.STARTED)
        self.board.observe(task, [{"id": machine, "name": machine} for machine in machines], info={})

    def end(self, task):
        self._event(task, Effect.ENDED)

    def _event(self, task, effect):
        key = f"events-{uuid.uuid4().hex}"
        self.board.deliver(Event(key, key, f"Deployment{effect}", effect, self.clock.now_ms, task, None))

    def advance(self, seconds):
        self.clock.advance(timedelta(seconds=seconds))
        self.board.sweep()

    def told(self):
        """All waits, those that go on too, and all holds, by a replay of every record."""
        replay = Replay()
        ended = [told for told in map(replay.apply, self.timeline.read(Filter())) if told]
        return ended + list(replay.waiting(self.clock.now_ms))


def played(url, moves):
    world = World(url)
    world.play(moves)
    return world


def holding(snapshot, machine, task, family):
    """Who makes the machine busy for that task, the longest first; None where only its family does."""
    found = snapshot.machine(machine)
    busy = [h for h in found.holders if h.kind in ("lease", "observed")]
    others = [h for h in busy if h.task_id != task and (family is None or h.family != family)]
    if family is not None and busy and not others:
        return None
    reserved = [] if family is not None and others else [h for h in found.holders if h.kind == "reservation"]
    return sorted(others + reserved, key=lambda h: h.since_ms)


def ahead(snapshot, machine, task):
    line = [waiter.task_id for waiter in snapshot.machine(machine).line]
    return line[: line.index(task)]


def check_against(snapshot, wait, stretch):
    """That the stretch says of its blocker what the board showed at that moment."""
    if snapshot.closed_since_ms is not None:
        assert stretch.reason is Reason.REBUILDING
        return
    lines = [snapshot.machine(machine).line for machine in wait.machines]
    family = next(w.run.family for w in lines[0] if w.task_id == wait.task_id)
    held = {machine: holding(snapshot, machine, wait.task_id, family) for machine in wait.machines}
    longest = min((h.since_ms for holders in held.values() for h in holders or ()), default=None)
    if longest is not None:
        assert stretch.reason in (Reason.HOLDER, Reason.RESERVATION)
        found = [h for h in held[stretch.machine_id] if h.since_ms == longest]
        assert (stretch.task_id, stretch.reason is Reason.RESERVATION) in [
            (h.task_id, h.kind == "reservation") for h in found
        ]
        return
    assert stretch.reason is Reason.AHEAD
    assert held[stretch.machine_id] is not None
    assert stretch.task_id == ahead(snapshot, stretch.machine_id, wait.task_id)[0]


playing = settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", "60")),
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=list(HealthCheck),
    database=None,
)


@playing
@given(moves=moves | families)
def test_stretches_add_up_to_the_wait_and_name_who_was_in_the_way(redis_url, moves):
    world = played(redis_url, moves)
    waits = [told for told in world.told() if isinstance(told, Wait)]
    said = {}
    for record in world.timeline.read(Filter()):
        if "waited_ms" in record.detail:
            said[record.task_id, record.at_ms] = record.detail["waited_ms"]

    assert {(w.task_id, w.to_ms): w.waited_ms for w in waits if w.outcome != "waiting"} == said
    for wait in waits:
        assert sum(stretch.to_ms - stretch.from_ms for stretch in wait.stretches) == wait.waited_ms
        assert [s.from_ms for s in wait.stretches[1:]] == [s.to_ms for s in wait.stretches[:-1]]
        assert not wait.stretches or wait.stretches[0].from_ms == wait.from_ms
        for stretch in wait.stretches:
            for snapshot in world.seen:
                if stretch.from_ms <= snapshot.now_ms < stretch.to_ms:
                    check_against(snapshot, wait, stretch)
    world.client.close()


@playing
@given(moves=moves | families)
def test_holds_last_as_long_as_the_board_says(redis_url, moves):
    world = played(redis_url, moves)
    holds = [told for told in world.told() if isinstance(told, Hold)]
    said = {}
    for record in world.timeline.read(Filter()):
        if "held_ms" in record.detail:
            said[record.task_id, record.at_ms] = record.detail["held_ms"]

    assert {(h.task_id, h.to_ms): h.held_ms for h in holds if h.waited_ms is not None}.items() >= said.items()
    world.client.close()


@playing
@given(moves=moves | families)
def test_past_of_one_run_says_what_a_replay_of_everything_says(redis_url, moves):
    world = played(redis_url, moves)
    now_ms = world.clock.now_ms
    replay = Replay()
    waits = [told for told in map(replay.apply, world.timeline.read(Filter())) if isinstance(told, Wait)]
    waits += replay.waiting(now_ms)

    for task in {wait.task_id for wait in waits}:
        assert world.past.waits_of(task, now_ms=now_ms) == [wait for wait in waits if wait.task_id == task]
    world.client.close()


@playing
@given(moves=moves | families, share=st.floats(0, 1), length=st.floats(0, 1), steps=st.sampled_from([1, 7, 1000]))
def test_a_range_says_the_same_from_a_checkpoint_and_from_the_beginning(redis_url, moves, share, length, steps):
    world = played(redis_url, moves)
    now_ms = world.clock.now_ms + 1
    first_ms = next(world.timeline.read(Filter())).at_ms if world.timeline.last_id() != "0-0" else now_ms
    from_ms = first_ms + int(share * (now_ms - first_ms))
    to_ms = from_ms + int(length * (now_ms - from_ms))
    before = list(world.past.intervals(from_ms=from_ms, to_ms=to_ms))
    alone = {task: world.past.waits_of(task, now_ms=now_ms) for task in {told.task_id for told in before}}

    learner = Learner(world.client, world.board.keys, checkpoint_every=3)
    while learner.learn(most=steps):
        pass

    assert list(world.past.intervals(from_ms=from_ms, to_ms=to_ms)) == before
    assert {task: world.past.waits_of(task, now_ms=now_ms) for task in alone} == alone
    whole = [told for told in world.told() if isinstance(told, Wait)]
    clipped = sum(max(0, min(w.to_ms, to_ms) - max(w.from_ms, from_ms)) for w in whole)
    assert sum(told.lost_ms for told in before if isinstance(told, Wait)) == clipped
    for by in By:
        book = Ledger(by, from_ms=from_ms)
        for told in before:
            book.add(told)
        assert sum(row.lost_ms for row in book.rows()) == book.total().lost_ms == clipped
    world.client.close()


def test_a_run_that_was_seen_elsewhere_is_not_in_the_way_any_more(board, clock):
    """Its record of joining other machines is not among those of the machine that it gave up."""
    board.deliver(Event("e1", "e1", "DeploymentStarted", Effect.STARTED, clock.now_ms, "ServerTasks-1", None))
    board.observe("ServerTasks-1", [{"id": "Machines-1", "name": "web-01"}], info={})
    board.reserve("Machines-1", note="disk", by="ann")
    board.join(RunRequest("ServerTasks-2"), {"Machines-1"}, ttl=timedelta(hours=1))
    clock.advance(timedelta(minutes=1))
    board.join(RunRequest("ServerTasks-1"), {"Machines-2"})
    clock.advance(timedelta(minutes=1))
    board.unreserve("Machines-1", by="ann")

    [wait] = Past(board.client, board.keys).waits_of("ServerTasks-2", now_ms=clock.now_ms)

    assert [(str(s.reason), s.task_id) for s in wait.stretches] == [("holder", "ServerTasks-1"), ("reservation", None)]


class Deployments:
    """Deployments to one machine, one after another."""

    def __init__(self, board, clock):
        self.board, self.clock = board, clock
        self.numbers = iter(range(1, 1000))

    def join(self, project="Projects-1", machines=("Machines-7",)):
        info = {"project": {"id": project}, "environment": {"id": "Environments-1"}}
        return self.board.join(
            RunRequest(f"ServerTasks-{next(self.numbers)}", info), set(machines), ttl=timedelta(days=9)
        )

    def hold(self, minutes, **how):
        place = self.join(**how)
        self.clock.advance(timedelta(minutes=minutes))
        assert self.board.release(place.task_id) == "released"


@pytest.fixture
def deployments(board, clock):
    return Deployments(board, clock)


@pytest.fixture
def learner(board):
    return Learner(board.client, board.keys)


@pytest.fixture
def foresee(board):
    """A place as a process sees it that has cached nothing."""
    return lambda place: estimates_on(board).with_eta(place)


def test_no_history_no_eta(deployments, foresee):
    deployments.join()
    waiting = foresee(deployments.join())

    assert waiting.eta_ms is None
    assert "xpected" not in waiting.message


def test_eta_is_what_such_runs_took_less_what_the_holder_has_taken(deployments, learner, foresee, clock, board):
    for _ in range(5):
        deployments.hold(10)
    learner.learn()
    deployments.join()
    clock.advance(timedelta(minutes=4))

    second, third = foresee(deployments.join()), foresee(deployments.join())

    assert second.eta_ms.p50 == pytest.approx(6 * 60_000, abs=2_000)
    assert third.eta_ms.p50 == pytest.approx(16 * 60_000, abs=2_000)
    assert third.message.endswith(f" has held it for 4 min. {third.eta_ms.message}")


def test_slowest_line_decides_and_the_first_of_another_line_is_waited_for(deployments, learner, foresee, board):
    for _ in range(3):
        deployments.hold(10)
        deployments.hold(50, project="Projects-2", machines=("Machines-8",))
    learner.learn()
    deployments.join(project="Projects-2", machines=("Machines-8",))
    deployments.join(machines=("Machines-7", "Machines-8"))

    both, one = foresee(deployments.join(machines=("Machines-7", "Machines-8"))), foresee(deployments.join())

    assert both.eta_ms.p50 == pytest.approx(60 * 60_000, rel=0.05)
    assert one.eta_ms.p50 == pytest.approx(70 * 60_000, rel=0.05)


@pytest.mark.parametrize("until", [None, timedelta(minutes=30)])
def test_a_reservation_is_foretold_when_it_has_an_end(deployments, learner, foresee, clock, board, until):
    deployments.hold(10)
    learner.learn()
    until_ms = clock.now_ms + until // timedelta(milliseconds=1) if until else None
    board.reserve("Machines-7", note="disk", by="ann", until_ms=until_ms)

    waiting = foresee(deployments.join())

    assert (waiting.eta_ms and round(waiting.eta_ms.p50 / 60_000)) == (30 if until else None)


def test_who_has_held_for_longer_than_anybody_has_no_eta(deployments, learner, foresee, clock):
    deployments.hold(10)
    learner.learn()
    deployments.join()
    clock.advance(timedelta(minutes=11))

    assert foresee(deployments.join()).eta_ms is None


def test_a_long_line_is_foretold_beyond_the_runs_that_are_named(deployments, learner, foresee, board):
    for _ in range(3):
        deployments.hold(10)
    learner.learn()
    places = [deployments.join() for _ in range(40)]

    last = foresee(board.place(places[-1].task_id))

    assert len(last.machines[0].ahead) == 20 and last.place == 39
    assert last.eta_ms.p50 == pytest.approx(390 * 60_000, rel=0.02)


@pytest.mark.parametrize("spans", [True, False], ids=["while it holds", "before it holds"])
def test_a_clock_that_goes_back_teaches_nothing(deployments, learner, foresee, board, clock, spans):
    """The ids of records stand still until the clock has come to them again: all that was is of no length by them."""
    board.note("gap")
    held = deployments.join() if spans else None
    clock.advance(timedelta(hours=-1))
    if held:
        clock.advance(timedelta(minutes=10))
        board.release(held.task_id)
    for _ in range(3):
        deployments.hold(10)
    learner.learn()
    deployments.join()
    waiting = foresee(deployments.join())

    assert waiting.eta_ms is None
    assert not board.client.exists(board.keys.named("past:durations"))

    clock.advance(timedelta(hours=2))
    board.release(waiting.machines[0].holders[0].task_id)
    learner.learn()
    report = estimates_on(board).accuracy()
    assert (report["waits"], report["without_eta"]) == (0, 0)


def test_those_far_behind_in_a_line_share_what_is_known_of_the_first(deployments, learner, board, monkeypatch):
    for project in ("Projects-1", "Projects-2"):
        deployments.hold(10, project=project)
        deployments.hold(30, project=project, machines=("Machines-8",))
    learner.learn()
    both = [("Machines-7",), ("Machines-8",), ("Machines-7", "Machines-8")]
    tasks = [deployments.join(machines=both[number % 3]).task_id for number in range(120)]
    # As if there were more in line than a process looks at.
    monkeypatch.setattr("app.history.estimates.MOST_LOOKS", 0)
    places = [place for task in tasks if (place := board.place(task)).is_waiting]
    shared = estimates_on(board)

    etas = [shared.eta(place) for place in places]
    alone = [estimates_on(board).eta(place) for place in places]

    assert [eta.p50 for eta in etas] == pytest.approx([eta.p50 for eta in alone], abs=5_000)
    assert [eta.p90 for eta in etas] == pytest.approx([eta.p90 for eta in alone], abs=5_000)
    assert len(set(etas)) > 50


def test_a_forced_end_teaches_nothing(deployments, learner, foresee, board, clock):
    forced = deployments.join()
    clock.advance(timedelta(minutes=10))
    board.release(forced.task_id, cause="forced", by="ann", reason="stuck")
    learner.learn()
    deployments.join()

    assert foresee(deployments.join()).eta_ms is None


def test_accuracy_compares_the_first_prediction_with_the_truth(deployments, learner, foresee, board, clock):
    for _ in range(3):
        deployments.hold(10)
    learner.learn()
    for minutes in (5, 15):
        holder = deployments.join()
        foresee(deployments.join())
        clock.advance(timedelta(minutes=minutes))
        board.release(holder.task_id)
        [machine] = take(board.client, board.keys).machines
        board.release(machine.holders[0].task_id)
    learner.learn()

    report = estimates_on(board).accuracy()

    assert (report["waits"], report["within_p50"], report["within_p90"]) == (2, 1, 1)
    assert report["mean_error_ms"] == pytest.approx(5 * 60_000, abs=2_000)
    assert [week["waits"] for week in report["weeks"]] == [2]
    assert not board.client.hlen(board.keys.named("past:predictions"))


def test_a_record_is_learned_once_by_however_many(deployments, board, clock):
    for _ in range(4):
        deployments.hold(1)
    learners = [Learner(connect_like(board), board.keys) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda learner: [learner.learn(most=2) for _ in range(20)], learners))

    kept = board.client.hget(board.keys.named("past:durations"), "all")
    assert len(kept.split(b",")) == 4


def connect_like(board):
    return redis.Redis(connection_pool=board.client.connection_pool)


def test_kinds_that_are_kept_are_bounded(deployments, board, monkeypatch):
    monkeypatch.setattr("app.followers.learner.MOST_KINDS", 10)
    for number in range(12):
        deployments.hold(1, project=f"Projects-{number}")
    Learner(board.client, board.keys).learn()

    kept = board.client.hkeys(board.keys.named("past:durations"))
    assert len(kept) == 9
    assert b"all" in kept and b"project:projects-11" in kept and b"project:projects-0" not in kept


def test_a_wait_for_very_many_machines_is_told_the_same_at_the_cost_of_its_time(board, clock, monkeypatch):
    machines = [f"Machines-{n}" for n in range(12)]
    for number, wish in enumerate([machines[:3], machines[2:5], machines, machines[4:]]):
        board.join(RunRequest(f"ServerTasks-{number}"), wish)
        clock.advance(timedelta(seconds=1))
    for number in (0, 1):
        board.release(f"ServerTasks-{number}")
        clock.advance(timedelta(seconds=1))
    past = Past(board.client, board.keys)

    def waits():
        before = calls_of(board.client, "xrange")
        told = past.waits_of("ServerTasks-2", now_ms=clock.now_ms)
        return told, calls_of(board.client, "xrange") - before

    by_machine, many = waits()
    monkeypatch.setattr("app.history.intervals.MOST_INDEXES", 5)
    by_time, few = waits()

    assert by_time == by_machine and len(by_machine[0].stretches) > 1
    assert few <= 3 < len(machines) < many


def test_what_is_replayed_gives_turns(board, clock, monkeypatch):
    turns = []
    monkeypatch.setattr("app.store.fairness.time.sleep", turns.append)
    for number in range(2 * WAITS_IN_A_TURN):
        board.join(RunRequest(f"ServerTasks-{number}"), ["Machines-1"])
    clock.advance(timedelta(seconds=1))

    list(Past(board.client, board.keys).intervals(from_ms=0, to_ms=clock.now_ms))

    assert len(turns) >= 2


def test_each_record_of_a_run_for_very_many_machines_gives_a_turn(board, clock, monkeypatch):
    turns = []
    monkeypatch.setattr("app.store.fairness.time.sleep", turns.append)
    monkeypatch.setattr("app.history.timeline.BYTES_IN_A_TURN", 500)
    wide = [f"Machines-{n}" for n in range(100)]
    for number in range(10):
        board.join(RunRequest(f"ServerTasks-{number}"), wide)
    begun = len(turns)

    assert len(list(Timeline(board.client, board.keys).changes(Filter()))) >= 10
    assert len(turns) - begun == 11  # Of the ten who asked, and of the first, who was granted.

    monkeypatch.setattr("app.history.intervals.MACHINES_IN_A_TURN", 100)
    monkeypatch.setattr("app.history.timeline.BYTES_IN_A_TURN", 10**9)
    begun = len(turns)
    [wait] = Past(board.client, board.keys).waits_of("ServerTasks-9", now_ms=clock.now_ms + 1)
    assert wait.outcome == "waiting" and len(turns) - begun >= 11
