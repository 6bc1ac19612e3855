import re

import pytest

from app.jobs import JOBS
from app.store.connection import connect
from app.store.keys import KEYS, NAMES, Key, Keys, listed
from tests.conftest import ROOT, unlisted_keys

TYPES = {"string", "list", "set", "zset", "hash", "stream", "channel", "list or stream", "hash or string"}


def test_each_name_is_listed_once():
    names = [key.name for key in KEYS]

    assert len(set(names)) == len(names)
    assert set(NAMES) < set(names)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_each_key_has_a_type_an_owner_a_lifetime_and_a_meaning(key: Key):
    assert key.type in TYPES
    assert (ROOT / key.owner).exists(), key.owner
    assert key.lifetime and key.meaning
    assert listed(Keys("a:b").named(key.name, "1" if key.is_prefix else "")) is key


def test_each_job_has_a_round():
    assert {key.name for key in KEYS if key.name.endswith("-round")} == {f"{job.name}-round" for job in JOBS}


def test_no_key_is_used_that_is_not_listed():
    keys = Keys("default")

    with pytest.raises(KeyError):
        keys.named("rnus")
    with pytest.raises(KeyError):
        keys.named("runs", "servertasks-1")
    with pytest.raises(AttributeError):
        _ = keys.rnus


@pytest.mark.parametrize(
    "name",
    ["octowait:{default}:rnus", "octowait:{default}:runs:1", "octowait:runs", "octowait:{}:runs", "runs", "other"],
)
def test_unlisted_names_are_told_from_listed_ones(name: str):
    assert listed(name) is None


@pytest.mark.parametrize(("name", "prefix"), [("wake:ServerTasks-1", "wake:"), ("index:run:servertasks-1", "index:")])
def test_prefixes_are_listed_with_what_follows_them(name: str, prefix: str):
    key = listed(f"octowait:{{default}}:{name}")

    assert key and key.name == prefix


def test_check_at_the_end_of_a_run_finds_strays_and_wrong_types(namespace: str, redis_url: str):
    client, keys = connect(redis_url), Keys(namespace)
    stray = keys.runs + "-of-nobody"
    client.set(stray, 1)
    client.set(keys.machines, 1)
    client.hset(keys.runs, "servertasks-1", "{}")
    try:
        found = [name for name in unlisted_keys(client) if namespace in name]
    finally:
        client.delete(stray, keys.machines, keys.runs)
        client.close()

    assert found == [f"{name.encode()!r} (string)" for name in sorted((keys.machines, stray))]


def test_names_are_made_from_the_list_only():
    """No module but the list writes what all keys begin with."""
    writers = [
        str(path.relative_to(ROOT))
        for room in ("app", "workers")
        for path in (ROOT / room).rglob("*.py")
        if re.search(r"octowait:\{\{|octowait:\{%", path.read_text())
    ]

    assert writers == ["app/store/keys.py"]
