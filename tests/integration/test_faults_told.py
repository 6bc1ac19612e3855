"""A fault that nobody asked about is on Health, in ``status``, in doctor and in the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.history.durations import DURATIONS, VERSION, stored_durations
from app.store.connection import connect
from app.store.embedded import EmbeddedServer
from tests.conftest import ROOT, Service, eventually
from tests.e2e.boards import join, name_machine
from tests.open_board import OpenBoard

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A Redis of its own, for it is to be broken."""
    found = EmbeddedServer(tmp_path / "redis")
    found.acquire()
    yield found
    found.stop(signal.SIGKILL)
    found.release()


@pytest.fixture
def services(server: EmbeddedServer, namespace: str, tmp_path: Path) -> Iterator[Callable[[], Service]]:
    made: list[Service] = []

    def start() -> Service:
        made.append(Service(server.url, namespace, tmp_path, forked=True))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def service(services: Callable[[], Service]) -> Service:
    return services()


@pytest.fixture
def other(services: Callable[[], Service]) -> Service:
    """Another process that serves the same."""
    return services()


def fill_the_disk(server: EmbeddedServer) -> None:
    """Let every write of the server's append-only file fail as on a full disk, and wait until it has noticed."""
    client = connect(server.url)
    client.config_set("appendonly", "no")
    client.config_set("appendfsync", "everysec")
    os.symlink("/dev/full", server.directory / "appendonlydir" / "temp-appendonly.aof.incr")
    client.config_set("appendonly", "yes")

    def has_noticed() -> bool:
        if client.info("persistence")["aof_last_write_status"] == "ok":
            client.set("something", "to write")
            return False
        return True

    eventually(has_noticed)
    client.close()


def octowait(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**service.env, "OCTOWAIT_URL": service.url, "OCTOWAIT_TOKEN": service.tokens["admin"],
           "PYTHONPATH": str(ROOT)}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "app", *words], env=env, cwd=service.log.parent, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


def test_a_full_disk_under_redis_is_named_everywhere(service: Service, server: EmbeddedServer) -> None:
    scheduler = service.spawn("scheduler")
    eventually(lambda: "scheduler: runs" in service.log.read_text())
    fill_the_disk(server)

    health = service.call("GET", "/health")
    [fault] = service.call("GET", "/api/machines")[1]["faults"]
    status = octowait(service, "machines", "--json")
    doctor = octowait(service, "doctor")

    assert health[0] == 200 and "No space left on device" in health[1]
    assert fault["code"] == "redis_cannot_write" and "No space left on device" in fault["message"]
    assert "No space left on device" in status.stdout
    assert "No space left on device" in doctor.stdout and doctor.returncode == 1
    eventually(lambda: "No space left on device" in service.log.read_text(), timeout=60)
    scheduler.send_signal(signal.SIGTERM)
    assert scheduler.wait(30) == 0


def test_a_run_held_beyond_all_before_it_is_named_everywhere(
    service: Service, server: EmbeddedServer, namespace: str
) -> None:
    client = connect(server.url)
    board = OpenBoard(client, namespace=namespace)
    name_machine(board, 1, "web-01")
    board.script.offset_ms = -round(timedelta(hours=3) / timedelta(milliseconds=1))
    client.hdel(board.keys.counters, "stamp")
    join(board, 1, 1, ttl=timedelta(days=1))
    board.script.offset_ms = 0
    join(board, 2, 1, ttl=timedelta(days=1))
    client.hset(board.keys.named(DURATIONS), "all", stored_durations(1, [600_000, 900_000, 700_000]))
    client.set(board.keys.named(VERSION), "1")
    scheduler = service.spawn("scheduler")
    said = "has held web-01 for 3 h, longer than any run before it (15 min); 1 run waits there"

    eventually(lambda: service.call("GET", "/api/machines")[1]["faults"], timeout=30)
    health, status, doctor = service.call("GET", "/health")[1], octowait(service, "status"), octowait(service, "doctor")
    explained = octowait(service, "explain", "ServerTasks-2")
    page = service.call("GET", "/runs/ServerTasks-2")[1]

    assert said in health and "octowait force-release ServerTasks-1" in health
    assert said in status.stdout, status
    assert said in doctor.stdout
    for text in (explained.stdout, page):
        assert "longer than any run before it" in text and "No earlier run" not in text
    eventually(lambda: said in service.log.read_text(), timeout=60)
    scheduler.send_signal(signal.SIGTERM)
    assert scheduler.wait(30) == 0
    client.close()


def test_who_is_turned_away_is_named_with_the_secret_that_is_wrong(service: Service, other: Service) -> None:
    # Each says once a minute whom it has refused: what came to the same one would wait for the next minute.
    scheduler = service.spawn("scheduler")
    assert other.deliver({"Payload": {}}, secret="the secret of last year")[0] == 401
    headers = {"Authorization": "Bearer a-token-that-was-rotated-away"}
    status, problem = service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-1"]}, None, headers)
    assert status == 401 and "Octowait.Token" in problem["detail"]
    webhook, step = "the secret of the subscription is not", "the Octowait.Token of a step is none of"

    def is_told() -> bool:
        codes = {fault["code"] for fault in service.call("GET", "/api/machines")[1]["faults"]}
        return codes == {"refused_webhooks", "refused_steps"}

    eventually(is_told)
    health, status_lines = service.call("GET", "/health")[1], octowait(service, "status").stdout
    for text in (health, status_lines):
        assert "401 from 127.0.0.1 since" in text and webhook in text and step in text
    assert "subscription ensure --rotate-secret" in status_lines
    assert "refused" in octowait(service, "doctor").stdout
    eventually(lambda: webhook in service.log.read_text() and step in service.log.read_text(), timeout=60)
    scheduler.send_signal(signal.SIGTERM)
    assert scheduler.wait(30) == 0
