"""Replicas of the Redis server: whether what was written has been copied to them, and which could take over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis

from app.store.connection import Client, connect
from app.store.scripts import redis_errors

#: Milliseconds to wait for replicas; less than `app.store.connection.COMMAND_TIMEOUT`.
COPY_TIMEOUT_MS = 3_000

#: Milliseconds until replicas are asked again what is in their files.
ASK_AGAIN_MS = 50

#: Seconds until a server is asked anew which commands it has: it can have been replaced by a newer one.
LOOK_AGAIN = 60.0

#: Seconds for a replica to answer somebody who only asks what it is.
ASK_TIMEOUT = 2.0

#: What puts a command into a pipeline.
Write = Callable[[Any], None]


class Replicas:
    """The replicas of the server, of which *count* must have what was written.

    Args:
        client: For this alone. ``WAIT`` speaks of what its own connection has written, so whoever asks writes first.
        with_files: Wait also until it is in the files of the server and of the replicas, where the server can tell
            (``WAITAOF``: Redis 7.2, Valkey).
    """

    def __init__(
        self, client: Client, count: int, *, with_files: bool = True, timeout_ms: int = COPY_TIMEOUT_MS
    ) -> None:  # fmt: skip
        self._client = client
        self._count = count
        self._timeout_ms = timeout_ms
        #: In how many files of its own the server is to have it, the strictest first; None: files do not count.
        self._ways: Sequence[int | None] = (1, 0, None) if with_files else (None,)
        #: Those that the server has, until when that is believed.
        self._usable: Sequence[int | None] = self._ways
        self._usable_until = 0.0

    def copy(self, write: Write) -> tuple[Any, bool]:
        """The answer to *write*, and whether the replicas have all that was written up to it, by whomever.

        At most `COPY_TIMEOUT_MS`.

        Raises:
            StoreError: Redis cannot do it.
        """
        with redis_errors():
            if time.monotonic() > self._usable_until:
                self._usable, self._usable_until = self._ways, time.monotonic() + LOOK_AGAIN
            while True:
                local = self._usable[0]
                commands = self._commands(local)
                # Not in MULTI, where WAIT does not wait.
                with self._client.pipeline(transaction=False) as pipe:
                    write(pipe)
                    for command in commands:
                        pipe.execute_command(*command)  # type: ignore[no-untyped-call]
                    answer, *_, copies = pipe.execute(raise_on_error=False)
                if isinstance(answer, Exception):
                    raise answer
                if not isinstance(copies, Exception):
                    return answer, self._is_enough(copies, local)
                if local is None:
                    raise copies
                # A server of before WAITAOF, one without a file of its own, or one where it is not allowed.
                self._usable = self._usable[1:]

    def _commands(self, local: int | None) -> list[tuple[str | int, ...]]:
        """WAITAOF asks the replicas once, and they answer what is in their files by then or, by themselves, once a
        second. So it is asked again at once when they have it in memory, and once more: measured, 15 ms, not a second.
        """
        if local is None:
            return [("WAIT", self._count, self._timeout_ms)]
        half_ms = self._timeout_ms // 2
        return [
            ("WAIT", self._count, half_ms),
            *(("WAITAOF", local, self._count, ms) for ms in (min(ASK_AGAIN_MS, half_ms), half_ms)),
        ]

    def _is_enough(self, copies: Any, local: int | None) -> bool:
        if local is None:
            return int(copies) >= self._count
        return int(copies[0]) >= local and int(copies[1]) >= self._count


def make_replicas(
    url: str, count: int, *, with_files: bool, greet: Callable[[Any], None] | None = None
) -> Replicas | None:  # fmt: skip
    """The replicas of the server at *url*, over a connection of their own; None where *count* is 0.

    Args:
        greet: As `connect` has it: this connection, too, may lead to another server than the one before.
    """
    if not count:
        return None
    return Replicas(connect(url, max_connections=1, greet=greet), count, with_files=with_files)


class Copier:
    """Asks `Replicas` for all who ask at the same time together: one connection, one wait.

    Args:
        write: Puts the command about the items of all of them into a pipeline; its answer is handed to each.
    """

    def __init__(self, replicas: Replicas, write: Callable[[Any, list[Any]], None]) -> None:
        self._replicas = replicas
        self._write = write
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._next = _Batch()

    def copy(self, item: Any = None) -> tuple[Any, bool]:
        """As `Replicas.copy`; *item* is something that the write is about, or None."""
        with self._guard:
            batch = self._next
            if item is not None:
                batch.items.append(item)
        with self._turn:
            if not batch.is_done:
                with self._guard:
                    self._next = _Batch()
                batch.run(self._replicas, self._write)
        if batch.error:
            raise batch.error
        return batch.answer, batch.is_copied


class _Batch:
    def __init__(self) -> None:
        self.items: list[Any] = []
        self.is_done = False
        self.answer: Any = None
        self.is_copied = False
        self.error: Exception | None = None

    def run(self, replicas: Replicas, write: Callable[[Any, list[Any]], None]) -> None:
        try:
            self.answer, self.is_copied = replicas.copy(lambda pipe: write(pipe, self.items))
        except Exception as error:  # for each of those who wait for this
            self.error = error
        finally:
            self.is_done = True


def priority_of_replica(client: Client, host: str, port: int) -> int | None:
    """The priority with which Sentinel makes that replica of the server of *client* primary, 0: never; None where it
    does not answer.
    """
    own = client.connection_pool.connection_kwargs
    ways = {name: own[name] for name in ("username", "password", "ssl_ca_certs", "ssl_cert_reqs") if own.get(name)}
    is_tls = "SSL" in client.connection_pool.connection_class.__name__
    replica = redis.Redis(
        host=host, port=port, ssl=is_tls, socket_timeout=ASK_TIMEOUT, socket_connect_timeout=ASK_TIMEOUT, **ways
    )
    try:
        info: Any = replica.info("replication")
        return int(info.get("slave_priority", 100)) if info.get("role") == "slave" else None
    except (redis.RedisError, OSError):
        return None
    finally:
        replica.close()
