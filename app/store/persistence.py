"""The persistence of the Redis server under octowait: whether it keeps what it has acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from app.store.connection import Client
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


def read_condition(client: Client) -> Condition:
    """The condition of the server that *client* speaks to.

    Raises:
        StoreError: Redis does not answer.
    """
    with redis_errors():
        info: dict[str, Any] = client.info()
    settings = _configuration(client)
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
    )


def _replicas(info: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for number in range(int(info.get("connected_slaves") or 0)):
        replica = info.get(f"slave{number}")
        if isinstance(replica, dict) and replica.get("state") == "online":
            yield str(replica.get("ip", "")), int(replica.get("port") or 0)


def write_failure(client: Client) -> str | None:
    """Why the server refuses changes: it could not write what it has to keep; None where it can.

    Raises:
        StoreError: Redis does not answer.
    """
    with redis_errors():
        info: dict[str, Any] = client.info("persistence")
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
