"""Which runs Octopus is to be asked about, and in which turn; and which webhooks of a batch did not come."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import translated

#: How long a batch that is over is remembered. Octopus sends again after a time-out of seconds.
OVER_MS = 86_400_000


@dataclass(frozen=True)
class Gap:
    """A batch of webhooks of which some never came: Octopus drops the rest of a batch after one that failed."""

    batch_id: str
    came: int
    total: int


class Active:
    """Reads what the scripts keep about runs that have not ended. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def tasks(self) -> list[str]:
        """The task ids of all that hold or wait; those that hold first. Costs what there are."""
        with translated():
            members: list[Any] = self._client.zrange(self._keys.holders, 0, -1)
            members += self._client.zrange(self._keys.lines, 0, -1)
        tasks = (member.decode().rpartition("\0")[2] for member in members)
        return list(dict.fromkeys(task for task in tasks if task))

    def somebody_waits(self) -> bool:
        with translated():
            return bool(self._client.zcard(self._keys.lines))

    def due_resumes(self, now_ms: int) -> list[str]:
        """Parked runs whose intervention is to be answered now, the longest due first."""
        with translated():
            members: list[Any] = self._client.zrangebyscore(self._keys.resumes, "-inf", now_ms)
        return [member.decode() for member in members]

    def is_to_be_resumed(self, task_id: str) -> bool:
        """Whether the parked run's intervention is to be answered, now or later. *task_id* is as Octopus writes it."""
        with translated():
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
        with translated():
            taken: list[Any] = self._client.zmscore(self._keys.named("asked"), list(names))
        return [name for name, _ in sorted(zip(names, taken, strict=True), key=lambda pair: pair[1] or 0)]

    def took_turn(self, names: Collection[str]) -> None:
        """The next turn of *names* comes after those of all others."""
        if not names:
            return
        key = self._keys.named("asked")
        with translated():
            seconds, micros = self._client.time()
            with self._client.pipeline(transaction=True) as pipe:
                pipe.zadd(key, {name: seconds * 1_000_000 + micros for name in names})
                # Far more than ever take turns: who has ended is at the front and goes.
                pipe.zremrangebyrank(key, 0, -100_001)
                pipe.expire(key, 3600)
                pipe.execute()

    def take_gaps(self, *, quiet_ms: int, now_ms: int) -> list[Gap]:
        """The batches that are over, nothing having come for *quiet_ms*, and incomplete; each is told once.

        What comes of a batch after it was over, complete or not, is sent again or late, and no gap.
        """
        with translated():
            entries: list[Any] = self._client.zrange(self._keys.batches, 0, -1, withscores=True)
        batches: dict[tuple[str, str], list[tuple[bytes, float]]] = {}
        for member, at_ms in entries:
            batch_id, total, _ = member.decode().split("\0")
            batches.setdefault((batch_id, total), []).append((member, at_ms))
        over = {
            batch: came
            for batch, came in batches.items()
            if len(came) >= int(batch[1]) or max(at_ms for _, at_ms in came) < now_ms - quiet_ms
        }
        if not over:
            return []
        known = self._note_over([batch_id for batch_id, _ in over], now_ms)
        with translated():
            self._client.zrem(self._keys.batches, *(member for came in over.values() for member, _ in came))
        return [
            Gap(batch_id, len(came), int(total))
            for (batch_id, total), came in over.items()
            if len(came) < int(total) and batch_id not in known
        ]

    def _note_over(self, batch_ids: list[str], now_ms: int) -> set[str]:
        """Remember the batches that are over; which of them were before: what comes of those is sent again."""
        key = self._keys.named("batches-over")
        with translated():
            scores: list[Any] = self._client.zmscore(key, batch_ids)
            with self._client.pipeline(transaction=True) as pipe:
                pipe.zadd(key, dict.fromkeys(batch_ids, now_ms))
                pipe.zremrangebyscore(key, "-inf", now_ms - OVER_MS)
                pipe.pexpire(key, OVER_MS)
                pipe.execute()
        return {batch_id for batch_id, score in zip(batch_ids, scores, strict=True) if score is not None}
