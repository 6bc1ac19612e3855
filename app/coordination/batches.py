"""Batches of webhooks: the numbers that are missing of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: How long a batch that is over is remembered. Octopus sends again after a time-out of seconds.
OVER_MS = 86_400_000


@dataclass(frozen=True)
class Gap:
    """A batch of webhooks of which some never came: Octopus drops the rest of a batch after one that failed."""

    batch_id: str
    came: int
    total: int


class Batches:
    """The batches of webhooks that Octopus sends. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def take_gaps(self, *, quiet_ms: int, now_ms: int) -> list[Gap]:
        """The batches that are over, nothing having come for *quiet_ms*, and incomplete; each is told once.

        What comes of a batch after it was over, complete or not, is sent again or late, and no gap.
        """
        with redis_errors():
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
        with redis_errors():
            self._client.zrem(self._keys.batches, *(member for came in over.values() for member, _ in came))
        return [
            Gap(batch_id, len(came), int(total))
            for (batch_id, total), came in over.items()
            if len(came) < int(total) and batch_id not in known
        ]

    def _note_over(self, batch_ids: list[str], now_ms: int) -> set[str]:
        """Remember the batches that are over; which of them were before: what comes of those is sent again."""
        key = self._keys.named("batches-over")
        with redis_errors():
            scores: list[Any] = self._client.zmscore(key, batch_ids)
            with self._client.pipeline(transaction=True) as pipe:
                pipe.zadd(key, dict.fromkeys(batch_ids, now_ms))
                pipe.zremrangebyscore(key, "-inf", now_ms - OVER_MS)
                pipe.pexpire(key, OVER_MS)
                pipe.execute()
        return {batch_id for batch_id, score in zip(batch_ids, scores, strict=True) if score is not None}
