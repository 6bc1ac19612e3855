"""Failed attempts to sign in: how many there were lately, counted for all processes together."""

from __future__ import annotations

from datetime import timedelta

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Failed attempts of one address in one minute, after which it has to wait for the next minute.
MOST_FAILURES = 20

#: The same of tokens in a header, which programs send: one with a wrong token sends it again and again.
MOST_TOKENS = 60

WINDOW = timedelta(minutes=1)


class Attempts:
    """Counts failures by address. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def seconds_to_wait(self, address: str, *, most: int = MOST_FAILURES) -> int:
        """0 when the address may try, else how long it may not."""
        with redis_errors(), self._client.pipeline(transaction=True) as pipe:
            pipe.get(self._key(address))
            pipe.ttl(self._key(address))
            failures, ttl = pipe.execute()
        return max(1, int(ttl)) if int(failures or 0) >= most else 0

    def failed(self, address: str) -> None:
        """Count a failure; the first one begins the minute."""
        with redis_errors(), self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._key(address), 0, nx=True, px=WINDOW)
            pipe.incr(self._key(address))
            pipe.execute()

    def _key(self, address: str) -> str:
        return self._keys.named("sign-in:", address)
