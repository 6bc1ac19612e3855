"""Many who block in web processes that are replaced, or stopped and started; and what they cost Redis."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.followers.metric_values import MetricValues
from tests.bench.blocked import get
from tests.bench.restarts import Crowd, replace, stop_and_start, with_claim
from tests.bench.wire import Line, close_all, http
from tests.bench.world import processes_of
from tests.conftest import eventually

WAITERS = 200

#: Of one web process, whatever it does.
MOST_CONNECTIONS = 8


@pytest.fixture
def blocked(board):
    """How many requests block in all web processes."""
    return MetricValues(board.client, board.keys).blocked


@pytest.fixture
def service(board, make_service):
    return make_service(OCTOWAIT_WEB_PROCESSES="2")


@pytest.fixture
def crowd(board, service, a_run, blocked):
    runs = [with_claim(a_run()) for _ in range(WAITERS + 1)]
    for run in runs:
        board.join(run, {Crowd.MACHINE})
    crowd = Crowd(service, [run.task_id for run in runs[1:]])
    thread = threading.Thread(target=crowd.run)
    thread.start()
    eventually(lambda: blocked() == WAITERS, timeout=30)
    yield crowd
    crowd.end()
    thread.join()


@pytest.mark.parametrize("restart", [replace, stop_and_start])
def test_nobody_is_broken_off_when_web_processes_are_restarted(service, crowd, blocked, restart):
    before = processes_of(service)

    restart(service)
    eventually(lambda: crowd.all_ask and blocked() == WAITERS, timeout=30)

    # One that minds the others, and is replaced by none.
    assert len(processes_of(service)) == len(before) == 3
    assert set(processes_of(service)) & set(before) == ({before[0]} if restart is replace else set())
    assert crowd.counts["waiting"] == WAITERS, crowd.counts
    others = {"joined", "refused"} if restart is stop_and_start else set()
    assert set(crowd.counts) <= {"waiting"} | others


def test_new_web_process_that_dies_before_it_serves_is_followed_by_another(service):
    eventually(lambda: len(processes_of(service)) == 3)
    master, *old = processes_of(service)
    os.kill(master, signal.SIGHUP)
    new = eventually(lambda: set(processes_of(service)) - {master, *old})
    os.kill(new.pop(), signal.SIGKILL)

    eventually(lambda: not set(old) & set(processes_of(service)) and len(processes_of(service)) == 3)
    assert service.call("GET", "/healthz")[0] == 200


def test_last_answers_of_a_process_say_that_they_are_the_last(board, service, a_run, blocked):
    for run in (a_run(), waiter := a_run()):
        board.join(run, {"Machines-1"})
    blocking, connected = Line(service.port), Line(service.port)
    blocking.send(get(waiter.task_id, service.tokens["step"]))
    eventually(lambda: blocked() == 1)

    for process in processes_of(service):
        os.kill(process, signal.SIGTERM)
    answers = [blocking.receive()]
    connected.send(http("GET", "/healthz", service.tokens["step"]))
    answers.append(connected.receive())

    assert all(b"200 OK" in answer and b"\r\nConnection: close\r\n" in answer for answer in answers)
    assert b"\r\n\r\nwaiting 1\n" in answers[0]
    close_all([blocking, connected])


@pytest.fixture
def others(board):
    """The connections to Redis that are not those of web processes."""
    return {each["id"] for each in board.client.client_list()}


def test_a_web_process_has_few_connections_to_redis(board, others, service, crowd):
    paths = ["/", "/api/machines", "/api/waits", "/metrics", f"/api/machines/{Crowd.MACHINE}", "/health"]
    follower = Line(service.port)
    follower.send(http("GET", "/api/stream", service.tokens["viewer"]))

    with ThreadPoolExecutor(10) as readers:
        answers = set(readers.map(lambda n: service.call("GET", paths[n % len(paths)])[0], range(40)))

    assert follower.socket.recv(1) and 200 in answers
    count = len({each["id"] for each in board.client.client_list()} - others)
    assert 2 * 4 <= count <= 2 * MOST_CONNECTIONS
    follower.close()
