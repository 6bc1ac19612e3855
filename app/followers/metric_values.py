"""Metric values in Redis: every process reports the same numbers, and none are lost when a process exits."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from app.followers.cursor import Cursor, Transaction
from app.store.connection import Client
from app.store.errors import StoreError
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Milliseconds after which a process that has not said how many requests it blocks is gone.
SILENT_MS = 10_000


class MetricValues:
    """Metric values under the fields that `app.followers.metrics` makes. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._cursor = Cursor(client, keys.named("measured-to"))
        self._values, self._freed, self._blocked, self._birth = (
            keys.named(name) for name in ("measured", "measured-freed", "blocked-requests", "measured-born")
        )
        self._born = b""
        self._reported: dict[str, int] = {}
        self._counters = keys.counters

    def counted_to(self) -> str:
        """The id of the last record that was counted; "" if none was."""
        return self._cursor.value().decode()

    def freed(self, machines: list[str]) -> dict[str, int]:
        """The times (ms) since when those of *machines* (lower-case ids) are free that are known to be."""
        if not machines:
            return {}
        with redis_errors():
            times: list[Any] = self._client.hmget(self._freed, machines)
        return {machine: int(ms) for machine, ms in zip(machines, times, strict=True) if ms}

    def advance(self, seen: str, to: str, increments: Mapping[str, int], freed: Mapping[str, int | None]) -> bool:
        """Add the increments of the records behind *seen* up to *to*; False, and nothing, if another process did."""
        free = {machine: ms for machine, ms in freed.items() if ms is not None}

        def write(transaction: Transaction) -> None:
            transaction.multi()
            for name, amount in increments.items():
                transaction.hincrby(self._values, name, amount)
            if free:
                transaction.hset(self._freed, mapping=free)
            if busy := freed.keys() - free.keys():
                transaction.hdel(self._freed, *busy)

        return self._cursor.advance(seen.encode(), to.encode(), write)

    def add(self, increments: Mapping[str, int]) -> None:
        """Add increments that come from no record."""
        with redis_errors(), self._client.pipeline(transaction=True) as pipe:
            for name, amount in increments.items():
                pipe.hincrby(self._values, name, amount)
            pipe.execute()

    def values(self) -> dict[str, int]:
        """All fields, none lower than this process has reported before."""
        with redis_errors(), self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._birth, uuid.uuid4().hex, nx=True)
            pipe.get(self._birth)
            pipe.hgetall(self._values)
            _, born, fields = pipe.execute()
        if born != self._born:
            self._born, self._reported = born, {}
        return self.monotonic({name.decode(): int(amount) for name, amount in fields.items()})

    def monotonic(self, counts: Mapping[str, int]) -> dict[str, int]:
        """All values reported so far and *counts*, none lower than before; until `values` finds another store.

        A fail-over can lose the last second. A counter that goes back by one is taken for one that began anew: then
        all that it ever counted counts again. One that was lost as a whole does begin anew.
        """
        self._reported |= {name: max(amount, self._reported.get(name, 0)) for name, amount in counts.items()}
        return dict(self._reported)

    def last_webhook_ms(self) -> int | None:
        """The time of the last webhook of Octopus; None if none has come."""
        with redis_errors():
            raw: Any = self._client.hget(self._counters, "event_at")
        return int(raw) if raw else None

    def publish_blocked(self, process: str, blocked: int) -> None:
        """Store the number of requests that block in a process."""
        with redis_errors():
            seconds, micros = self._client.time()
            self._client.hset(self._blocked, process, f"{blocked} {seconds * 1000 + micros // 1000}")

    def blocked(self) -> int:
        """The number of requests that block in all processes; silent processes do not count."""
        with redis_errors():
            (seconds, _), raws = self._client.time(), self._client.hgetall(self._blocked)
            facts = {process: [int(part) for part in raw.split()] for process, raw in raws.items()}
            gone = [process for process, (_, at_ms) in facts.items() if at_ms < seconds * 1000 - SILENT_MS]
            if gone:
                self._client.hdel(self._blocked, *gone)
        return sum(count for process, (count, _) in facts.items() if process not in gone)


class MetricBuffer:
    """A buffer of metric increments in one process, between two writes to Redis: counting costs a request nothing.

    Increments that are not written yet are lost when the process is killed: a second of them, in a web process.
    """

    def __init__(self, measured: MetricValues) -> None:
        self._measured = measured
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._process = uuid.uuid4().hex

    def add(self, increments: Mapping[str, int]) -> None:
        with self._lock:
            for name, amount in increments.items():
                self._waiting[name] += amount

    def flush(self, *, blocked: int | None = None) -> None:
        """Write the increments, and the number of requests that block in this process.

        Raises:
            StoreError: Redis does not answer; the increments are kept for the next time.
        """
        with self._lock:
            writing, self._waiting = self._waiting, Counter()
        try:
            if writing:
                self._measured.add(writing)
        except StoreError:
            self.add(writing)
            raise
        if blocked is not None:
            self._measured.publish_blocked(self._process, blocked)
