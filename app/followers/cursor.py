"""A cursor: how far one follower has read the timeline, written in one step with what it made of the records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.store.connection import Client
from app.store.scripts import redis_errors

#: A transaction of redis-py: its commands are answered at once before ``multi()``, and queued behind it.
Transaction = Any


class Cursor:
    """The cursor under a key, in its follower's own form; b"" at the beginning. All methods raise `StoreError`.

    Whoever finds it moved by another process writes nothing: so each record counts once, whoever reads and dies.
    """

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self._key = key

    def value(self) -> bytes:
        """Where the follower stands."""
        with redis_errors():
            return self._client.get(self._key) or b""  # type: ignore[return-value]

    def advance(self, seen: bytes, to: bytes, write: Callable[[Transaction], object], *watched: str) -> bool:
        """Move from *seen* to *to* and write the results; False, and nothing written, if it stands elsewhere.

        Args:
            write: May read the keys *watched*, calls ``multi()`` and queues the results; once more if one has changed.
        """

        def step(transaction: Transaction) -> Any:
            if is_ours := (transaction.get(self._key) or b"") == seen:
                write(transaction)
                transaction.set(self._key, to)
            return is_ours

        with redis_errors():
            return bool(self._client.transaction(step, self._key, *watched, value_from_callable=True))
