"""The cache of one worker for answers of Octopus, bounded in entries and in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar

from app.octopus.first_step import FirstAction

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """A cache: values by key, each for *ttl*; of more than *most* the oldest go.

    Args:
        now: Seconds by a clock that never goes back.
    """

    def __init__(self, *, ttl: timedelta, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._ttl = ttl.total_seconds()
        self._most = most
        self._now = now
        self._entries: dict[K, tuple[float, V]] = {}

    def __contains__(self, key: K) -> bool:
        entry = self._entries.get(key)
        return entry is not None and self._now() < entry[0] + self._ttl

    def get(self, key: K) -> V | None:
        """The value, or None where there is none any more."""
        return self._entries[key][1] if key in self else None

    def put(self, key: K, value: V) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (self._now(), value)
        if len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]


#: A kind (``projects``), a space or None, and an id, both in lower case.
DocumentKey = tuple[str, str, str]


def document_key(kind: str, space: str | None, document_id: str) -> DocumentKey:
    return kind, (space or "").lower(), document_id.lower()


@dataclass(frozen=True)
class Memory:
    """The caches of a worker between two passes; nothing depends on them."""

    #: Names and versions; None where Octopus had none to give. What is renamed is shown so after this.
    names: Cache[DocumentKey, str | None] = field(default_factory=lambda: Cache(ttl=timedelta(minutes=10), most=20_000))
    #: How processes begin, by the ids of their snapshots, which never change; None where that cannot be read.
    first_actions: Cache[DocumentKey, FirstAction | None] = field(
        default_factory=lambda: Cache(ttl=timedelta(days=1), most=5_000)
    )
