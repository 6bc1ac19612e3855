"""Processes that are killed, and a server that is, at the moments that matter."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.domain.events import Effect, Event
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.store.connection import connect
from app.store.embedded import EmbeddedServer
from app.store.errors import StoreUnreachable
from tests.conftest import ROOT, eventually, opened
from tests.open_board import OpenBoard

MINUTE = timedelta(minutes=1)

# What a step does, on the library: it says what it knows, as soon as it knows it.
STEP = """
import sys
from datetime import timedelta
from app.coordination.board import Board
from app.store.connection import connect
from app.domain.run import RunRequest
url, namespace, task = sys.argv[1:]
board = Board(connect(url), namespace=namespace, blocking=connect(url, blocking=True))
print(board.join(RunRequest(task), {"Machines-7"}, ttl=timedelta(minutes=1)).state, flush=True)
print(board.wait(task, timeout=timedelta(minutes=1)).state, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start_step(redis_url, namespace):
    """Starts a step in a process of its own that waits for Machines-7 by now."""
    processes = []

    def start(task):
        process = subprocess.Popen(
            [sys.executable, "-c", STEP, redis_url, namespace, task],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "waiting\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def kill(process):
    process.kill()
    process.wait()


@pytest.fixture
def line(board, start_step):
    """ServerTasks-1 holds, ServerTasks-2 is a process that waits, ServerTasks-3 waits behind it and lives long."""
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    process = start_step("ServerTasks-2")
    board.join(RunRequest("ServerTasks-3"), {"Machines-7"}, ttl=60 * MINUTE)
    return process


def is_blocked_in_redis(board):
    return board.client.info("clients")["blocked_clients"] > 0


def test_waiter_killed_in_line_leaves_it(board, clock, line):
    kill(line)

    clock.advance(2 * MINUTE)
    board.release("ServerTasks-1")

    assert board.place("ServerTasks-2").state == "expired"
    assert board.place("ServerTasks-3").is_granted


def test_waiter_killed_in_line_and_restarted_in_time_keeps_its_place(board, clock, line, start_step):
    kill(line)
    clock.advance(MINUTE / 2)

    start_step("ServerTasks-2")

    assert board.place("ServerTasks-2").place == 1
    assert board.place("ServerTasks-3").place == 2


def test_waiter_killed_at_the_moment_of_its_grant_loses_it(board, clock, line):
    """Stopped, it is granted and cannot collect; then it is killed."""
    eventually(lambda: is_blocked_in_redis(board))
    line.send_signal(signal.SIGSTOP)
    board.release("ServerTasks-1")
    assert board.place("ServerTasks-2").is_granted
    kill(line)

    clock.advance(2 * MINUTE)

    assert board.poll("ServerTasks-3").is_granted
    assert "not collected" in board.place("ServerTasks-2").reason


def test_waiter_killed_right_after_its_grant_holds_until_its_task_ends(board, clock, line):
    board.release("ServerTasks-1")
    assert line.stdout.readline() == "granted\n"
    kill(line)
    clock.advance(10 * MINUTE)
    assert board.poll("ServerTasks-3").is_waiting

    board.deliver(
        Event("events-1", "Events-1", "TaskCanceled", Effect.ENDED, clock.now_ms, "ServerTasks-2", None, "canceled")
    )

    assert board.place("ServerTasks-3").is_granted


def test_waiter_that_was_only_slow_learns_that_it_was_removed(board, clock, line):
    """Stopped for longer than its time to live, it finds out with its next look and did not get the machine."""
    eventually(lambda: is_blocked_in_redis(board))
    line.send_signal(signal.SIGSTOP)
    clock.advance(2 * MINUTE)
    board.release("ServerTasks-1")
    assert board.place("ServerTasks-3").is_granted

    line.send_signal(signal.SIGCONT)

    assert line.stdout.readline() == "expired\n"


@pytest.fixture
def mortal(tmp_path):
    """A server of the test's own."""
    server = EmbeddedServer(tmp_path)
    server.acquire()
    yield server
    server.release()


def test_blocked_waiters_keep_their_places_when_redis_dies(mortal):
    board = opened(OpenBoard(connect(mortal.url), blocking=connect(mortal.url, blocking=True)))
    tasks = [f"ServerTasks-{number}" for number in range(1, 21)]
    board.join(RunRequest("ServerTasks-0"), {"Machines-7"})
    for task in tasks:
        board.join(RunRequest(task), {"Machines-7"})
    is_back, cut_off, served = threading.Event(), [], []

    def wait_and_release(task):
        while True:
            try:
                place = board.wait(task, timeout=timedelta(seconds=30))
            except StoreUnreachable:
                cut_off.append(task)
                assert is_back.wait(30)
                continue
            assert place.is_granted
            served.append(task)
            return board.release(task)

    with ThreadPoolExecutor(len(tasks)) as pool:
        outcomes = pool.map(wait_and_release, tasks)
        eventually(lambda: board.client.info("clients")["blocked_clients"] == len(tasks))
        mortal.stop(signal.SIGKILL)
        eventually(lambda: len(cut_off) == len(tasks))
        assert mortal.revive()
        places = [board.place(task).place for task in tasks]
        is_back.set()
        board.release("ServerTasks-0")

    granted = [r.task_id for r in Timeline(board.client, board.keys).read(Filter(kind="granted"))]
    assert list(outcomes) == ["released"] * len(tasks)
    assert places == list(range(1, len(tasks) + 1))
    assert granted == ["ServerTasks-0", *tasks]
    assert served == tasks


def test_what_was_acknowledged_is_there_after_redis_died(mortal):
    boards = [opened(OpenBoard(connect(mortal.url))) for _ in range(4)]
    acknowledged, enough = [], threading.Event()

    def join_until_it_dies(number):
        for turn in range(1_000_000):
            task = f"ServerTasks-{number}-{turn}"
            try:
                place = boards[number].join(RunRequest(task), {f"Machines-{turn % 5}"})
            except StoreUnreachable:
                return
            acknowledged.append((task, place.fencing_token))
            if len(acknowledged) > 200:
                enough.set()

    with ThreadPoolExecutor(len(boards)) as pool:
        pool.map(join_until_it_dies, range(len(boards)))
        assert enough.wait(30)
        mortal.stop(signal.SIGKILL)
    assert mortal.revive()

    assert [(task, boards[0].place(task).fencing_token) for task, _ in acknowledged] == acknowledged
    tokens = [token for _, token in acknowledged if token]
    for task, token in acknowledged:
        if token:
            boards[0].release(task)
    granted = [r.detail["token"] for r in Timeline(boards[0].client, boards[0].keys).read(Filter(kind="granted"))]
    assert len(tokens) == 5
    assert granted == sorted(set(granted))
    assert len(granted) >= 10
