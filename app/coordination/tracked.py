"""Tracked runs: those that Octopus is to be asked about, and in which turn."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from app.coordination.decode import decode_run
from app.domain.run import RunState
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors


class TrackedRuns:
    """Reads what the scripts keep about runs that have not ended. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def tasks(self) -> list[str]:
        """The task ids of all that hold or wait; those that hold first. Costs what there are."""
        with redis_errors():
            members: list[Any] = self._client.zrange(self._keys.holders, 0, -1)
            members += self._client.zrange(self._keys.lines, 0, -1)
        tasks = (member.decode().rpartition("\0")[2] for member in members)
        return list(dict.fromkeys(task for task in tasks if task))

    def somebody_waits(self) -> bool:
        with redis_errors():
            return bool(self._client.zcard(self._keys.lines))

    def unchecked(self, most: int) -> list[str]:
        """Runs of which only their steps have said what they are, of *most* of them at most."""
        with redis_errors():
            members: list[Any] = self._client.zrange(self._keys.unchecked, 0, most - 1)
        return [member.decode() for member in members]

    def waiting_since(self, before_ms: int, after_ms: int) -> list[RunState]:
        """The runs in line that asked before the one and after the other time. Costs what there are waiters."""
        with redis_errors():
            members: list[Any] = self._client.zrange(self._keys.lines, 0, -1)
            tasks = list(dict.fromkeys(member.decode().rpartition("\0")[2] for member in members))
            raws: list[Any] = self._client.hmget(self._keys.runs, [task.lower() for task in tasks]) if tasks else []
        runs = [decode_run(raw) for raw in raws if raw]
        return [run for run in runs if after_ms <= run.requested_at_ms <= before_ms]

    def due_resumes(self, now_ms: int) -> list[str]:
        """Parked runs whose intervention is to be answered now, the longest due first."""
        with redis_errors():
            members: list[Any] = self._client.zrangebyscore(self._keys.resumes, "-inf", now_ms)
        return [member.decode() for member in members]

    def is_to_be_resumed(self, task_id: str) -> bool:
        """Whether the parked run's intervention is to be answered, now or later. *task_id* is as Octopus writes it."""
        with redis_errors():
            return self._client.zscore(self._keys.resumes, task_id) is not None

    def in_turn(self, names: Collection[str], most: int) -> list[str]:
        """Those *most* of *names*, tasks or spaces, that took their turn longest ago; they take it now."""
        chosen = self.by_turn(names)[:most]
        self.took_turn(chosen)
        return chosen

    def by_turn(self, names: Collection[str]) -> list[str]:
        """*names* in the order in which they took their turns, so that each has one whatever their number."""
        if not names:
            return []
        with redis_errors():
            taken: list[Any] = self._client.zmscore(self._keys.named("asked"), list(names))
        return [name for name, _ in sorted(zip(names, taken, strict=True), key=lambda pair: pair[1] or 0)]

    def took_turn(self, names: Collection[str]) -> None:
        """The next turn of *names* comes after those of all others."""
        if not names:
            return
        key = self._keys.named("asked")
        with redis_errors():
            seconds, micros = self._client.time()
            with self._client.pipeline(transaction=True) as pipe:
                pipe.zadd(key, {name: seconds * 1_000_000 + micros for name in names})
                # Far more than ever take turns: who has ended is at the front and goes.
                pipe.zremrangebyrank(key, 0, -100_001)
                pipe.expire(key, 3600)
                pipe.execute()
