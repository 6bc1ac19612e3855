"""What was measured, in Redis, so that every process tells the same and none that ends takes it along."""

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
from app.store.scripts import translated

#: Milliseconds after which a process that has not said how many requests it blocks is gone.
SILENT_MS = 10_000


class Measured:
    """Counts, under the fields that `app.followers.metrics` makes. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._cursor = Cursor(client, keys.named("measured-to"))
        self._values, self._freed, self._blocked, self._birth = (
            keys.named(name) for name in ("measured", "measured-freed", "blocked-requests", "measured-born")
        )
        self._born = b""
        self._told: dict[str, int] = {}
        self._counters = keys.counters

    def place(self) -> str:
        """The id of the last record that was counted; "" if none was."""
        return self._cursor.value().decode()

    def freed(self, machines: list[str]) -> dict[str, int]:
        """Since when those of *machines* (lower-case ids) are free that are known to be, ms."""
        if not machines:
            return {}
        with translated():
            found: list[Any] = self._client.hmget(self._freed, machines)
        return {machine: int(ms) for machine, ms in zip(machines, found, strict=True) if ms}

    def advance(self, seen: str, to: str, increments: Mapping[str, int], freed: Mapping[str, int | None]) -> bool:
        """Add what the records behind *seen* up to *to* make; False, and nothing added, if somebody else was first."""
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
        """Add what no record says."""
        with translated(), self._client.pipeline(transaction=True) as pipe:
            for name, amount in increments.items():
                pipe.hincrby(self._values, name, amount)
            pipe.execute()

    def values(self) -> dict[str, int]:
        """All fields, none less than this process has told before."""
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._birth, uuid.uuid4().hex, nx=True)
            pipe.get(self._birth)
            pipe.hgetall(self._values)
            _, born, fields = pipe.execute()
        if born != self._born:
            self._born, self._told = born, {}
        return self.never_less({name.decode(): int(amount) for name, amount in fields.items()})

    def never_less(self, counts: Mapping[str, int]) -> dict[str, int]:
        """All that was told, with *counts*, none less than before; until `values` sees a store that is another one.

        A fail-over can lose the last second. A counter that goes back by one is taken for one that began anew: then
        all that it ever counted counts again. One that was lost as a whole does begin anew.
        """
        self._told |= {name: max(amount, self._told.get(name, 0)) for name, amount in counts.items()}
        return dict(self._told)

    def heard_at_ms(self) -> int | None:
        """When the last webhook of Octopus came; None if none has."""
        with translated():
            raw: Any = self._client.hget(self._counters, "event_at")
        return int(raw) if raw else None

    def publish_blocked(self, process: str, blocked: int) -> None:
        """Say how many requests block in a process."""
        with translated():
            seconds, micros = self._client.time()
            self._client.hset(self._blocked, process, f"{blocked} {seconds * 1000 + micros // 1000}")

    def blocked(self) -> int:
        """How many requests block in all processes; those that are silent count no longer."""
        with translated():
            (seconds, _), said = self._client.time(), self._client.hgetall(self._blocked)
            facts = {process: [int(part) for part in raw.split()] for process, raw in said.items()}
            gone = [process for process, (_, at_ms) in facts.items() if at_ms < seconds * 1000 - SILENT_MS]
            if gone:
                self._client.hdel(self._blocked, *gone)
        return sum(count for process, (count, _) in facts.items() if process not in gone)


class Tally:
    """What a process counts between two writes to Redis, so that counting costs a request nothing.

    What was not written yet is lost when the process is killed: a second of it, in a web process.
    """

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._process = uuid.uuid4().hex

    def add(self, increments: Mapping[str, int]) -> None:
        with self._lock:
            for name, amount in increments.items():
                self._waiting[name] += amount

    def flush(self, *, blocked: int | None = None) -> None:
        """Write what was counted, and how many requests block in this process.

        Raises:
            StoreError: Redis does not answer; what was counted is kept for the next time.
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
