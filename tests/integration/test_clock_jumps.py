"""Rule 17: a clock of the Redis server that jumps ends nothing that is not over, and keeps nobody who is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from app.coordination.board import Policy
from app.coordination.snapshot import take
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.store.clock import BoardClock, boot_ms
from app.store.connection import connect
from tests.bench.world import calls_of
from tests.chaos.store import STORES, NoStore, Store, a_clock
from tests.conftest import eventually, opened
from tests.open_board import OpenBoard

A, B, C, D = (f"Machines-{number}" for number in range(1, 5))

#: Seconds by which a clock jumps that somebody sets.
JUMPS = (600, -600)


class Here:
    """A machine whose clocks run; a test lets time pass on it."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def boot_ms(self) -> int:
        return boot_ms() + self.passed_ms


class Stage:
    """A server whose clock can be set, and processes on one machine that use it."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.store = store
        self.namespace = namespace
        self.here = Here()
        self.clients = []
        self.board = opened(self.process())
        self.timeline = Timeline(self.board.client, self.board.keys)

    def process(self, connections: int = 50) -> OpenBoard:
        self.clients.append(connect(self.store.url, max_connections=connections))
        board = OpenBoard(
            self.clients[-1], namespace=self.namespace, policy=Policy(max_hold=timedelta(minutes=5))
        )  # fmt: skip
        board.script._clock = BoardClock(board.client, board.keys, boot_clock=self.here.boot_ms)
        return board

    def pass_time(self, seconds: float) -> None:
        """Time passes everywhere."""
        self.here.passed_ms += round(seconds * 1000)
        self.store.shift(seconds)

    def kinds(self) -> list[str]:
        return [record.kind for record in self.timeline.read(Filter())]

    def state(self, number: int) -> str:
        place = self.board.place(f"ServerTasks-{number}")
        return str(place.state) if place else "unknown"


@pytest.fixture(params=STORES)
def stage(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator[Stage]:
    try:
        store = Store(request.param, tmp_path, clock=a_clock(tmp_path))
        store.start()
    except NoStore as error:
        pytest.skip(str(error))
    stage = Stage(store, namespace)
    yield stage
    for client in stage.clients:
        client.close()
    store.kill()


@pytest.fixture
def peopled(stage: Stage) -> Stage:
    """Some hold, some wait, one of them for three minutes at most, and a machine is reserved for a minute."""
    board = stage.board
    board.join(RunRequest("ServerTasks-1"), {A})
    board.join(RunRequest("ServerTasks-2", timeout=timedelta(minutes=3)), {A})
    board.join(RunRequest("ServerTasks-3"), {A})
    board.join(RunRequest("ServerTasks-4", parked=True), {A})
    board.reserve(C, note="work", by="ann", until_ms=board.now_ms() + 60_000)
    return stage


@pytest.fixture(params=["who was there", "who came later"])
def somebody(request: pytest.FixtureRequest, peopled: Stage) -> Callable[[], OpenBoard]:
    """The process that acts first after a jump."""
    return (lambda: peopled.board) if request.param == "who was there" else peopled.process


@pytest.mark.parametrize("seconds", JUMPS)
def test_jump_ends_nothing(peopled, somebody, seconds):
    before_ms = peopled.board.now_ms()

    peopled.store.shift(seconds)
    somebody().sweep()

    assert [peopled.state(number) for number in (1, 2, 3, 4)] == ["granted", "waiting", "waiting", "waiting"]
    assert peopled.kinds().count("clock_jumped") == 1
    assert not {"expired", "timed_out", "released", "unreserved"} & set(peopled.kinds())
    assert 0 <= peopled.board.now_ms() - before_ms < 60_000
    snapshot = take(peopled.board.client, peopled.board.keys)
    assert 0 <= snapshot.now_ms - before_ms < 60_000


@pytest.mark.parametrize("seconds", JUMPS)
def test_after_a_jump_everything_ends_in_its_time(peopled, seconds):
    board = peopled.board
    board.sweep()
    peopled.store.shift(seconds)
    board.sweep()

    peopled.pass_time(61)
    board.sweep()
    assert "unreserved" in peopled.kinds()
    for task in (2, 3):
        board.poll(f"ServerTasks-{task}")
    peopled.pass_time(100)
    board.poll("ServerTasks-2")
    assert [peopled.state(number) for number in (1, 2, 3)] == ["granted", "waiting", "waiting"]
    # The third one is dead: the head goes when it has waited for three minutes, and then nobody dead is let through.
    peopled.pass_time(30)
    board.sweep()
    assert [peopled.state(number) for number in (1, 2, 3)] == ["granted", "timed_out", "expired"]
    peopled.pass_time(130)
    board.sweep()

    assert peopled.state(1) == "released" and peopled.board.place("ServerTasks-1").run.cause == "max_hold"
    assert peopled.state(4) == "granted"


@pytest.mark.parametrize("seconds", JUMPS)
def test_no_duration_is_negative(peopled, seconds):
    board = peopled.board
    peopled.store.shift(seconds)

    board.release("ServerTasks-1")

    durations = [
        ms for record in peopled.timeline.read(Filter()) for name, ms in record.detail.items()
        if name in ("held_ms", "waited_ms")
    ]  # fmt: skip
    assert len(durations) >= 2 and all(0 <= ms < 60_000 for ms in durations)
    stamps = [record.at_ms for record in peopled.timeline.read(Filter())]
    assert stamps == sorted(stamps)


def test_jumps_of_two_processes_are_undone_once(peopled):
    other = peopled.process()
    other.sweep()
    peopled.store.shift(600)

    other.sweep()
    peopled.board.sweep()
    other.poll("ServerTasks-2")

    assert peopled.kinds().count("clock_jumped") == 1
    shift = int(peopled.board.client.hget(peopled.board.keys.counters, "shift_ms"))
    assert abs(shift + 600_000) < 2_000


def test_time_that_passed_is_no_jump(peopled):
    for _ in range(3):
        peopled.pass_time(50)
        for task in (2, 3):
            peopled.board.poll(f"ServerTasks-{task}")
    assert "clock_jumped" not in peopled.kinds()

    # Nobody was there for an hour.
    peopled.pass_time(3600)
    peopled.board.sweep()
    assert "clock_jumped" not in peopled.kinds()
    assert peopled.state(3) == "expired"


def test_call_that_comes_late_changes_nothing_until_the_clocks_are_compared(peopled):
    """A process was stopped between the moment when it read its clock and the moment when Redis got its call."""
    board, clock = peopled.board, peopled.board.script._clock
    board.sweep()
    late = clock.expectation()
    peopled.pass_time(600)
    calls = iter([late])
    clock.expectation = lambda: next(calls, BoardClock.expectation(clock))

    board.release("ServerTasks-1")

    assert "clock_jumped" not in peopled.kinds()
    assert peopled.state(1) == "released"


@pytest.mark.parametrize("is_stale", [False, True])
def test_wait_for_a_connection_is_no_jump(peopled, is_stale):
    """Each call would be made again, and wait anew, for as long as many wait longer than a clock may go wrong."""
    board = peopled.process(connections=1)
    board.place("ServerTasks-1")
    if is_stale:
        board.script._clock._looked_at_ms -= 61_000
    pool = board.client.connection_pool
    connection = pool.take()
    before = calls_of(peopled.board.client, "evalsha", "exec")
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(board.place, "ServerTasks-1")
        eventually(lambda: len(pool.pool._waiting) == 1)
        peopled.pass_time(10)
        pool.give_back(connection)
        assert asking.result(10).state == "granted"

    assert calls_of(peopled.board.client, "evalsha", "exec") - before == 1 + is_stale
    least, most = board.script._clock._last.least_ms, board.script._clock._last.most_ms
    assert most - least < 1_000
