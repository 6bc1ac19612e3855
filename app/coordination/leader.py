"""A lease on a role that only one process may play."""

from __future__ import annotations

import uuid
from datetime import timedelta

from app.store.connection import Client
from app.store.scripts import translated

# Only the one who has it prolongs it or gives it back.
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Lease:
    """A key that expires when its holder stops renewing it. All methods raise `StoreError`."""

    def __init__(self, client: Client, key: str, ttl: timedelta) -> None:
        self._client = client
        self._key = key
        self._ttl = ttl
        self._token = uuid.uuid4().hex

    def hold(self) -> bool:
        """Take the lease or prolong it; False while another has it."""
        ttl_ms = self._ttl // timedelta(milliseconds=1)
        with translated():
            renewed = self._client.eval(_RENEW, 1, self._key, self._token, ttl_ms)
            return bool(renewed) or bool(self._client.set(self._key, self._token, nx=True, px=self._ttl))

    def release(self) -> None:
        """Give the lease back, so that the next need not wait until it expires."""
        with translated():
            self._client.eval(_RELEASE, 1, self._key, self._token)
