"""Octopus does not answer: what the worker, the API, the command, the doctor and the pages make of it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from pytest_httpserver import HTTPServer

from app.coordination.board import Board
from app.coordination.dead_letters import JobLog
from app.coordination.reach import Reach
from app.domain.records import Filter
from app.history.timeline import Timeline
from app.jobs import CATCH_UP, REBUILD, RECONCILE, RESOLVE, RESUME, WATCH, enqueue, queues_of
from app.settings import Settings
from tests.conftest import TOKENS, Service, a_delivery, eventually
from tests.e2e.boards import join
from tests.e2e.browser import Window, keep_screenshot, serious_findings
from tests.e2e.test_cli import Cli

PAGE = "<!doctype html><title>Down for maintenance</title>"

ASKING = (RESOLVE, RECONCILE, WATCH, RESUME, REBUILD, CATCH_UP)


@pytest.fixture
def reach(board: Board) -> Reach:
    return Reach(board.script, board.client, board.keys)


@pytest.fixture
def in_maintenance(httpserver: HTTPServer) -> dict[str, str]:
    """The settings of an octowait whose Octopus has a maintenance window."""
    httpserver.expect_request(re.compile("/api.*")).respond_with_data(
        PAGE, status=503, content_type="text/html", headers={"Retry-After": "7200"}
    )
    return {"OCTOWAIT_OCTOPUS_URL": httpserver.url_for("/"), "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY-FOR-TESTS"}


@pytest.fixture
def spawn() -> Iterator[Callable[..., Any]]:
    made: list[subprocess.Popen[bytes]] = []

    def start(service: Service, name: str) -> None:
        made.append(service.spawn(name))

    yield start
    for process in made:
        process.terminate()
        process.wait(20)


def kinds(timeline: Timeline) -> list[str]:
    return [record.kind for record in timeline.page(Filter(), limit=1000)[0] if "reachable" in record.kind]


def test_no_job_leaves_a_dead_letter_or_a_traceback(
    board, reach, timeline, make_service, in_maintenance, httpserver, spawn, redis_url
):
    service = make_service(**in_maintenance)
    settings = Settings(
        redis_url=redis_url, namespace=board.keys.namespace, octopus_url=in_maintenance["OCTOWAIT_OCTOPUS_URL"],
        octopus_api_key="API-KEY-FOR-TESTS",
    )  # fmt: skip
    held = {"machines": ["Machines-7"], "space_id": "Spaces-1"}
    service.call("PUT", "/api/waits/ServerTasks-1", held)
    service.call("GET", "/api/waits/ServerTasks-1")
    service.call("PUT", "/api/waits/ServerTasks-2", {**held, "parked": True})
    service.deliver(a_delivery("DeploymentStarted", number=1))

    spawn(service, "worker")
    queues = queues_of(board.client, settings)

    def pause_is_over() -> None:
        """What Octopus said is over, for the urgent and for the others: who was held back may ask again."""
        board.client.delete(board.keys.named("octopus-pause"), board.keys.named("octopus-pause-urgent"))

    def all_done() -> bool:
        return not any(queue.count or queue.started_job_registry.count for queue in queues)

    for turn in range(2):
        for job in ASKING:
            enqueue(board.client, settings, job)
            eventually(all_done, timeout=40)
        if turn == 0:
            eventually(reach.unreachable)
        pause_is_over()
    eventually(lambda: "catch_up: Octopus gave no answer" in service.log.read_text())

    log = service.log.read_text()
    assert "Traceback" not in log and JobLog(board.client, board.keys).all() == []
    assert log.count("Octopus does not answer") == 1
    assert kinds(timeline) == ["octopus_unreachable"]
    assert board.place("ServerTasks-1").is_granted and board.place("ServerTasks-2").is_waiting

    # And back: the next answer ends it. A job that still has an answer of before may pause the others once more.
    httpserver.clear()
    httpserver.expect_request(re.compile("/api.*")).respond_with_json({"Items": [], "Links": {}})

    def is_reachable_again() -> bool:
        pause_is_over()
        enqueue(board.client, settings, RECONCILE)
        return reach.unreachable() is None

    eventually(is_reachable_again)
    assert kinds(timeline) == ["octopus_unreachable", "octopus_reachable"]
    assert board.place("ServerTasks-1").is_granted


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_force_wants_a_confirmation_where_octopus_cannot_be_asked(
    make_service: Callable[..., Service], httpserver: HTTPServer, tmp_path: Path, status: int
) -> None:
    httpserver.expect_request(re.compile("/api.*")).respond_with_data(PAGE, status=status)
    service = make_service(OCTOWAIT_OCTOPUS_URL=httpserver.url_for("/"), OCTOWAIT_OCTOPUS_API_KEY="API-KEY-FOR-TESTS")
    service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"], "space_id": "Spaces-404"})
    octowait = Cli(service, "http", tmp_path)

    refused = service.call("POST", "/api/waits/ServerTasks-1/force-release", {"reason": "stuck"})
    said = octowait("force-release", "ServerTasks-1", "--reason", "stuck", status=1)

    assert (refused[0], refused[1]["code"]) == (409, "cannot_ask")
    assert "Octopus could not be asked whether ServerTasks-1 still runs" in said and "confirm" in said
    assert service.call("GET", "/api/runs/ServerTasks-1")[1]["state"] == "granted"
    confirmed = octowait("force-release", "ServerTasks-1", "--reason", "stuck", "--confirm")
    assert confirmed == "ServerTasks-1: released\n"


def test_status_and_the_api_say_since_when_and_why(service: Service, reach: Reach, tmp_path: Path) -> None:
    octowait = Cli(service, "http", tmp_path)
    assert service.call("GET", "/api/machines", role="viewer")[1]["octopus_unreachable"] is None
    assert "OCTOPUS" not in octowait("status")

    reach.failed("503 Service Unavailable", lasts=7200)

    found = service.call("GET", "/api/machines", role="viewer")[1]["octopus_unreachable"]
    assert (found["why"], found["failures"]) == ("503 Service Unavailable", 1)
    assert re.match(r"OCTOPUS HAS NOT ANSWERED for \d s \(503 Service Unavailable\): ", octowait("status"))
    assert json.loads(octowait("status", "--json"))["octopus_unreachable"] == found


def test_doctor_says_it_at_once_and_asks_no_further(
    service: Service, reach: Reach, tmp_path: Path, silent: str
) -> None:
    reach.failed("no answer in time", lasts=7200)
    env = {
        **Cli(service, "http", tmp_path).env, "OCTOWAIT_OCTOPUS_URL": silent, "OCTOWAIT_OCTOPUS_API_KEY": "API-KEY",
    }  # fmt: skip
    # Importing is no part of it: a machine that is busy imports for seconds.
    code = "import sys, time; import app.doctor.examination, app.client.http, app.client.in_process; " \
           "from app.cli import main; print(time.time(), file=sys.stderr); main()"  # fmt: skip

    process = subprocess.run([sys.executable, "-c", code, "doctor", "--json"], env=env, cwd=tmp_path, text=True,
                             capture_output=True, timeout=60)  # fmt: skip
    took = time.time() - float(process.stderr.splitlines()[0])

    codes = [finding["code"] for finding in json.loads(process.stdout)]
    assert codes[-1] == "octopus_unreachable" and "octopus_silent" in codes
    assert process.returncode == 1
    assert took < 5


@pytest.fixture
def silent() -> Iterator[str]:
    """An address where somebody takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_pages_say_it_as_it_begins_and_ends(board, service: Service, reach: Reach, window: Window, tmp_path: Path):
    join(board, 1, 1)
    page = window.sign_in(TOKENS["viewer"])
    window.wait_until_live()
    banner = page.locator("[data-key=unreachable]")
    expect(banner).to_have_count(0)

    reach.failed("503 Service Unavailable", lasts=7200)
    expect(banner).to_contain_text("Octopus has not answered for")
    expect(banner).to_contain_text("503 Service Unavailable")
    assert serious_findings(page) == []
    keep_screenshot(page, "unreachable", tmp_path)

    page.goto(f"{window.url}/health")
    expect(page.locator("dd", has_text="has not answered for")).to_contain_text("503 Service Unavailable")
    expect(page.get_by_label("Repairs", exact=True)).to_contain_text("Octopus does not answer")
    keep_screenshot(page, "unreachable-health", tmp_path)

    page.goto(window.url)
    window.wait_until_live()
    reach.answered()
    expect(banner).to_have_count(0)


def test_page_wants_a_confirmation_where_octopus_cannot_be_asked(board, make_service, window_of, in_maintenance):
    join(board, 4, 1)
    service, window = make_service(**in_maintenance), window_of()
    window.url = service.url
    page = window.sign_in(TOKENS["admin"], "/runs/ServerTasks-4")
    page.get_by_text("Take its machines away").click()
    page.get_by_label("Why").fill("its server died")
    page.get_by_role("button", name="Release by force").click()

    expect(page.get_by_role("alert")).to_contain_text("Octopus could not be asked whether ServerTasks-4 still runs")
    window.forgive("409")
    assert board.place("ServerTasks-4").is_granted
    page.get_by_label("I am sure").check()
    page.get_by_role("button", name="Release by force").click()
    expect(page.locator(".notice")).to_have_text("Its machines are free.")
