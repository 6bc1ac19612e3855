"""The Lua scripts, loaded from their files and called by their SHA-1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.commands.core import Script

from app.store.connection import Client
from app.store.errors import StoreChanged, StoreError, StoreUnreachable
from app.store.keys import Keys

#: Where the scripts are.
LUA = Path(__file__).parent.parent / "coordination" / "lua"

#: What stands in front of every script; each builds on those before it.
LIBRARY = tuple(
    f"lib/{name}" for name in ("keys", "runs", "lines", "circles", "grants", "plans", "ends", "expiry", "view")
)


@cache
def source(name: str) -> str:
    """The text of ``lua/<name>.lua`` behind those of ``lua/lib/``."""
    return "".join((LUA / f"{part}.lua").read_text() for part in (*LIBRARY, name))


@contextmanager
def translated() -> Iterator[None]:
    """Redis errors as ours.

    Raises:
        StoreUnreachable: no answer, or the server is loading, or a replica.
        StoreChanged: a key that a transaction watches was changed.
        StoreError: any other error of the server; the message is its own.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.ReadOnlyError, OSError) as error:
        raise StoreUnreachable(f"Redis does not answer: {error}") from error
    except redis.WatchError as error:
        raise StoreChanged(f"Redis: {error}") from error
    except redis.RedisError as error:
        raise StoreError(f"Redis: {error}") from error


class Scripts:
    """Calls scripts with the keys of one namespace.

    Args:
        offset_ms: What the clock is ahead of the server's; tests move it.
    """

    def __init__(self, client: Client, keys: Keys, *, offset_ms: int = 0) -> None:
        self._client = client
        self._keys = keys.all()
        self._scripts: dict[str, Script] = {}
        self.offset_ms = offset_ms

    def __call__(self, name: str, *args: str | int) -> Sequence[Any]:
        """The answer of ``lua/<name>.lua``: a list that starts with a word, text as bytes.

        Raises:
            StoreError: as `translated` says.
        """
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._client.register_script(source(name))
        with translated():
            answer: Sequence[Any] = script(self._keys, [self.offset_ms, *args])
        return answer
