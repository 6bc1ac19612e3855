"""Each process with exactly the rights that docs/how-to/production.md gives it, and Redis servers that refuse."""

from __future__ import annotations

import html
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.store.rights import PROCESSES, rules
from tests.chaos.store import STORES, NoStore, Store
from tests.conftest import ROOT, TOKENS, Service, eventually
from tests.simulator.control import SimulatedOctopus
from tests.simulator.stack import Stack
from tests.simulator.steps import claim_step, parked_wait, release_step, wait_step, work


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    try:
        store = Store(request.param, tmp_path / "store")
        store.start()
    except NoStore as error:
        pytest.skip(str(error))
    yield store
    store.kill()


def url_of(store: Store, process: str) -> str:
    return f"redis://octowait-{process}:password-of-{process}@127.0.0.1:{store.port}/0"


def let_in(store: Store, namespace: str) -> None:
    """A user for each process."""
    client = store.client()
    for process in PROCESSES:
        client.execute_command(
            "ACL", "SETUSER", f"octowait-{process}", "on", f">password-of-{process}", *rules(process, namespace)
        )
    client.close()


#: What is asked for, and done without where it is refused: the name of the library, and how often files are synced.
OPTIONAL = ("client|setinfo", "config|get")


def denied(store: Store) -> list[str]:
    """What Redis refused for want of a right."""
    client = store.client()
    entries: list[Any] = client.acl_log()
    client.close()
    return [f"{each['username']}: {each['object']}" for each in entries if each["object"] not in OPTIONAL]


class EachWithItsOwnUser(Service):
    """Processes that reach Redis as the user of their own."""

    def __init__(self, store: Store, *args: Any, **settings: Any) -> None:
        self._store = store
        super().__init__(store.url, *args, **settings)

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        everybody = self.env
        process = {"serve": "web"}.get(command[0], command[0])
        self.env = {**everybody, "OCTOWAIT_REDIS_URL": url_of(self._store, process)}
        try:
            return super().spawn(*command)
        finally:
            self.env = everybody


@pytest.mark.timeout(240)
def test_each_process_works_with_the_rights_of_its_own_and_is_refused_nothing(store, tmp_path, namespace):
    let_in(store, namespace)
    with SimulatedOctopus.start(tmp_path / "octopus", speed=20) as octopus:
        stack = Stack(octopus, store.url, namespace, tmp_path, OCTOWAIT_NOTIFY_URLS="json://127.0.0.1:1/",
                      OCTOWAIT_NOTIFY_WAIT_SECONDS="1", OCTOWAIT_TIMELINE_RETENTION_DAYS="1")  # fmt: skip
        settings = {name: value for name, value in stack.service.env.items() if name.startswith("OCTOWAIT_")}
        del settings["OCTOWAIT_BIND"]
        stack.service = EachWithItsOwnUser(store, namespace, tmp_path, **settings)
        octopus.variables({"Octowait.Url": stack.service.url, "Octowait.Token": TOKENS["step"],
                           "Octowait.RedisUrl": url_of(store, "step")})  # fmt: skip
        machine = octopus.machine("web-01")
        waiting = wait_step(language="python")
        octopus.project("Waits", steps=[waiting, work("Work", seconds=40), release_step(language="python")])
        octopus.project("Parks", steps=[claim_step(), parked_wait(), work("Work", seconds=20), release_step()])
        octopus.project("Only works", steps=[work("Work", seconds=20)])
        with stack:
            stack.start()
            deployments = [
                octopus.deploy(name, machines=["web-01"]) for name in ("Only works", "Waits", "Waits", "Parks")
            ]
            call = stack.service.call
            waits = eventually(lambda: call("GET", "/api/waits")[1]["waits"], timeout=60)
            look_at_everything(call, machine, waits[0]["task_id"])
            octopus.wait_idle(150)
            stack.settle(60)

            assert {octopus.task(each)["State"] for each in deployments} == {"Success"}
            assert call("GET", "/readyz", role=None) == (200, {"status": "ready"})
            logs = stack.service.log.read_text()
        assert denied(store) == []
        assert "NOPERM" not in logs and "permissions" not in logs


