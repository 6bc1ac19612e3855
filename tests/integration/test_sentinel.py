"""Redis found by Sentinel: as few connections as to a Redis whose address is known."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from app.store.connection import connect
from tests.chaos.store import Store, binary
from tests.conftest import eventually
from tests.ports import free_port

SERVICE, MOST = "octowait", 3


@pytest.fixture
def primary(tmp_path):
    store = Store("valkey", tmp_path)
    store.start()
    yield store
    store.kill()


@pytest.fixture
def sentinel_url(tmp_path, primary):
    file, port = tmp_path / "sentinel.conf", free_port()
    file.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nlogfile {tmp_path}/sentinel.log\n"
        f"sentinel monitor {SERVICE} {primary.host} {primary.port} 1\n"
    )
    process = subprocess.Popen([binary("valkey"), str(file), "--sentinel"], stdin=subprocess.DEVNULL)
    yield f"sentinel://127.0.0.1:{port}/{SERVICE}"
    process.kill()
    process.wait(10)


def names(client):
    return [each["name"] for each in client.client_list()]


def test_many_who_ask_at_once_share_few_connections(primary, sentinel_url):
    client = connect(sentinel_url, max_connections=MOST)
    eventually(lambda: _answers(client))
    all_there = threading.Barrier(20)

    def ask(n):
        all_there.wait(30)
        client.client_setname("ours")
        return client.incr("count")

    with ThreadPoolExecutor(20) as threads:
        assert sorted(threads.map(ask, range(20))) == list(range(1, 21))
    # Others there are Sentinel's own, and the one that lists them.
    own = primary.client()
    assert 1 <= names(own).count("ours") <= MOST
    client.close()
    own.close()


def _answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False
