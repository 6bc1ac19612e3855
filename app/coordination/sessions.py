"""Sessions of people, and one-time codes that open one: on the server, so that what ends there has ended everywhere.

Redis has the digest of an id only: who reads it there, or in a backup of it, cannot be anybody.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: How long a session lasts, whatever is done in it; and a code that nobody has used.
SESSION_LIFETIME = timedelta(hours=12)
CODE_LIFETIME = timedelta(minutes=10)


class Sessions:
    """Sessions and codes of all processes. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def open(self, values: Mapping[str, Any], lifetime: timedelta = SESSION_LIFETIME) -> str:
        """A new session with *values*: its id, which is told to its browser and to nobody else."""
        session_id = secrets.token_urlsafe(32)
        with redis_errors():
            self._client.set(self._key(session_id), _json(values), px=lifetime)
        return session_id

    def values(self, session_id: str) -> dict[str, Any] | None:
        """What is in a session; None if there is none, or no longer."""
        with redis_errors():
            raw: Any = self._client.get(self._key(session_id))
        values: dict[str, Any] | None = json.loads(raw) if raw else None
        return values

    def keep(self, session_id: str, values: Mapping[str, Any]) -> None:
        """Change what is in a session, if it has not ended; it does not last longer for that."""
        with redis_errors():
            self._client.set(self._key(session_id), _json(values), xx=True, keepttl=True)

    def end(self, session_id: str) -> None:
        with redis_errors():
            self._client.delete(self._key(session_id))

    def make_code(self, token_digest: str) -> str:
        """A code that opens one session of the token with that digest."""
        code = secrets.token_urlsafe(24)
        with redis_errors():
            self._client.set(self._keys.named("sign-in-code:", _digest(code)), token_digest, px=CODE_LIFETIME)
        return code

    def take_code(self, code: str) -> str | None:
        """The digest that a code is for, once; None if it was used, is too old, or was never made."""
        with redis_errors():
            raw: Any = self._client.getdel(self._keys.named("sign-in-code:", _digest(code)))
        return raw.decode() if raw else None

    def _key(self, session_id: str) -> str:
        return self._keys.named("session:", _digest(session_id))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), separators=(",", ":"))
