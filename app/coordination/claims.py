"""Which observed runs have machines that nobody knows yet, and when to ask for each of them again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import translated

#: Milliseconds for which names of a run are looked for.
NAMELESS_MS = 600_000

#: How long the number of failures of a run is remembered.
_MEMORY = timedelta(days=1)


class Unresolved:
    """The runs to resolve. A run is claimed before Octopus is asked, so that two workers do not ask twice.

    All methods raise `StoreError`.
    """

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def tasks(self) -> list[str]:
        """Their task ids, oldest first."""
        with translated():
            members: list[Any] = self._client.zrange(self._keys.unresolved, 0, -1)
        return [member.decode() for member in members]

    def in_turn(self) -> list[str]:
        """The same; those that failed most often last, so that they keep nobody waiting."""
        tasks = self.tasks()
        with translated():
            failures: list[Any] = self._client.mget([self._failures(task) for task in tasks]) if tasks else []
        order = sorted(zip(tasks, failures, strict=True), key=lambda pair: int(pair[1] or 0))
        return [task for task, _ in order]

    def any(self) -> bool:
        """Whether there is something to ask: about machines, or for names."""
        with translated():
            return bool(self._client.zcard(self._keys.unresolved) or self._client.zcard(self._unnamed))

    def gather(self, every: timedelta) -> float:
        """Seconds to wait before the next pass: 0.0 for the first in *every*, so that the rest of a burst is one."""
        key = self._keys.named("resolve-pass")
        with translated():
            if self._client.set(key, 1, nx=True, px=every):
                return 0.0
            left: Any = self._client.pttl(key)
        return max(0, int(left)) / 1000

    def to_name(self, task_id: str, *, now_ms: int) -> None:
        """Have names looked up for the run once all machines are known."""
        with translated():
            self._client.zadd(self._unnamed, {task_id: now_ms}, nx=True)

    def unnamed(self, *, now_ms: int) -> list[str]:
        """The runs to look names up for, oldest first; one that got none for a while is dropped."""
        with translated():
            with self._client.pipeline(transaction=True) as pipe:
                pipe.zremrangebyscore(self._unnamed, "-inf", now_ms - NAMELESS_MS)
                pipe.zrange(self._unnamed, 0, -1)
                return [member.decode() for member in pipe.execute()[1]]

    def named(self, task_ids: Collection[str]) -> None:
        """Look no more names up for them."""
        if task_ids:
            with translated():
                self._client.zrem(self._unnamed, *task_ids)

    @property
    def _unnamed(self) -> str:
        return self._keys.named("unnamed")

    def claim(self, task_id: str, lease: timedelta) -> bool:
        """Whether it is this caller's turn for the run: nobody has claimed it, and it does not back off."""
        with translated():
            return bool(self._client.set(self._claim(task_id), 1, nx=True, px=lease))

    def give_back(self, task_id: str) -> None:
        """End the claim on a run that is resolved, or no longer to be."""
        with translated():
            self._client.delete(self._claim(task_id), self._failures(task_id))

    def unclaim(self, task_id: str) -> None:
        """End the claim on a run that was not asked about after all."""
        with translated():
            self._client.delete(self._claim(task_id))

    def failed(self, task_id: str) -> int:
        """How often in a row the run could not be resolved, this time included."""
        with translated():
            with self._client.pipeline(transaction=True) as pipe:
                pipe.incr(self._failures(task_id))
                pipe.pexpire(self._failures(task_id), _MEMORY)
                return int(pipe.execute()[0])

    def put_off(self, task_id: str, pause: timedelta) -> None:
        """Let nobody claim the run for *pause*."""
        with translated():
            self._client.set(self._claim(task_id), 1, px=pause)

    def _claim(self, task_id: str) -> str:
        return self._keys.named("resolving:", task_id.lower())

    def _failures(self, task_id: str) -> str:
        return self._keys.named("resolve-failures:", task_id.lower())
