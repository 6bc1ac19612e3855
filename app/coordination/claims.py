"""Claims: what was done lately, or is being done, and is to be done by nobody else; and the runs to resolve."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Milliseconds for which names of a run are looked for.
NAMELESS_MS = 600_000

#: How long the number of failures of a run is remembered.
_MEMORY = timedelta(days=1)


class Claims:
    """Does things once in a while, whoever tries: a claim on a name lasts for a time, and failures are counted.

    A name is a task id, or says what is done: ``rebuild``, ``resume-ServerTasks-7``. All methods raise `StoreError`.
    """

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def claim(self, name: str, lease: timedelta) -> bool:
        """Whether it is this caller's turn: nobody has claimed *name*, and it does not back off."""
        with redis_errors():
            return bool(self._client.set(self._claim(name), 1, nx=True, px=lease))

    def is_claimed(self, name: str) -> bool:
        """Whether it is nobody's turn: somebody has claimed *name*, or it is put off."""
        with redis_errors():
            return bool(self._client.exists(self._claim(name)))

    def unclaim(self, name: str) -> None:
        """End the claim on what was not done after all."""
        with redis_errors():
            self._client.delete(self._claim(name))

    def give_back(self, name: str) -> None:
        """End the claim on what is done, or no longer to be, and forget its failures."""
        with redis_errors():
            self._client.delete(self._claim(name), self._failures(name))

    def put_off(self, name: str, pause: timedelta) -> None:
        """Let nobody claim *name* for *pause*."""
        with redis_errors():
            self._client.set(self._claim(name), 1, px=pause)

    def failed(self, name: str) -> int:
        """How often in a row *name* failed within a day of one another, this time included."""
        with redis_errors():
            with self._client.pipeline(transaction=True) as pipe:
                pipe.incr(self._failures(name))
                pipe.pexpire(self._failures(name), _MEMORY)
                return int(pipe.execute()[0])

    def failures(self, names: Sequence[str]) -> list[int]:
        """How often in a row each of *names* has failed."""
        with redis_errors():
            counts: list[Any] = self._client.mget([self._failures(name) for name in names]) if names else []
        return [int(count or 0) for count in counts]

    def _claim(self, name: str) -> str:
        return self._keys.named("resolving:", name.lower())

    def _failures(self, name: str) -> str:
        return self._keys.named("resolve-failures:", name.lower())


class UnresolvedRuns:
    """The observed runs whose machines, or names, nobody knows yet. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys, claims: Claims) -> None:
        self._client = client
        self._keys = keys
        self._claims = claims

    def tasks(self) -> list[str]:
        """Their task ids, oldest first."""
        with redis_errors():
            members: list[Any] = self._client.zrange(self._keys.unresolved, 0, -1)
        return [member.decode() for member in members]

    def in_turn(self) -> list[str]:
        """The same; those that failed most often last, so that they keep nobody waiting."""
        tasks = self.tasks()
        order = sorted(zip(tasks, self._claims.failures(tasks), strict=True), key=lambda pair: pair[1])
        return [task for task, _ in order]

    def any(self) -> bool:
        """Whether there is something to ask: about machines, or for names."""
        with redis_errors():
            return bool(self._client.zcard(self._keys.unresolved) or self._client.zcard(self._unnamed))

    def gather(self, every: timedelta) -> float:
        """Seconds to wait before the next pass: 0.0 for the first in *every*, so that the rest of a burst is one."""
        key = self._keys.named("resolve-pass")
        with redis_errors():
            if self._client.set(key, 1, nx=True, px=every):
                return 0.0
            left: Any = self._client.pttl(key)
        return max(0, int(left)) / 1000

    def to_name(self, task_id: str, *, now_ms: int) -> None:
        """Have names looked up for the run once all machines are known."""
        with redis_errors():
            self._client.zadd(self._unnamed, {task_id: now_ms}, nx=True)

    def unnamed(self, *, now_ms: int) -> list[str]:
        """The runs to look names up for, oldest first; one that got none for a while is dropped."""
        with redis_errors():
            with self._client.pipeline(transaction=True) as pipe:
                pipe.zremrangebyscore(self._unnamed, "-inf", now_ms - NAMELESS_MS)
                pipe.zrange(self._unnamed, 0, -1)
                return [member.decode() for member in pipe.execute()[1]]

    def named(self, task_ids: Collection[str]) -> None:
        """Look no more names up for them."""
        if task_ids:
            with redis_errors():
                self._client.zrem(self._unnamed, *task_ids)

    @property
    def _unnamed(self) -> str:
        return self._keys.named("unnamed")
