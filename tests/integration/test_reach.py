"""Octopus unreachable is one state, with its time and reason: when it begins and ends, and what it does not end."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty
from structlog.testing import capture_logs

from app.coordination.board import Board
from app.coordination.budget import Budget
from app.coordination.reach import TOLD_AFTER, Reach
from app.domain.records import Filter
from app.followers.notices import notice_of
from app.history.timeline import Timeline
from app.jobs import WATCH
from app.octopus.ask import PROBE_SECONDS, probe
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusDenied, OctopusError
from app.settings import Settings
from tests.conftest import Clock, services_on
from workers import reconcile, resume, watch
from workers.context import Context, current
from workers.patient import PatientJob

PAGE = "<!doctype html><title>Down for maintenance</title>"
TASK = {"Id": "ServerTasks-1", "State": "Executing", "IsCompleted": False}
ASKED = "/api/Spaces-1/tasks/ServerTasks-1"


@pytest.fixture
def reach(board: Board) -> Reach:
    return Reach(board.script, board.client, board.keys)


@pytest.fixture
def client(httpserver: HTTPServer, reach: Reach) -> Iterator[OctopusClient]:
    made = OctopusClient(httpserver.url_for("/"), "API-KEY", reach=reach, attempts=1, timeout=(2.0, 0.3))
    yield made
    made.close()


def kinds(timeline: Timeline) -> list[str]:
    return [record.kind for record in timeline.page(Filter(), limit=1000)[0] if "reachable" in record.kind]


def ask(client: OctopusClient) -> str:
    """What came of asking: ``task``, or the name of the error."""
    try:
        client.task("ServerTasks-1", space="Spaces-1")
        return "task"
    except OctopusError as error:
        return type(error).__name__


def is_in_doubt(board: Board) -> bool:
    return bool(board.client.hexists(board.keys.counters, "octopus_since"))


# The state


def test_a_moment_is_told_to_nobody(reach, clock, timeline):
    reach.failed("no connection")
    clock.advance(TOLD_AFTER - timedelta(milliseconds=500))
    reach.failed("no connection")
    reach.answered()

    assert reach.unreachable() is None
    assert kinds(timeline) == []


def test_what_lasts_is_told_once_with_its_time_and_reason(reach, clock, timeline):
    began_ms = clock.now_ms
    reach.failed("no connection")
    for _ in range(5):
        clock.advance(TOLD_AFTER)
        reach.failed("503 Service Unavailable")

    found = reach.unreachable()

    assert found and (found.why, found.failures) == ("503 Service Unavailable", 6)
    assert abs(found.since_ms - began_ms) < 1000 and abs(found.asked_ms - clock.now_ms) < 1000
    assert kinds(timeline) == ["octopus_unreachable"]


def test_one_failure_long_ago_is_no_outage(reach, clock):
    reach.failed("no connection")
    clock.advance(timedelta(hours=1))

    assert reach.unreachable() is None


def test_what_octopus_says_will_last_is_told_at_once(reach, timeline):
    reach.failed("503 Service Unavailable", lasts=7200)

    assert reach.unreachable()
    assert kinds(timeline) == ["octopus_unreachable"]


def test_its_end_is_told_once_with_how_long_it_was(reach, clock, timeline):
    reach.failed("no connection", lasts=60)
    clock.advance(timedelta(hours=2))
    for _ in range(3):
        reach.answered()

    assert reach.unreachable() is None
    last = timeline.newest(Filter(kind="octopus_reachable"), limit=1)[0]
    assert abs(last.detail["away_ms"] - 7_200_000) < 1000
    assert kinds(timeline) == ["octopus_unreachable", "octopus_reachable"]


def test_failures_between_answers_are_no_outage(reach, clock, timeline):
    for _ in range(20):
        reach.failed("no connection")
        clock.advance(TOLD_AFTER)
        reach.answered()
        clock.advance(TOLD_AFTER)

    assert kinds(timeline) == []


def test_people_get_one_notice_of_its_begin_and_one_of_its_end(reach, clock, timeline):
    for _ in range(3):
        reach.failed("401: the API key is not accepted", lasts=60)
        clock.advance(timedelta(minutes=1))
    reach.answered()

    notices = [notice for record in timeline.page(Filter(), limit=100)[0] if (notice := notice_of(record))]
    assert [(notice.title, notice.level) for notice in notices] == [
        ("Octopus does not answer", "failure"), ("Octopus answers again", "info"),
    ]  # fmt: skip
    assert "401: the API key is not accepted" in notices[0].body and "3 min" in notices[1].body


def test_long_reasons_are_cut(reach):
    reach.failed("x" * 100_000, lasts=60)

    assert len(reach.unreachable().why) == 200


# Which answers are none


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, PAGE, "503 Service Unavailable"),
        (503, '{"ErrorMessage": "maintenance"}', "503 Service Unavailable"),
        (500, "", "500 Internal Server Error"),
        (502, PAGE, "502 Bad Gateway"),
        (529, "", "529"),
        (408, "", "408 Request Timeout"),
        (401, '{"ErrorMessage": "You must be logged in"}', "401: the API key is not accepted"),
        (200, PAGE, "a page for people instead of an answer of the API"),
        (200, "", "a page for people instead of an answer of the API"),
    ],
)
def test_such_an_answer_is_none(httpserver, client, reach, board, status, body, why):
    httpserver.expect_request(ASKED).respond_with_data(body, status=status)
    reach.failed("before", lasts=60)

    ask(client)

    found = reach.unreachable()
    assert found and (found.why, found.failures) == (why, 2)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"Id": "ServerTasks-1", "State": "Executing"}'),
        (200, "{}"),
        (403, '{"ErrorMessage": "no permission"}'),
        (404, '{"ErrorMessage": "not found"}'),
        (400, '{"ErrorMessage": "bad"}'),
        (429, "{}"),
    ],
)
def test_octopus_that_answers_anything_is_there(httpserver, client, reach, status, body):
    httpserver.expect_request(ASKED).respond_with_data(body, status=status)
    reach.failed("before", lasts=60)

    ask(client)

    assert reach.unreachable() is None


@pytest.mark.parametrize("status", [403, 404, 429])
def test_a_page_of_a_proxy_says_nothing_either_way(httpserver, client, reach, board, status):
    httpserver.expect_request(ASKED).respond_with_data(PAGE, status=status)

    ask(client)
    assert not is_in_doubt(board)

    reach.failed("before", lasts=60)
    ask(client)
    assert reach.unreachable().failures == 1


def test_attempts_that_help_are_no_failure(httpserver, reach, board):
    httpserver.expect_ordered_request(ASKED).respond_with_data(PAGE, status=503)
    httpserver.expect_ordered_request(ASKED).respond_with_json(TASK)
    client = OctopusClient(httpserver.url_for("/"), "API-KEY", reach=reach, sleep=lambda seconds: None)

    assert ask(client) == "task"
    assert not is_in_doubt(board)
    client.close()


def test_nobody_there_and_nobody_who_speaks_are_told_apart(reach, board, silent_port):
    def why(url: str) -> str:
        client = OctopusClient(url, "API-KEY", reach=reach, attempts=1, timeout=(0.3, 0.3))
        assert ask(client) == "OctopusUnreachable"
        client.close()
        return board.client.hget(board.keys.counters, "octopus_why").decode()

    assert why("http://127.0.0.1:1") == "no connection"
    assert why(f"http://127.0.0.1:{silent_port}") == "no answer in time"
    assert why("http://octopus.invalid") == "its name does not resolve"
    assert why(f"https://127.0.0.1:{silent_port}") == "no answer in time"


def test_the_spent_budget_is_no_silence_of_octopus(httpserver, reach, board):
    class Spent:
        def take(self, urgent: bool = False, kind: str = "other") -> float:
            return 60.0

        def pause(self, seconds: float) -> None:
            raise AssertionError

    client = OctopusClient(httpserver.url_for("/"), "API-KEY", reach=reach, budget=Spent(), patience=1.0)

    assert ask(client) == "OctopusBusy"
    assert not is_in_doubt(board)
    client.close()


def test_a_request_that_took_its_time_is_not_sent_again(httpserver, reach, silent_port):
    """A job would be ended in the middle of its second attempt."""
    client = OctopusClient(f"http://127.0.0.1:{silent_port}", "API-KEY", timeout=(1.0, 0.4), patience=0.5)

    began = time.monotonic()
    ask(client)

    assert time.monotonic() - began < 0.8
    client.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Somebody who takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield int(server.getsockname()[1])


# What it does not do


@pytest.fixture
def context(board: Board, redis_url: str, reach: Reach, client: OctopusClient) -> Iterator[Context]:
    settings = {"octopus_url": client.url, "octopus_api_key": "API-KEY"}
    made = Context(services_on(board, redis_url, **settings), client)
    token = current.set(made)
    yield made
    current.reset(token)
    made.services.close()


def a_job(context: Context, run: Callable[[], object]) -> PatientJob:
    """A job as the worker has it, that does *run*."""

    class Job(PatientJob):
        @property
        def func(self) -> Any:
            return run

    job = Job("j", connection=context.board.client, serializer=JSONSerializer)
    job.data = json.dumps([WATCH.function, None, [], {}]).encode()
    job.known = WATCH
    return job


def test_two_hours_of_maintenance_end_no_lease_and_no_wait(
    board: Board, clock: Clock, timeline, httpserver, context, a_run, reach
):
    httpserver.expect_request(re.compile("/api.*")).respond_with_data(PAGE, status=503)
    ttl = timedelta(minutes=10)
    holder, waiter = (a_run(info={"space_id": "Spaces-1"}) for _ in range(2))
    parked = a_run(info={"space_id": "Spaces-1"}, parked=True)
    for run in (holder, waiter, parked):
        board.join(run, {"Machines-7"}, ttl=ttl)
    board.poll(holder.task_id)

    for _ in range(24):
        clock.advance(timedelta(minutes=5))
        board.poll(waiter.task_id)
        a_job(context, watch.run).perform()
        a_job(context, reconcile.run).perform()

    states = [board.place(run.task_id).state for run in (holder, waiter, parked)]
    assert states == ["granted", "waiting", "waiting"]
    assert kinds(timeline) == ["octopus_unreachable"]
    assert reach.unreachable().why == "503 Service Unavailable"
    assert context.services.dead_jobs.all() == []


@pytest.mark.parametrize(("status", "why"), [(503, "503 Service Unavailable"), (401, "401: the API key")])
def test_a_job_without_an_answer_ends_with_one_line(httpserver, context, status, why):
    httpserver.expect_request(re.compile("/api.*")).respond_with_data("{}", status=status)
    job = a_job(context, lambda: context.octopus.task("ServerTasks-1", space="Spaces-1"))

    with capture_logs() as lines:
        job.perform()

    assert job.was_unanswered
    assert [line["why"].startswith(why) for line in lines] == [True]


def test_a_job_that_may_not_see_something_still_fails(httpserver, context):
    httpserver.expect_request(re.compile("/api.*")).respond_with_data("{}", status=403)
    job = a_job(context, lambda: context.octopus.task("ServerTasks-1", space="Spaces-1"))

    with pytest.raises(OctopusDenied):
        job.perform()


def test_parked_runs_are_looked_at_soon_after_octopus_is_back(board, clock, httpserver, context, a_run):
    httpserver.expect_request(re.compile("/api.*")).respond_with_data(PAGE, status=503)
    holder, parked = a_run(), a_run(parked=True, info={"space_id": "Spaces-1"})
    for run in (holder, parked):
        board.join(run, {"Machines-7"})
    board.release(holder.task_id)
    context.services.reach.failed("503 Service Unavailable", lasts=7200)
    for _ in range(20):
        assert context.tracked.due_resumes(clock.now_ms) == [parked.task_id]
        a_job(context, resume.run).perform()
        assert context.tracked.due_resumes(clock.now_ms) == []
        clock.advance(resume.SILENT_PAUSE)

    assert board.place(parked.task_id).is_granted
    assert context.claims.failed(f"resume-{parked.task_id}") == 1


def test_parked_run_that_octopus_fails_on_keeps_no_other_from_being_asked_about(board, httpserver, context, a_run):
    httpserver.expect_request(re.compile("/api.*")).respond_with_data(PAGE, status=500)
    runs = [a_run(parked=True, info={"space_id": "Spaces-1"}) for _ in range(2)]
    holders = [a_run(), a_run()]
    for number, (holder, parked) in enumerate(zip(holders, runs, strict=True)):
        board.join(holder, {f"Machines-{number}"})
        board.join(parked, {f"Machines-{number}"})
        board.release(holder.task_id)
    job = a_job(context, resume.run)

    job.perform()

    assert not job.was_unanswered
    assert [context.claims.failed(f"resume-{run.task_id}") for run in runs] == [2, 2]


def test_a_job_that_fails_otherwise_still_fails(context):
    def broken() -> None:
        raise ZeroDivisionError

    job = a_job(context, broken)
    with pytest.raises(ZeroDivisionError):
        job.perform()


def test_an_answer_in_drops_that_outlasts_a_job_is_none(context, reach, board, dripping_port):
    client = OctopusClient(f"http://127.0.0.1:{dripping_port}", "API-KEY", attempts=1, timeout=(1.0, 1.0))
    job = a_job(context, lambda: client.task("ServerTasks-1", space="Spaces-1"))

    with UnixSignalDeathPenalty(1, JobTimeoutException, job_id="j"):
        job.perform()

    assert job.was_unanswered
    assert board.client.hget(board.keys.counters, "octopus_why") == b"no answer in time"
    client.close()


def test_a_job_that_takes_too_long_by_itself_is_a_failure(context, board):
    job = a_job(context, lambda: threading.Event().wait(10))

    with pytest.raises(JobTimeoutException), UnixSignalDeathPenalty(1, JobTimeoutException, job_id="j"):
        job.perform()
    assert not is_in_doubt(board)


@pytest.fixture
def dripping_port() -> Iterator[int]:
    """Somebody whose answer comes a byte at a time, and never ends."""
    is_over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not is_over.wait(0.2):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    yield int(server.getsockname()[1])
    is_over.set()
    server.close()
    thread.join(5)


# A short question first


def test_probe_says_within_seconds_that_nobody_answers(redis_url, board, silent_port):
    def said(url: str) -> tuple[str | None, float]:
        began = time.monotonic()
        problem = probe(Settings(octopus_url=url, octopus_api_key="API-KEY"), None)
        return problem and problem.why, time.monotonic() - began

    assert said("http://127.0.0.1:1")[0] == "no connection"
    why, seconds = said(f"http://127.0.0.1:{silent_port}")
    assert why == "no answer in time" and seconds < PROBE_SECONDS + 0.5


def test_probe_of_an_octopus_that_answers_finds_nothing(httpserver):
    httpserver.expect_request("/api").respond_with_json({"Version": "2026.3"})

    assert probe(Settings(octopus_url=httpserver.url_for("/"), octopus_api_key="API-KEY"), None) is None


def test_probe_is_one_request_of_the_budget(httpserver, board):
    httpserver.expect_request("/api").respond_with_json({"Version": "2026.3"})
    settings = Settings(octopus_url=httpserver.url_for("/"), octopus_api_key="API-KEY")
    budget = Budget(board.client, board.keys, 8)

    assert probe(settings, budget) is None

    assert sum(budget.calls().values()) == 1
