"""What could not be done, kept for a person: deliveries that could not be applied, and jobs that failed."""

from __future__ import annotations

from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import translated

#: Entries that stay; older ones make room.
MOST_KEPT = 1000


class Kept:
    """The last entries of one kind, ``kept`` (deliveries) or ``dead`` (jobs). All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys, kind: str = "kept") -> None:
        self._client = client
        self._key = keys.named(kind)

    def keep(self, **fields: str) -> None:
        """Keep an entry of such *fields*, e.g. ``body`` and ``reason``."""
        entry: Any = fields
        with translated():
            self._client.xadd(self._key, entry, maxlen=MOST_KEPT, approximate=False)

    def forget(self, entry_id: str) -> bool:
        """Keep that entry no longer; False if it was not kept."""
        with translated():
            return bool(self._client.xdel(self._key, entry_id))

    def all(self) -> list[dict[str, Any]]:
        """What `keep` kept, newest first: ``{"id", "at_ms", …fields}``."""
        with translated():
            entries: Any = self._client.xrevrange(self._key)
        return [
            {"id": i.decode(), "at_ms": int(i.split(b"-")[0]), **{k.decode(): v.decode() for k, v in fields.items()}}
            for i, fields in entries
        ]

    def count(self) -> int:
        with translated():
            return int(self._client.xlen(self._key))
