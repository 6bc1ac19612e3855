"""Refused calls: who was refused what, from where and how often; for people, not for decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: How long they are remembered, and how many entries at most: one a minute, process, caller and reason.
REMEMBERED = timedelta(days=1)
MOST_ENTRIES = 1000


@dataclass(frozen=True)
class CallRefusal:
    """*who* is a token's name and role, or what is known; *address* where it came from; *why* a sentence."""

    who: str
    address: str
    why: str


@dataclass(frozen=True)
class RefusalCount:
    """How often the same was refused; times in ms."""

    who: str
    address: str
    why: str
    count: int
    first_ms: int
    last_ms: int


class Refusals:
    """Refused calls of all processes. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._key = keys.refused

    def add(self, counts: Mapping[CallRefusal, int]) -> None:
        with redis_errors(), self._client.pipeline(transaction=False) as pipe:
            for refusal, count in counts.items():
                fields: Any = {**refusal.__dict__, "count": count}
                pipe.xadd(self._key, fields, maxlen=MOST_ENTRIES, approximate=False)
            pipe.expire(self._key, REMEMBERED)
            pipe.execute()

    def recent(self) -> list[RefusalCount]:
        """Those of the last day, the newest first."""
        with redis_errors():
            seconds, _ = self._client.time()
            oldest_ms = (seconds - int(REMEMBERED.total_seconds())) * 1000
            entries: Any = self._client.xrevrange(self._key, min=oldest_ms)
        counts: dict[CallRefusal, RefusalCount] = {}
        for stamp, fields in entries:
            at_ms, count = int(stamp.split(b"-")[0]), int(fields[b"count"])
            refusal = CallRefusal(*(fields[name].decode() for name in (b"who", b"address", b"why")))
            before = counts.get(refusal)
            last_ms, counted = (before.last_ms, before.count) if before else (at_ms, 0)
            counts[refusal] = RefusalCount(**refusal.__dict__, count=counted + count, first_ms=at_ms, last_ms=last_ms)
        return sorted(counts.values(), key=lambda each: each.last_ms, reverse=True)
