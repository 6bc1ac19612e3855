"""REDIS_REPLICAS: nobody is told of a grant before so many replicas of Redis have it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from app.coordination.board import Policy
from app.coordination.tracked import TrackedRuns
from app.domain.faults import shortcomings
from app.domain.run import RunRequest
from app.store.connection import connect
from app.store.persistence import read_condition
from app.store.replication import Copier, Replicas, priority_of_replica
from tests.chaos.store import STORES, NoStore, Store
from tests.conftest import Clock, eventually, opened
from tests.open_board import OpenBoard

A = "Machines-1"

#: Milliseconds to wait for a replica that does not come.
SOON = 400


@dataclass
class Pair:
    """A primary and its replica, whose process can be stopped: then it copies nothing."""

    primary: Store
    replica: Store

    def is_settled(self) -> bool:
        """Whether the replica copies, and has in its file what it got at first."""
        info = self.replica.client().info()
        return info["master_link_status"] == "up" and not (
            info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
        )

    def cut(self) -> None:
        self.replica.signal(signal.SIGSTOP)

    def mend(self) -> None:
        self.replica.signal(signal.SIGCONT)

    def fail_over(self) -> None:
        """The primary is gone for good, and its replica takes over, without what has not come out of its network."""
        self.primary.kill()
        self.replica.kill()
        self.replica.start()


@pytest.fixture(params=STORES)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    stores = [Store(request.param, tmp_path / name) for name in ("primary", "replica")]
    try:
        for store in stores:
            store.directory.mkdir()
            store.start()
    except NoStore as error:
        pytest.skip(str(error))
    made = Pair(*stores)
    made.replica.client().replicaof("127.0.0.1", made.primary.port)
    eventually(made.is_settled)
    yield made
    made.mend()
    for store in stores:
        store.kill()


@pytest.fixture
def board_on(namespace: str) -> Iterator[Callable[..., OpenBoard]]:
    """A board that wants one replica to have each grant, on a store."""
    clients = []

    def make(store: Store, *, with_files: bool = True, timeout_ms: int = SOON) -> OpenBoard:
        clients.extend([connect(store.url), connect(store.url, blocking=True), connect(store.url, max_connections=1)])
        client, blocking, own = clients[-3:]
        replicas = Replicas(own, 1, with_files=with_files, timeout_ms=timeout_ms)
        board = OpenBoard(
            client, namespace=namespace, policy=Policy(replicas=1), blocking=blocking, replicas=replicas
        )  # fmt: skip
        opened(board)
        board.sweep(serving=True)
        # Time that a test skips is no outage.
        client.hdel(board.keys.counters, "served_at")
        return board

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def board(pair: Pair, board_on: Callable[..., OpenBoard]) -> OpenBoard:
    return board_on(pair.primary)


def wakes(board: OpenBoard, number: int) -> list[bytes]:
    """The wake list of a run, on which clients of Redis block."""
    return list(board.client.lrange(board.keys.wake(f"ServerTasks-{number}"), 0, -1))


def due(board: OpenBoard) -> list[str]:
    """The runs whose intervention is to be answered."""
    return list(TrackedRuns(board.client, board.keys).due_resumes(Clock(board).now_ms))


def test_grant_that_a_replica_has_is_told_at_once(pair, board_on):
    board = board_on(pair.primary, timeout_ms=10_000)
    place = board.join(RunRequest("ServerTasks-1"), {A})

    assert place.is_granted and place.is_new and place.run.collected
    assert wakes(board, 1) == [b"granted"]


@pytest.mark.parametrize("claim", [None, "0123456789abcdef"])
def test_grant_that_no_replica_has_is_told_to_nobody(pair, board, claim):
    pair.cut()

    place = board.join(RunRequest("ServerTasks-1", claim=claim), {A})
    assert place.is_waiting and place.is_new and place.message.startswith("Waiting: its grant is being copied")
    assert board.poll("ServerTasks-1", claim=claim).is_waiting
    assert board.poll("ServerTasks-1", claim=claim, blocks=True).is_waiting
    assert board.look("ServerTasks-1").is_waiting
    assert wakes(board, 1) == []
    # It holds all the same: nobody else gets the machine.
    assert board.place("ServerTasks-1").is_granted and not board.place("ServerTasks-1").run.collected
    assert board.join(RunRequest("ServerTasks-2"), {A}).place == 1

    pair.mend()
    assert eventually(lambda: board.poll("ServerTasks-1", claim=claim).is_granted)
    assert wakes(board, 1) == [b"granted"]
    board.poll("ServerTasks-1", claim=claim)
    assert board.place("ServerTasks-1").run.collected


def test_grant_of_somebody_else_s_script_is_told_when_it_is_copied(pair, board):
    board.join(RunRequest("ServerTasks-1"), {A})
    board.join(RunRequest("ServerTasks-2"), {A})
    pair.cut()

    board.release("ServerTasks-1")
    assert wakes(board, 2) == [] and board.poll("ServerTasks-2").is_waiting

    pair.mend()
    assert eventually(lambda: board.look("ServerTasks-2").is_granted)
    assert wakes(board, 2) == [b"granted"]


def test_primary_that_is_cut_off_hands_out_nothing_that_a_fail_over_loses(pair, board, board_on):
    board.join(RunRequest("ServerTasks-1"), {A})
    board.join(RunRequest("ServerTasks-2"), {A})
    assert eventually(board.has_copies)
    pair.cut()
    board.release("ServerTasks-1")
    told = [board.poll("ServerTasks-2"), board.join(RunRequest("ServerTasks-3"), {"Machines-3"})]
    assert not any(place.is_granted for place in told)

    pair.fail_over()
    after = board_on(pair.replica)

    # What it does not know was told to nobody: whoever asks now is the only one that works there.
    assert after.place("ServerTasks-3") is None
    assert after.place("ServerTasks-1").is_granted and after.place("ServerTasks-2").is_waiting


def test_uncopied_grant_lives_as_long_as_its_step_asks(pair, board):
    clock = Clock(board)
    pair.cut()
    board.join(RunRequest("ServerTasks-1"), {A}, ttl=timedelta(seconds=60))

    for _ in range(4):
        clock.advance(timedelta(seconds=40))
        assert board.poll("ServerTasks-1").is_waiting
    clock.advance(timedelta(seconds=61))
    board.sweep()

    assert board.place("ServerTasks-1").run.cause == "uncollected"


@pytest.mark.parametrize("claim", [None, "0123456789abcdef"])
def test_claim_step_that_was_not_told_of_its_grant_is_resumed(pair, board, claim):
    clock = Clock(board)
    pair.cut()

    assert board.join(RunRequest("ServerTasks-1", parked=True, claim=claim), {A}).is_waiting

    # Its step ends now, and the intervention of its task is answered when the grant is copied.
    clock.advance(timedelta(hours=2))
    board.sweep()
    assert due(board) == ["ServerTasks-1"]
    place = board.place("ServerTasks-1")
    assert place.is_granted and not board.has_copied_grant(place)
    pair.mend()
    assert eventually(lambda: board.has_copied_grant(board.place("ServerTasks-1")))
    assert due(board) == ["ServerTasks-1"]


@pytest.mark.parametrize("claim", [None, "0123456789abcdef"])
def test_claim_step_that_asks_again_hears_of_its_grant_and_is_not_resumed(pair, board, claim):
    run = RunRequest("ServerTasks-1", parked=True, claim=claim)
    pair.cut()
    assert board.join(run, {A}).is_waiting
    pair.mend()

    assert eventually(lambda: board.join(run, {A}).is_granted)

    assert due(board) == []


def test_client_that_blocks_on_redis_is_told_when_the_grant_is_copied(pair, board):
    pair.cut()
    board.join(RunRequest("ServerTasks-1"), {A})
    threading.Timer(0.5, pair.mend).start()

    assert board.wait("ServerTasks-1", timeout=timedelta(seconds=20)).is_granted


def test_nobody_waits_for_replicas_where_none_are_needed(redis_url, namespace):
    client = connect(redis_url)
    board = opened(OpenBoard(client, namespace=namespace))
    board.sweep(serving=True)

    assert board.join(RunRequest("ServerTasks-1"), {A}).run.collected
    board.join(RunRequest("ServerTasks-2"), {A})
    board.release("ServerTasks-1")
    assert board.has_copies() and wakes(board, 2) == [b"granted"]
    client.close()


def test_those_who_ask_at_the_same_time_share_one_wait(pair, board):
    own = connect(pair.primary.url, max_connections=1)
    copier = Copier(Replicas(own, 1, timeout_ms=5000), lambda pipe, items: pipe.rpush("items", *items))
    copier.copy("first of all, to see which commands the server has")
    first = threading.Thread(target=copier.copy, args=(0,))
    pair.cut()

    def writes() -> int:
        return int(pair.primary.client().info("commandstats")["cmdstat_rpush"]["calls"])

    before = writes()
    first.start()
    eventually(lambda: writes() == before + 1)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(copier.copy(n)[1])) for n in range(1, 31)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(copier._next.items) == 30)

    pair.mend()

    for thread in (first, *threads):
        thread.join(20)
    assert answers == [True] * 30
    assert writes() == before + 2
    own.close()


def test_replica_without_a_file_is_enough_only_where_no_file_is_asked_for(pair, board_on):
    pair.replica.client().config_set("appendonly", "no")
    strict, light = board_on(pair.primary), board_on(pair.primary, with_files=False)
    # Debian's Redis is of before WAITAOF.
    knows_files = "waitaof" in pair.primary.client().command()

    assert strict.join(RunRequest("ServerTasks-1"), {A}).is_granted == (not knows_files)
    assert light.join(RunRequest("ServerTasks-2"), {"Machines-2"}).is_granted


def test_condition_has_the_replicas_that_copy(pair):
    client = connect(pair.primary.url)
    condition = read_condition(client, "web", "default")

    assert condition.replicas == (("127.0.0.1", pair.replica.port),)
    assert priority_of_replica(client, "127.0.0.1", pair.replica.port) == 100
    pair.replica.client().config_set("replica-priority", 0)
    assert priority_of_replica(client, "127.0.0.1", pair.replica.port) == 0
    assert priority_of_replica(client, "127.0.0.1", 1) is None
    few = shortcomings(condition, min_fsync="always", allows_eviction=False, replicas=2)
    assert [fault.code for fault in few] == ["redis_replicas"]
    assert not shortcomings(condition, min_fsync="always", allows_eviction=False, replicas=1)
    client.close()