def look_at_everything(call: Any, machine: str, task_id: str) -> None:
    """What people ask for, and change."""
    for path in (
        "/", "/health", "/ledger", "/timeline", f"/machines/{machine}", f"/runs/{task_id}", "/metrics",
        "/api/machines", f"/api/machines/{machine}", "/api/waits", f"/api/runs/{task_id}", "/api/timeline?limit=50",
        f"/api/waits/{task_id}/explain", "/api/timeline?format=csv", "/api/kept", "/api/refusals", "/api/dead-letters",
        "/api/ledger", "/api/archive", "/api/eta-report",
    ):  # fmt: skip
        assert call("GET", path)[0] == 200, path
    reservation = f"/api/machines/{machine}/reservation"
    assert call("PUT", reservation, {"note": "disks", "until_ms": None})[0] in (200, 201)
    assert call("DELETE", reservation)[0] == 200
    assert call("GET", "/api/machines", role=None)[0] == 401
    assert call("POST", "/api/sign-in-code")[0] == 201
    assert call("POST", "/api/archive", {})[0] == 202
    assert call("POST", "/api/rebuild", {"reason": "a look"})[0] == 202


def doctor(service: Service, **settings: str) -> str:
    """What ``octowait doctor`` prints."""
    env = {**service.env, "OCTOWAIT_URL": service.url, "OCTOWAIT_TOKEN": service.tokens["admin"],
           "PYTHONPATH": str(ROOT), **settings}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "app", "doctor"], env=env, cwd=service.log.parent, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_redis_that_refuses_is_named_alike_by_health_by_readyz_and_by_doctor(store, tmp_path, namespace):
    let_in(store, namespace)
    service = Service(store.url, namespace, tmp_path, forked=True)
    service.start()
    service.stop()
    service.env["OCTOWAIT_REDIS_URL"] = url_of(store, "web")
    service.start()
    admin = store.client()

    def says(code: str, words: str) -> None:
        """All three say it, and octowait goes on answering."""
        status, problem = service.call("GET", "/readyz", role=None)
        assert (status, problem["code"]) == (503, code) and words in problem["detail"]
        assert service.call("GET", "/healthz", role=None)[0] == 200
        assert words in doctor(service)
        # Redis 7.0 reads nothing in a transaction, either, when it is full: then the page of the error says it.
        status, page = service.call("GET", "/health")
        assert status == 200 or (status, code) == (503, "redis_full")
        assert words in html.unescape(page)

    def takes(*rules: str) -> None:
        admin.execute_command("ACL", "SETUSER", "octowait-web", *rules)

    try:
        assert service.call("GET", "/readyz", role=None)[1]["code"] == "no_worker"

        takes("resetchannels")
        says("redis_rights", f"&octowait:{{{namespace}}}:wakes is missing")
        takes(f"&octowait:{{{namespace}}}:wakes", "-xtrim")
        says("redis_rights", "+xtrim is missing")
        takes("+xtrim")

        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        says("redis_full", "Redis is full")
        admin.config_set("maxmemory", 0)

        admin.replicaof("127.0.0.1", 1)
        says("redis_read_only", "Redis is a replica")
        admin.replicaof("NO", "ONE")

        assert service.call("GET", "/readyz", role=None)[1]["code"] == "no_worker"
    finally:
        service.stop()
        admin.close()


@pytest.mark.parametrize(("process", "rule", "missing"), [("worker", "resetchannels", "&rq:pubsub:*"),
                                                          ("scheduler", "-zmscore", "+zmscore")])  # fmt: skip
def test_a_process_that_lacks_a_right_says_so_at_its_start_and_doctor_does_beside_it(
    store, tmp_path, namespace, process, rule, missing
):
    let_in(store, namespace)
    client = store.client()
    client.execute_command("ACL", "SETUSER", f"octowait-{process}", rule)
    service = EachWithItsOwnUser(store, namespace, tmp_path)
    started = service.spawn(process)
    try:
        eventually(lambda: f"{missing} is missing" in service.log.read_text(), timeout=30)
        assert f"{missing} is missing" in doctor(service, OCTOWAIT_REDIS_URL=url_of(store, process))
    finally:
        os.killpg(started.pid, 9)
        started.wait(30)
        client.close()
