"""What the access control list of each process lets it do on real servers, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis

from app.store.errors import StoreError, StoreUnreachable
from app.store.rehearsal import StoreRefusal, refusals
from app.store.rights import PROCESSES, rules
from tests.chaos.store import STORES, NoStore, Store

OCTOWAIT = ("web", "worker", "scheduler")


@pytest.fixture(params=STORES, scope="module")
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    try:
        store = Store(request.param, tmp_path_factory.mktemp("store"))
        store.start()
    except NoStore as error:
        pytest.skip(str(error))
    yield store
    store.kill()


@pytest.fixture
def log_in(store: Store) -> Iterator[Callable[..., Any]]:
    """Clients of a user that has the rights of a process, and then the rules that are given."""
    clients: list[Any] = []
    admin = store.client()
    admin.flushall()

    def make(process: str, *more: str) -> Any:
        admin.execute_command("ACL", "SETUSER", "somebody", "reset", "on", ">password", *rules(process, "one"), *more)
        clients.append(redis.Redis(port=store.port, username="somebody", password="password", socket_timeout=10))
        return clients[-1]

    yield make
    for client in (admin, *clients):
        client.close()


#: Of the server, or of somebody else.
OF_OTHERS = (
    "FLUSHALL", "KEYS *", "SCAN 0", "RANDOMKEY", "CONFIG GET requirepass", "CONFIG SET maxmemory 1", "ACL LIST",
    "ACL SETUSER other on", "EVAL return(1) 0", "SHUTDOWN", "REPLICAOF no one", "MONITOR", "CLIENT KILL TYPE normal",
    "SCRIPT FLUSH", "SAVE", "MODULE LIST", "SWAPDB 0 1", "GET octowait:{two}:runs", "SET octowait:{two}:runs 1",
    "GET other", "SUBSCRIBE octowait:{two}:wakes", "PUBLISH other 1",
)  # fmt: skip

#: Nothing for a step, besides.
OF_OCTOWAIT = (
    "BLPOP octowait:{one}:runs 1", "LPUSH octowait:{one}:wake:a 1", "GET octowait:{one}:wake:a",
    "DEL octowait:{one}:wake:a",
    "BRPOP octowait:{one}:wake:a 1", "LPOP octowait:{one}:wake:a", "INFO", "PING", "SELECT 1", "MULTI", "CLIENT LIST",
    "SUBSCRIBE octowait:{one}:wakes", "TIME", "ACL WHOAMI", "BLPOP octowait:{two}:wake:a 1",
)  # fmt: skip


def allowed(client: Any, calls: Sequence[str]) -> list[str]:
    """Those of the calls that nobody objects to."""
    found = []
    for call in calls:
        try:
            client.execute_command(*call.split())
        except redis.exceptions.NoPermissionError:
            continue
        found.append(call)
    return found


@pytest.mark.parametrize("process", OCTOWAIT)
def test_each_process_has_the_rights_for_all_that_it_calls_and_a_rehearsal_does_nothing(log_in, store, process):
    assert refusals(log_in(process), process, "one") == ()
    assert store.client().dbsize() == 0


@pytest.mark.parametrize("process", PROCESSES)
def test_no_process_rules_the_server_or_reaches_what_is_of_others(log_in, process):
    assert allowed(log_in(process), OF_OTHERS) == []


def test_step_blocks_on_its_wake_keys_and_does_nothing_else(log_in, store):
    client, admin = log_in("step"), store.client()
    admin.rpush("octowait:{one}:wake:ServerTasks-1", "granted")

    assert client.blpop(["octowait:{one}:wake:ServerTasks-1"], timeout=5)[1] == b"granted"
    assert allowed(client, OF_OCTOWAIT) == []
    admin.close()


@pytest.mark.parametrize("process", OCTOWAIT)
@pytest.mark.parametrize(("taken", "missing"), [
    ("-time", "+time"), ("-zadd", "+zadd"), ("-script|load", "+script|load"), ("-publish", "+publish"),
    ("-evalsha", "+evalsha"),
])  # fmt: skip
def test_missing_right_is_named(log_in, process, taken, missing):
    assert refusals(log_in(process, taken), process, "one") == (StoreRefusal("right", missing),)


@pytest.mark.parametrize(("process", "left", "missing"), [
    ("web", ["resetchannels"], "&octowait:{one}:wakes"),
    ("worker", ["resetchannels", "&octowait:{one}:wakes"], "&rq:pubsub:*"),
    ("worker", ["resetkeys", "~octowait:{one}:*"], "~rq:*"),
    ("web", ["resetkeys", "~rq:*"], "~octowait:{one}:*"),
    ("scheduler", ["resetkeys", "~octowait:{one}:*", "~rq:queue*", "~rq:worker*", "~rq:job:*"], "~rq:queues"),
])  # fmt: skip
def test_missing_keys_and_channels_are_named(log_in, process, left, missing):
    if missing == "~rq:queues":
        left = [rule for rule in left if rule != "~rq:queue*"] + ["~rq:queue:*"]

    assert refusals(log_in(process, *left), process, "one") == (StoreRefusal("right", missing),)


def test_nothing_is_done_where_a_transaction_may_not_begin(log_in, store):
    client, admin = log_in("web", "-multi"), store.client()

    with pytest.raises(StoreError, match="multi"):
        refusals(client, "web", "one")
    assert admin.dbsize() == 0
    # Whoever has the connection next gets the answers to what he asks.
    assert client.ping() is True
    admin.close()


def test_user_that_is_not_let_in_is_no_server_that_does_not_answer(log_in, store):
    log_in("web")
    stranger = redis.Redis(port=store.port, username="somebody", password="another password")

    with pytest.raises(StoreUnreachable, match="does not let its user in") as refused:
        refusals(stranger, "web", "one")
    assert "another password" not in str(refused.value)
    stranger.close()


def test_server_that_answers_and_refuses_is_known_by_its_reason(log_in, store):
    client, admin = log_in("web"), store.client()
    try:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        assert [each.kind for each in refusals(client, "web", "one")] == ["full"]
        admin.config_set("maxmemory", 0)
        admin.replicaof("127.0.0.1", 1)
        assert [each.kind for each in refusals(client, "web", "one")] == ["read_only"]
        admin.replicaof("NO", "ONE")
        admin.config_set("min-replicas-to-write", 1)
        [refusal] = refusals(client, "web", "one")
        assert refusal.kind == "other" and "replicas" in refusal.what
    finally:
        admin.replicaof("NO", "ONE")
        admin.config_set("maxmemory", 0)
        admin.config_set("min-replicas-to-write", 0)
        admin.close()
    assert refusals(client, "web", "one") == ()
