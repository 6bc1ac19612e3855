"""The Redis server under octowait: whether it keeps what it has acknowledged, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from app.store.connection import Client
from app.store.keys import Keys
from app.store.rehearsal import StoreRefusal, refusals
from app.store.schema import FIELDS, needed_release
from app.store.scripts import redis_errors


@dataclass(frozen=True)
class Condition:
    """What the server says of itself.

    *fsync* is ``always``, ``everysec``, ``no``, or None where it may not be asked; *maxmemory* in bytes, 0 is no limit.
    """

    version: str
    append_only: bool
    fsync: str | None
    snapshots: bool
    maxmemory: int
    eviction: str
    #: Those that copy what it writes, as (host, port).
    replicas: tuple[tuple[str, int], ...] = ()
    #: It does not say which server it is, so that nobody sees that another one has taken its place.
    hides_run_id: bool = False
    #: What it refuses although it answers.
    refusals: tuple[StoreRefusal, ...] = ()
    #: The octowait that may write its data, where this one is too old for them.
    needed_release: str | None = None


def read_condition(client: Client, process: str, namespace: str) -> Condition:
    """The condition of the server that *client* speaks to, for what *process*, of `app.store.rights`, does there.

    Raises:
        StoreError: Redis does not answer.
    """
    refused = refusals(client, process, namespace)
    if StoreRefusal("right", "+info") in refused:
        return Condition("", append_only=True, fsync=None, snapshots=False, maxmemory=0, eviction="", refusals=refused)
    with redis_errors():
        info: dict[str, Any] = client.info()
        needed = _needed_release(client, Keys(namespace))
    settings = _configuration(client)
    failure = _write_failure(client, info)
    return Condition(
        # Valkey gives the version of Redis that it is compatible with, and its own.
        version=str(info.get("redis_version", "")),
        append_only=bool(info.get("aof_enabled")),
        fsync=settings.get("appendfsync"),
        # Without the right to ask, a snapshot that was ever made tells.
        snapshots=bool(settings["save"]) if "save" in settings else bool(info.get("rdb_last_save_time")),
        maxmemory=int(info.get("maxmemory") or 0),
        eviction=str(info.get("maxmemory_policy", "")),
        replicas=tuple(_replicas(info)),
        hides_run_id=not info.get("run_id"),
        refusals=(StoreRefusal("cannot_write", failure),) if failure else refused,
        needed_release=needed,
    )


def _needed_release(client: Client, keys: Keys) -> str | None:
    try:
        fields: Any = client.hmget(keys.counters, FIELDS)
    except redis.ResponseError:
        return None  # A right that is missing, or a key of another type, is told of elsewhere.
    return needed_release(*fields)


def is_synced(client: Client) -> bool:
    """Whether nothing is lost when the server starts again: it writes every change to its disk before it answers, and
    has not taken over from another one. False where it may not be asked.

    Raises:
        StoreError: Redis does not answer.
    """
    with redis_errors():
        info: dict[str, Any] = client.info()
    has_taken_over = int(info.get("second_repl_offset", -1)) != -1
    return (
        bool(info.get("aof_enabled")) and not has_taken_over and _configuration(client).get("appendfsync") == "always"
    )


def _replicas(info: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for number in range(int(info.get("connected_slaves") or 0)):
        replica = info.get(f"slave{number}")
        if isinstance(replica, dict) and replica.get("state") == "online":
            yield str(replica.get("ip", "")), int(replica.get("port") or 0)


def _write_failure(client: Client, info: dict[str, Any]) -> str | None:
    """Why the server refuses changes: it could not write what it has to keep; None where it can."""
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        return _refusal(client) or "the last write of its append-only file failed"
    if not info.get("aof_enabled") and info.get("rdb_last_bgsave_status", "ok") != "ok":
        return "its last snapshot failed"
    return None


def _refusal(client: Client) -> str | None:
    """What the server answers to everything that it refuses, such as ``No space left on device``."""
    try:
        client.ping()
    except redis.ResponseError as error:
        return str(error).partition("AOF file: ")[2] or None
    return None


def _configuration(client: Client) -> dict[str, str]:
    """Those settings that INFO does not show; nothing where a managed server refuses."""
    try:
        values: Any = client.config_get("appendfsync", "save")
    except redis.ResponseError:
        return {}
    except redis.RedisError:
        with redis_errors():
            raise
    return {_text(name): _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
