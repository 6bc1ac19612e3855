"""Progress of the catch-up: the time up to which the events of Octopus have been read."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: How long the categories of the server are remembered.
CATEGORIES_TTL = timedelta(hours=1)


class CatchUpProgress:
    """What one catch-up leaves to the next. Milliseconds of Octopus's clock; all methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read_to_ms(self) -> int:
        """Up to when all events were read; 0 if none ever were."""
        return self._number(self._keys.named("caught-up-to"))

    def set_read_to(self, at_ms: int) -> None:
        self._set(self._keys.named("caught-up-to"), at_ms)

    def window_ms(self) -> int:
        """The events of how long a time are read at once; 0 if nobody has said."""
        return self._number(self._keys.named("caught-up-by"))

    def set_window(self, length_ms: int) -> None:
        self._set(self._keys.named("caught-up-by"), length_ms)

    def categories(self) -> tuple[str, ...] | None:
        """The event categories of the server that are about runs; None if they are to be asked for."""
        with redis_errors():
            known: Any = self._client.get(self._keys.named("event-categories"))
        return tuple(json.loads(known)) if known else None

    def set_categories(self, categories: tuple[str, ...]) -> None:
        with redis_errors():
            self._client.set(self._keys.named("event-categories"), json.dumps(categories), ex=CATEGORIES_TTL)

    def _number(self, key: str) -> int:
        with redis_errors():
            return int(self._client.get(key) or 0)

    def _set(self, key: str, number: int) -> None:
        with redis_errors():
            self._client.set(key, number)
