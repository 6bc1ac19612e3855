"""Unseen spaces and runs: Octopus says nothing about them, and they stop nobody else's look."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Pauses after the first refusal of a space and at most, doubled in between: what Octopus hides it hides for long, and
#: a proxy that answers for it while it starts does so for seconds.
HIDDEN_PAUSES = (timedelta(seconds=15), timedelta(minutes=5))

#: How long what is kept here outlives the last look; a process that looks writes it anew.
_MEMORY = timedelta(days=1)


@dataclass(frozen=True)
class UnseenRun:
    """A run whose end nobody can ask for. *why* completes "it cannot be looked after: …"; *since_ms* is our clock."""

    task_id: str
    space_id: str | None
    why: str
    since_ms: int


class Unseen:
    """The runs and spaces about which Octopus was asked in vain. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._runs = keys.named("unseen-runs")
        self._spaces = keys.named("unseen-spaces")

    def note(self, run: UnseenRun) -> bool:
        """Keep that *run* cannot be looked after; whether that, or why, is new."""
        if self.why(run.task_id) == run.why:
            self._write(self._runs)
            return False
        self._write(self._runs, run.task_id, asdict(run))
        return True

    def forget(self, task_ids: Iterable[str]) -> None:
        """These can be looked after, or need not be any more."""
        fields = [task_id.lower() for task_id in task_ids]
        if fields:
            with redis_errors():
                self._client.hdel(self._runs, *fields)

    def why(self, task_id: str) -> str | None:
        """Why the run cannot be looked after; None if it can, as far as anybody knows."""
        with redis_errors():
            raw: Any = self._client.hget(self._runs, task_id.lower())
        return UnseenRun(**json.loads(raw)).why if raw else None

    def runs(self) -> list[UnseenRun]:
        """Those that cannot be looked after, longest so first."""
        with redis_errors():
            raws: dict[Any, Any] = self._client.hgetall(self._runs)
        return sorted((UnseenRun(**json.loads(each)) for each in raws.values()), key=lambda run: run.since_ms)

    def hide(self, space_id: str, why: str, now_ms: int) -> bool:
        """Let nobody ask about all of the space for a while, longer each time; whether it, or why, is new."""
        was = self._read(space_id) or {"times": 0, "why": None}
        pause = min(HIDDEN_PAUSES[0] * 2 ** min(was["times"], 20), HIDDEN_PAUSES[1])
        until_ms = now_ms + pause // timedelta(milliseconds=1)
        self._write(self._spaces, space_id, {"why": why, "times": was["times"] + 1, "until_ms": until_ms})
        return bool(was["why"] != why)

    def show(self, space_id: str) -> bool:
        """Octopus answers for the space; whether it did not before."""
        with redis_errors():
            return bool(self._client.hdel(self._spaces, space_id.lower()))

    def why_hidden(self, space_id: str, now_ms: int) -> str | None:
        """Why the space is not to be asked about now; None if it is."""
        record = self._read(space_id)
        return record["why"] if record and record["until_ms"] > now_ms else None

    def _read(self, space_id: str) -> Any:
        with redis_errors():
            raw: Any = self._client.hget(self._spaces, space_id.lower())
        return json.loads(raw) if raw else None

    def _write(self, key: str, field: str | None = None, value: Any = None) -> None:
        with redis_errors(), self._client.pipeline(transaction=True) as pipe:
            if field is not None:
                pipe.hset(key, field.lower(), json.dumps(value))
            pipe.pexpire(key, _MEMORY)
            pipe.execute()
