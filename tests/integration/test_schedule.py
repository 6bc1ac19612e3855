"""Jobs are asked for once, by one scheduler of several, and done by a worker in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from rq import Queue
from werkzeug import Request, Response

from app.coordination.board import Board
from app.domain.events import parse_event
from app.jobs import BEGIN_SECONDS, CATCH_UP, RECONCILE, RESOLVE, WATCH, begin_round, enqueue, queues_of, workers_seen
from app.settings import Settings
from tests.conftest import ROOT, an_event, eventually

SCHEDULER = """
import sys
from datetime import timedelta
from app.settings import load_settings
from workers.schedule import run_scheduler
lease, every = (timedelta(seconds=float(value)) for value in sys.argv[1:])
run_scheduler(load_settings(), lease=lease, resolve_every=every)
"""

WORKER = """
from app.settings import load_settings
from workers.run import run_worker
run_worker(load_settings())
"""

HOUR = "3600"


class Process:
    """A process of ours; *output* is what it said so far."""

    def __init__(self, code: str, *args: str, env: dict[str, str], log: Path) -> None:
        self._log = log
        with open(log, "wb") as file:
            self.popen = subprocess.Popen([sys.executable, "-c", code, *args], env=env, stdout=file, stderr=file)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def end(self, how: signal.Signals) -> int:
        self.popen.send_signal(how)
        return self.popen.wait(20)


@pytest.fixture
def settings(redis_url: str, namespace: str) -> Settings:
    return Settings(redis_url=redis_url, namespace=namespace)


class Queues:
    """The jobs of both queues of a namespace, urgent first."""

    def __init__(self, queues: list[Queue]) -> None:
        self._queues = queues

    @property
    def count(self) -> int:
        return sum(queue.count for queue in self._queues)

    @property
    def job_ids(self) -> list[str]:
        return [job_id for queue in self._queues for job_id in queue.job_ids]

    def job(self, job_id: str) -> Any:
        return self._queues[0].fetch_job(job_id)

    def take(self) -> bytes | None:
        """Take the next job off, as a worker does, without doing it."""
        return next(filter(None, (queue.connection.lpop(queue.key) for queue in self._queues)), None)

    def remove(self, job_id: str) -> bool:
        return any([queue.connection.lrem(queue.key, 0, job_id) for queue in self._queues])


@pytest.fixture
def queue(board: Board, settings: Settings) -> Queues:
    return Queues(queues_of(board.client, settings))


@pytest.fixture
def spawn(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def start(code: str, *args: str, **environ: str) -> Process:
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("OCTOWAIT_")},
            "PYTHONPATH": str(ROOT),
            "OCTOWAIT_REDIS_URL": settings.redis_url,
            "OCTOWAIT_NAMESPACE": settings.namespace,
            **environ,
        }
        made.append(Process(code, *args, env=env, log=tmp_path / f"process-{len(made)}.log"))
        return made[-1]

    yield start
    for process in made:
        if process.popen.poll() is None:
            process.end(signal.SIGKILL)


@pytest.fixture
def worker_settings(httpserver: HTTPServer) -> dict[str, str]:
    return {"OCTOWAIT_OCTOPUS_URL": httpserver.url_for("/"), "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY"}


def hears_of_a_start(board: Board, task: int = 4711) -> None:
    event = an_event(number=task, task=task, related=[f"Deployments-{task}"])
    assert board.deliver(parse_event(event)) == "unresolved"


def knows(server: HTTPServer, task: int, machine: str) -> None:
    """Let Octopus know a running deployment on *machine*."""
    server.expect_request(f"/api/Spaces-1/tasks/ServerTasks-{task}").respond_with_json(a_task(task))
    server.expect_request(f"/api/Spaces-1/deployments/Deployments-{task}").respond_with_json(
        {"Id": f"Deployments-{task}", "SpecificMachineIds": [machine]}
    )
    server.expect_request("/api/Spaces-1/machines").respond_with_json({"Items": []})


def a_task(task: int) -> dict[str, object]:
    return {"Id": f"ServerTasks-{task}", "State": "Executing", "IsCompleted": False,
            "Arguments": {"DeploymentId": f"Deployments-{task}"}}  # fmt: skip


def state_of(board: Board, task: int) -> str:
    place = board.place(f"ServerTasks-{task}")
    assert place
    return str(place.run.state)


def test_resolve_is_enqueued_once_until_it_begins(board, settings, queue):
    assert enqueue(board.client, settings, RESOLVE)
    assert not enqueue(board.client, settings, RESOLVE)
    assert queue.count == 1

    queue.take()
    begin_round(board.client, settings, RESOLVE)

    assert enqueue(board.client, settings, RESOLVE), "what came after the job had read its list must be asked for anew"


def taken_long_ago(board: Board, job_id: str, field: str) -> None:
    """Let a worker have taken the job longer ago than one needs to begin."""
    then = datetime.now(UTC) - timedelta(seconds=BEGIN_SECONDS + 1)
    board.client.hset(f"rq:job:{job_id}", field, then.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


@pytest.mark.parametrize("field", ["enqueued_at", "started_at"])
def test_job_that_a_killed_worker_took_and_did_not_begin_is_asked_for_anew(board, settings, queue, field):
    # 1. A worker takes the job, 2. perhaps notes that it started, and 3. is killed before it begins the round.
    enqueue(board.client, settings, RESOLVE)
    taken = queue.take().decode()

    assert not enqueue(board.client, settings, RESOLVE), "a worker that has just taken it is about to begin"

    taken_long_ago(board, taken, field)
    assert enqueue(board.client, settings, RESOLVE)
    assert queue.job_ids == [taken.replace("-0", "-1")]
    assert not enqueue(board.client, settings, RESOLVE)


def test_job_that_stands_in_the_queue_for_long_is_not_asked_for_anew(board, settings, queue):
    enqueue(board.client, settings, RESOLVE)
    taken_long_ago(board, queue.job_ids[0], "enqueued_at")

    assert not enqueue(board.client, settings, RESOLVE)
    assert queue.count == 1


def test_who_runs_unseen_is_looked_for_in_turn_with_what_others_wait_for(board, settings, queue):
    """A worker that always has urgent work would otherwise never find the starts that no webhook brought."""
    for job in (CATCH_UP, RECONCILE, WATCH, RESOLVE):
        enqueue(board.client, settings, job)

    names = [queue.take().decode().split("-")[-2] for _ in range(3)]

    assert names == ["reconcile", "watch", "resolve"]


def test_namespaces_have_their_own_queues(board, settings, queue):
    other = Settings(redis_url=settings.redis_url, namespace=settings.namespace + "-b")

    assert enqueue(board.client, settings, RESOLVE)
    assert enqueue(board.client, other, RESOLVE)

    assert queue.count == 1


def test_jobs_are_not_pickled(board, settings, queue):
    enqueue(board.client, settings, RESOLVE)

    raw = board.client.hget(queue.job(queue.job_ids[0]).key, "data")

    assert json.loads(zlib.decompress(raw))[0] == "workers.resolve.run"


@pytest.fixture
def start_scheduler(spawn):
    """Starts a scheduler that may ask Octopus; nothing answers there, and a scheduler does not ask."""

    def start(lease, resolve_every):
        key = {"OCTOWAIT_OCTOPUS_URL": "http://127.0.0.1:9", "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY"}
        return spawn(SCHEDULER, lease, resolve_every, **key)

    return start


def asked_for(queue: Queues, name: str) -> int:
    """How many jobs of that name are in the queue."""
    return sum(job_id.rpartition("-")[0].endswith(f"-{name}") for job_id in queue.job_ids)


def forget(queue: Queues, board: Board, name: str) -> None:
    """Take the job off the queue, and free its id, as a worker that has done it."""
    job_id = f"octowait-{board.keys.namespace}-{name}-0"
    assert queue.remove(job_id)
    assert board.client.delete(f"rq:job:{job_id}")


def test_of_two_schedulers_one_enqueues(board, queue, start_scheduler):
    hears_of_a_start(board)
    first = start_scheduler("60", HOUR)
    names = ("resolve", "learn", "catch_up", "reconcile")
    eventually(lambda: all(asked_for(queue, name) for name in names))
    for name in names:
        forget(queue, board, name)

    second = start_scheduler("60", HOUR)
    eventually(lambda: "stands by" in second.output)

    # It enqueues as soon as it runs at all, so it would have by now.
    assert second.end(signal.SIGTERM) == 0
    assert queue.count == 0
    assert "scheduler: runs" in first.output and "scheduler: runs" not in second.output


def test_second_scheduler_takes_over_when_the_first_is_killed(board, queue, start_scheduler):
    hears_of_a_start(board)
    first = start_scheduler("1", HOUR)
    eventually(lambda: asked_for(queue, "resolve"))
    forget(queue, board, "resolve")
    second = start_scheduler("1", HOUR)
    eventually(lambda: "stands by" in second.output)

    first.end(signal.SIGKILL)

    assert eventually(lambda: asked_for(queue, "resolve")) == 1


def test_scheduler_that_is_stopped_gives_its_lease_back(board, queue, start_scheduler):
    hears_of_a_start(board)
    scheduler = start_scheduler("60", HOUR)
    eventually(lambda: queue.count)
    assert board.client.exists(board.keys.named("scheduler"))

    assert scheduler.end(signal.SIGTERM) == 0

    assert not board.client.exists(board.keys.named("scheduler"))


def test_interval_jobs_do_not_pile_up_without_a_worker(board, queue, start_scheduler):
    hears_of_a_start(board)
    start_scheduler("1", "1")
    eventually(lambda: asked_for(queue, "resolve"))
    # A job enqueued again after a while shows that the interval goes on.
    for _ in range(2):
        forget(queue, board, "resolve")
        eventually(lambda: asked_for(queue, "resolve"))
    seconds = board.client.time()[0]

    eventually(lambda: board.client.time()[0] > seconds + 2)

    assert asked_for(queue, "resolve") == 1


def test_scheduler_asks_for_nothing_while_there_is_nothing_to_do(board, settings, queue, start_scheduler):
    urgent = queues_of(board.client, settings)[0]
    scheduler = start_scheduler("1", "1")
    eventually(lambda: "scheduler: runs" in scheduler.output)
    seconds = board.client.time()[0]
    eventually(lambda: board.client.time()[0] > seconds + 1)
    # Events may have been missed while nobody ran, so they are read at the start; and starts, at any time.
    assert (asked_for(queue, "catch_up"), asked_for(urgent, "reconcile"), queue.count, urgent.count) == (1, 1, 2, 1)

    hears_of_a_start(board)

    assert eventually(lambda: asked_for(queue, "resolve")) == 1


def test_scheduler_has_starts_looked_for_while_nobody_holds_or_waits(board, queue, spawn):
    key = {"OCTOWAIT_OCTOPUS_URL": "http://127.0.0.1:9", "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY"}
    spawn(SCHEDULER, "60", HOUR, OCTOWAIT_RECONCILE_SECONDS="1", **key)
    for _ in range(2):
        eventually(lambda: asked_for(queue, "reconcile"))
        forget(queue, board, "reconcile")


def test_scheduler_has_the_holders_watched_that_somebody_waits_for(board, settings, a_run, start_scheduler):
    urgent = queues_of(board.client, settings)[0]
    board.join(a_run(), {"Machines-7"})
    board.join(a_run(), {"Machines-7"})

    start_scheduler("60", HOUR)

    assert eventually(lambda: asked_for(urgent, "watch")) == 1


def test_scheduler_has_the_answer_of_a_parked_run_submitted(board, settings, a_run, start_scheduler):
    urgent = queues_of(board.client, settings)[0]
    holder = a_run()
    board.join(holder, {"Machines-7"})
    board.join(a_run(parked=True), {"Machines-7"})
    board.release(holder.task_id)

    start_scheduler("60", HOUR)

    assert eventually(lambda: asked_for(urgent, "resume")) == 1


def test_scheduler_has_learned_from_what_happened_also_without_an_api_key(board, queue, spawn, a_run):
    board.join(a_run(), {"Machines-7"})

    spawn(SCHEDULER, "60", HOUR)

    assert eventually(lambda: asked_for(queue, "learn")) == 1


def test_scheduler_has_a_closed_board_rebuilt(board, settings, start_scheduler):
    urgent = queues_of(board.client, settings)[0]
    board.close(by="ann")

    start_scheduler("60", HOUR)

    assert eventually(lambda: asked_for(urgent, "rebuild")) == 1


def test_without_an_api_key_a_scheduler_opens_a_closed_board_and_says_so(board, spawn):
    board.close(by="ann")

    scheduler = spawn(SCHEDULER, "60", HOUR)

    eventually(lambda: board.closed_since_ms() is None)
    eventually(lambda: "there is no Octopus API key" in scheduler.output)


def test_worker_resolves_what_is_asked_for(board, settings, httpserver, spawn, worker_settings, a_run):
    knows(httpserver, 4711, "Machines-7")
    spawn(WORKER, **worker_settings)
    hears_of_a_start(board)

    enqueue(board.client, settings, RESOLVE)

    eventually(lambda: state_of(board, 4711) == "observed")
    waiter = a_run()
    assert board.join(waiter, {"Machines-7"}).is_waiting
    assert workers_seen(board.client, settings)


def test_run_told_of_while_a_job_runs_is_resolved_by_the_next(board, settings, httpserver, spawn, worker_settings):
    may_answer = threading.Event()
    asked = threading.Event()

    def slow(request: Request) -> Response:
        asked.set()
        may_answer.wait(10)
        return Response(json.dumps(a_task(1)))

    knows(httpserver, 2, "Machines-8")
    httpserver.expect_request("/api/Spaces-1/tasks/ServerTasks-1").respond_with_handler(slow)
    spawn(WORKER, **worker_settings)
    hears_of_a_start(board, 1)
    enqueue(board.client, settings, RESOLVE)
    assert asked.wait(15)

    hears_of_a_start(board, 2)
    assert enqueue(board.client, settings, RESOLVE)
    may_answer.set()

    eventually(lambda: state_of(board, 2) == "observed")


def test_killed_worker_does_not_block_the_next(board, settings, httpserver, spawn, worker_settings):
    asked = threading.Event()
    may_answer = threading.Event()

    def silent(request: Request) -> Response:
        asked.set()
        may_answer.wait(15)
        return Response(status=503)

    httpserver.expect_request("/api/Spaces-1/tasks/ServerTasks-1").respond_with_handler(silent)
    first = spawn(WORKER, **worker_settings)
    hears_of_a_start(board, 1)
    enqueue(board.client, settings, RESOLVE)
    assert asked.wait(15)
    first.end(signal.SIGKILL)
    may_answer.set()

    knows(httpserver, 2, "Machines-8")
    hears_of_a_start(board, 2)
    assert enqueue(board.client, settings, RESOLVE)
    spawn(WORKER, **worker_settings)

    eventually(lambda: state_of(board, 2) == "observed")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_worker_ends_cleanly_when_it_is_asked_to(board, settings, spawn, worker_settings, how):
    worker = spawn(WORKER, **worker_settings)
    eventually(lambda: workers_seen(board.client, settings))

    assert worker.end(how) == 0
    assert not workers_seen(board.client, settings)


def test_worker_without_an_api_key_says_so_once(board, settings, queue, spawn):
    worker = spawn(WORKER)
    hears_of_a_start(board)
    for _ in range(3):
        enqueue(board.client, settings, RESOLVE)
        eventually(lambda: queue.count == 0)

    assert worker.end(signal.SIGTERM) == 0
    assert worker.output.count("no Octopus API key") == 1
    assert state_of(board, 4711) == "started"
