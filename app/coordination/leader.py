"""A lock for the one process that does what only one may do."""

from __future__ import annotations

import uuid
from datetime import timedelta

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import SideScript, redis_errors


class LeaderLock:
    """A key that expires when its holder stops renewing it. All methods raise `StoreError`.

    Args:
        name: The key's, in `app.store.keys`.
    """

    def __init__(self, client: Client, keys: Keys, name: str, ttl: timedelta) -> None:
        self._client = client
        self._key = keys.named(name)
        self._ttl = ttl
        self._token = uuid.uuid4().hex
        self._renew = SideScript(client, keys, "coordination", "renew_leader_lock")
        self._release = SideScript(client, keys, "coordination", "release_leader_lock")

    def hold(self) -> bool:
        """Take the lock or prolong it; False while another has it."""
        ttl_ms = self._ttl // timedelta(milliseconds=1)
        with redis_errors():
            is_renewed = self._renew([self._key], [self._token, ttl_ms])[0] == b"renewed"
            return is_renewed or bool(self._client.set(self._key, self._token, nx=True, px=self._ttl))

    def release(self) -> None:
        """Give the lock back, so that the next need not wait until it expires."""
        with redis_errors():
            self._release([self._key], [self._token])
