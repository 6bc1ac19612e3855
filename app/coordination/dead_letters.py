"""Dead letters, for a person: deliveries that could not be applied, and jobs that failed."""

from __future__ import annotations

from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Entries that stay; older ones make room.
MOST_KEPT = 1000


class _Log:
    """The last entries of one kind. All methods raise `StoreError`."""

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self._key = key

    def _keep(self, fields: dict[str, str]) -> None:
        entry: Any = fields
        with redis_errors():
            self._client.xadd(self._key, entry, maxlen=MOST_KEPT, approximate=False)

    def forget(self, entry_id: str) -> bool:
        """Keep that entry no longer; False if it was not kept."""
        with redis_errors():
            return bool(self._client.xdel(self._key, entry_id))

    def all(self) -> list[dict[str, Any]]:
        """The entries, newest first: ``{"id", "at_ms", …fields}``."""
        with redis_errors():
            entries: Any = self._client.xrevrange(self._key)
        return [
            {"id": i.decode(), "at_ms": int(i.split(b"-")[0]), **{k.decode(): v.decode() for k, v in fields.items()}}
            for i, fields in entries
        ]

    def count(self) -> int:
        with redis_errors():
            return int(self._client.xlen(self._key))


class DeliveryLog(_Log):
    """Deliveries that could not be applied: ``body``, ``reason`` and, where it is known, the id of the ``event``."""

    def __init__(self, client: Client, keys: Keys) -> None:
        super().__init__(client, keys.kept)

    def keep(self, *, body: str, reason: str, event: str | None = None) -> None:
        self._keep({"body": body, "reason": reason, **({"event": event} if event else {})})


class JobLog(_Log):
    """Jobs that failed: ``job`` and ``error``."""

    def __init__(self, client: Client, keys: Keys) -> None:
        super().__init__(client, keys.dead)

    def keep(self, *, job: str, error: str) -> None:
        self._keep({"job": job, "error": error})
