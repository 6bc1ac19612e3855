"""A Redis that may lose or forget what it has acknowledged: said at the start, and by /readyz."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.store.keys import Keys
from tests.chaos.store import STORES, NoStore, Store
from tests.conftest import Service, a_delivery, eventually


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A server that never syncs its file by itself."""
    try:
        store = Store(request.param, tmp_path / "store", fsync="no")
        store.start()
    except NoStore as error:
        pytest.skip(str(error))
    yield store
    store.kill()


def readiness(service: Service) -> str:
    """The code of the problem that /readyz has; of one that only lacks a worker, all that is about Redis is well."""
    status, problem = service.call("GET", "/readyz", role=None)
    assert status == 503
    return str(problem["code"])


def test_octowait_is_not_ready_on_a_redis_that_keeps_too_little(store, namespace, tmp_path):
    service = Service(store.url, namespace, tmp_path, forked=True)
    client = store.client()
    try:
        service.start()
        assert "Redis syncs its file 'no', and OCTOWAIT_MIN_FSYNC=everysec" in service.log.read_text()
        assert readiness(service) == "redis_fsync"
        # It goes on all the same, and Health says it too.
        assert service.call("PUT", "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]})[1]["state"] == "granted"
        assert "redis_fsync" in [fault["code"] for fault in service.call("GET", "/api/machines")[1]["faults"]]

        client.config_set("appendfsync", "everysec")
        assert readiness(service) == "no_worker"

        client.config_set("maxmemory", 1 << 30)
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert readiness(service) == "redis_eviction"
    finally:
        service.stop()
        client.close()

    accepting = Service(store.url, namespace, tmp_path, forked=True, OCTOWAIT_ALLOW_EVICTION="true",
                        OCTOWAIT_MIN_FSYNC="always")  # fmt: skip
    try:
        accepting.start()
        log = accepting.log.read_text()
        assert "OCTOWAIT_MIN_FSYNC=always says that no grant that was told may be lost" in log
        assert "evicts" not in log
        assert readiness(accepting) == "redis_fsync"
    finally:
        accepting.stop()


def test_step_and_webhook_are_told_nothing_that_no_replica_has(tmp_path, namespace):
    primary, replica = (Store("valkey", tmp_path / name) for name in ("primary", "replica"))
    for store in (primary, replica):
        store.directory.mkdir()
        store.start()
    replica.client().replicaof("127.0.0.1", primary.port)
    eventually(lambda: replica.client().info("replication")["master_link_status"] == "up")
    service = Service(primary.url, namespace, tmp_path, forked=True, OCTOWAIT_REDIS_REPLICAS="1")
    path, body = "/api/waits/ServerTasks-1", {"machines": ["Machines-7"]}
    try:
        service.start()
        counters = Keys(namespace).counters
        eventually(lambda: primary.client().hget(counters, "replicas") == b"1")
        assert service.deliver(a_delivery(number=1, task=9))[0] == 202

        replica.signal(signal.SIGSTOP)
        status, answer = service.call("PUT", path, body, role="step")
        assert (status, answer["state"], answer["fencing_token"]) == (201, "waiting", None)
        assert answer["message"].startswith("Waiting: its grant is being copied to the replicas of Redis")
        text = service.call("GET", path, role="step", headers={"Accept": "text/plain"})[1]
        assert text.startswith("waiting 0\nWaiting: its grant is being copied")
        assert service.deliver(a_delivery(number=2, task=10))[0] == 503
        with ThreadPoolExecutor(1) as pool:
            blocked = pool.submit(service.call, "GET", f"{path}?block_seconds=50", None, "step")
            replica.signal(signal.SIGCONT)
            assert blocked.result(20)[1]["state"] == "granted"
        assert service.deliver(a_delivery(number=2, task=10)) == (202, {"event": "Events-2", "outcome": "duplicate"})

        replica.kill()
        assert eventually(lambda: readiness(service) == "redis_replicas")
    finally:
        service.stop()
        replica.signal(signal.SIGCONT)
        for store in (primary, replica):
            store.kill()
