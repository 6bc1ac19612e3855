"""Who waited for whom, on histories that the real board wrote."""

import os
import uuid
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.coordination.board import Board
from app.coordination.connection import connect
from app.coordination.past import Past
from app.coordination.snapshot import take
from app.coordination.timeline import Filter, Timeline
from app.domain.errors import GateError
from app.domain.events import Effect, Event
from app.domain.replay import Hold, Replay, Wait
from app.domain.run import Run
from app.domain.stretches import Reason
from tests.conftest import Clock

MACHINES = ["Machines-1", "Machines-2", "Machines-3"]

tasks = st.sampled_from([f"ServerTasks-{number}" for number in range(1, 9)])
machine_sets = st.sets(st.sampled_from(MACHINES), min_size=1)

#: What happens, most often somebody joining or giving back.
moves = st.lists(
    st.one_of(
        st.tuples(st.just("join"), tasks, machine_sets, st.integers(-1, 1), st.sampled_from([None, None, 70])),
        st.tuples(st.just("join"), tasks, machine_sets, st.just(0), st.none()),
        st.tuples(st.just("release"), tasks),
        st.tuples(st.just("release"), tasks),
        st.tuples(st.just("poll"), tasks),
        st.tuples(st.just("prioritize"), tasks, st.integers(-2, 2)),
        st.tuples(st.just("reserve"), st.sampled_from(MACHINES), st.sampled_from([None, 60])),
        st.tuples(st.just("unreserve"), st.sampled_from(MACHINES)),
        st.tuples(st.just("start"), tasks, machine_sets),
        st.tuples(st.just("end"), tasks),
        st.tuples(st.just("advance"), st.integers(1, 90)),
    ),
    min_size=5,
    max_size=60,
)


class World:
    """A board on which moves are made, and what it looked like after each."""

    def __init__(self, url):
        self.client = connect(url)
        self.board = Board(self.client, namespace=f"h{uuid.uuid4().hex[:12]}")
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
        self.board.join(Run(task, priority=priority, timeout=limit), machines, ttl=timedelta(seconds=100))

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


def holding(snapshot, machine, task):
    """Who makes the machine busy for that task, the longest first."""
    held = snapshot.machine(machine)
    return sorted((h for h in held.holders if h.task_id != task), key=lambda h: h.since_ms) if held else []


def ahead(snapshot, machine, task):
    line = [waiter.task_id for waiter in snapshot.machine(machine).line]
    return line[: line.index(task)]


def check_against(snapshot, wait, stretch):
    """That the stretch says of its blocker what the board showed at that moment."""
    held = {machine: holding(snapshot, machine, wait.task_id) for machine in wait.machines}
    longest = min((h.since_ms for holders in held.values() for h in holders), default=None)
    if longest is not None:
        assert stretch.reason in (Reason.HOLDER, Reason.RESERVATION)
        found = [h for h in held[stretch.machine_id] if h.since_ms == longest]
        assert (stretch.task_id, stretch.reason is Reason.RESERVATION) in [
            (h.task_id, h.kind == "reservation") for h in found
        ]
        return
    assert stretch.reason is Reason.AHEAD
    assert stretch.task_id == ahead(snapshot, stretch.machine_id, wait.task_id)[0]


playing = settings(
    max_examples=int(os.environ.get("MODEL_EXAMPLES", "60")),
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=list(HealthCheck),
    database=None,
)


@playing
@given(moves=moves)
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
@given(moves=moves)
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
@given(moves=moves)
def test_past_of_one_run_says_what_a_replay_of_everything_says(redis_url, moves):
    world = played(redis_url, moves)
    now_ms = world.clock.now_ms
    replay = Replay()
    waits = [told for told in map(replay.apply, world.timeline.read(Filter())) if isinstance(told, Wait)]
    waits += replay.waiting(now_ms)

    for task in {wait.task_id for wait in waits}:
        assert world.past.waits_of(task, now_ms=now_ms) == [wait for wait in waits if wait.task_id == task]
    world.client.close()
