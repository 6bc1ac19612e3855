"""The notification outbox: reads the timeline from a cursor, and keeps one entry per target until that accepts it.

RQ's own retries would be another way, but a worker runs only the jobs of `app.jobs.JOBS`, without arguments, and reads
no retries from Redis (`workers.vetted`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.followers.cursor import Cursor, Transaction
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors


@dataclass(frozen=True)
class OutboxEntry:
    """One notification for one target. *tries* counts this attempt."""

    member: str
    notice: dict[str, Any]
    tries: int

    @property
    def target(self) -> str:
        return self.member[13:]


class Outbox:
    """The outbox in Redis. All methods raise `StoreError`. Times are milliseconds of the Redis server's clock."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._lines = keys.lines
        self._place, self._due, self._box, self._counter, self._notified, self._tries, self._since = (
            keys.named(f"notify-{name}") for name in ("place", "due", "box", "counter", "told:", "tries", "since")
        )
        self._cursor = Cursor(client, self._place)

    def begin(self, last_id: str, now_ms: int) -> tuple[str, int]:
        """The cursor, and the time since when notifications are sent: *last_id* and now, the first time."""
        with redis_errors(), self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._place, last_id, nx=True)
            pipe.set(self._since, now_ms, nx=True)
            pipe.mget(self._place, self._since)
            place, since = pipe.execute()[-1]
        return place.decode(), int(since)

    def end(self) -> None:
        """Remove the cursor and all entries: notifications that are switched on again begin with what happens then."""
        with redis_errors():
            self._client.delete(self._place, self._since, self._due, self._box, self._tries)

    def is_idle(self, last_id: str, now_ms: int) -> bool:
        """Whether there is no new record, no due entry and no waiter."""
        with redis_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.get(self._place)
            pipe.zcount(self._due, "-inf", now_ms)
            pipe.zcard(self._lines)
            place, due, waiting = pipe.execute()
        return bool(place == last_id.encode() and not due and not waiting)

    def put(
        self, notices: Iterable[tuple[str, timedelta, dict[str, Any]]], targets: Collection[str], now_ms: int,
        *, seen: str = "", to: str = "",
    ) -> bool:  # fmt: skip
        """Add entries for *notices*, each a cause, the time before that is sent again, and a content, and *targets*.

        Args:
            seen: The cursor before these records; nothing is added if another process has moved it.
            to: The cursor after them.
        """
        fresh: dict[str, tuple[timedelta, dict[str, Any]]] = {}
        for cause, once_in, content in notices:
            fresh.setdefault(self._notified + cause.lower(), (once_in, content))

        def write(transaction: Transaction) -> None:
            marks = transaction.mget(list(fresh)) if fresh else []
            untold = [key for key, was_told in zip(fresh, marks, strict=True) if not was_told]
            last = transaction.incrby(self._counter, len(untold)) if untold else 0
            transaction.multi()
            for number, key in enumerate(untold, start=last - len(untold) + 1):
                once_in, content = fresh[key]
                transaction.set(key, "1", px=once_in)
                transaction.hset(self._box, f"{number:012}", json.dumps(content))
                transaction.zadd(self._due, {f"{number:012} {target}": now_ms for target in targets})

        if seen:
            return self._cursor.advance(seen.encode(), to.encode(), write, *fresh)
        with redis_errors():
            self._client.transaction(write, *fresh)
        return True

    def claim(self, now_ms: int, lease: timedelta) -> OutboxEntry | None:
        """The entry that has been due for longest; no other process gets it until *lease* is over."""
        due: list[bytes] = []

        def write(transaction: Transaction) -> None:
            due[:] = transaction.zrangebyscore(self._due, "-inf", now_ms, 0, 1)
            transaction.multi()
            for member in due:
                transaction.zadd(self._due, {member: now_ms + lease // timedelta(milliseconds=1)})
                transaction.hget(self._box, member[:12])
                transaction.hincrby(self._tries, member, 1)

        with redis_errors():
            answers: Any = self._client.transaction(write, self._due)
        return OutboxEntry(due[0].decode(), json.loads(answers[1] or "{}"), answers[2]) if due else None

    def settle(self, entry: OutboxEntry) -> None:
        """Remove an entry that was accepted or given up, and its notice with the last entry of it."""

        def write(transaction: Transaction) -> None:
            number = entry.member[:12].encode()
            same = [member for member in transaction.zrange(self._due, 0, -1) if member.startswith(number)]
            transaction.multi()
            transaction.zrem(self._due, entry.member)
            transaction.hdel(self._tries, entry.member)
            if same in ([], [entry.member.encode()]):
                transaction.hdel(self._box, number)

        with redis_errors():
            self._client.transaction(write, self._due)

    def postpone(self, entry: OutboxEntry, until_ms: int) -> None:
        """Make the entry due at *until_ms*."""
        with redis_errors():
            self._client.zadd(self._due, {entry.member: until_ms}, xx=True)

    def unnotified(self, causes: Collection[str]) -> set[str]:
        """The *causes* without a notification, or whose last one was so long ago that another may be sent."""
        with redis_errors():
            marks: Any = self._client.mget([self._notified + cause.lower() for cause in causes]) if causes else []
        return {cause for cause, was_told in zip(causes, marks, strict=True) if not was_told}
