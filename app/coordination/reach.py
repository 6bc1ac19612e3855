"""The reachability of Octopus: one state for all processes, with its time and reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from app.coordination.board.clock_offset import OffsetMeter
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import Scripts, redis_errors

log = structlog.get_logger()

#: How long failures must have gone on, with no answer in between, until people are told: one restart of a proxy is no
#: outage. What Octopus itself says will last so long is told at its first word.
TOLD_AFTER = timedelta(seconds=10)

#: Characters of a reason.
MOST_WHY = 200


@dataclass(frozen=True)
class Unreachable:
    """Since when Octopus does not answer, why not, how often it was asked in vain, and when last; clock of Redis."""

    since_ms: int
    why: str
    failures: int
    asked_ms: int


class Reach:
    """What `app.octopus.transport` notes of its requests. All methods raise `StoreError`."""

    def __init__(self, script: Scripts, client: Client, keys: Keys) -> None:
        self._script = script
        self._client = client
        self._counters = keys.counters
        self._meter = OffsetMeter(script, client, keys)

    def failed(self, why: str, *, lasts: float = 0) -> None:
        """Octopus did not answer, after all attempts.

        Args:
            why: A few words for people.
            lasts: Seconds that it said this would last, at least.

        Source: lua/unreachable.lua.
        """
        told_after_ms, lasts_ms = TOLD_AFTER // timedelta(milliseconds=1), min(int(lasts * 1000), 10**9)
        if self._script("unreachable", why[:MOST_WHY], lasts_ms, told_after_ms)[0] == b"told":
            log.warning("Octopus does not answer: nothing is ended for that, and it is asked again", why=why)

    def answered(self, *, date_ms: int | None = None, sent: float = 0.0, received: float = 0.0) -> None:
        """Octopus did answer.

        Args:
            date_ms: The time that it says; the others as `OffsetMeter.note` has them.

        Source: lua/reachable.lua.
        """
        if date_ms is not None:
            self._meter.note(date_ms, sent=sent, received=received)
        # One look for each request, of which there are few; hardly ever there is more to do.
        with redis_errors():
            is_in_doubt = self._client.hexists(self._counters, "octopus_since")
        if is_in_doubt and self._script("reachable")[0] == b"told":
            log.warning("Octopus answers again")

    def unreachable(self) -> Unreachable | None:
        """The state once people were told of it; None while Octopus answers, or has failed for a moment only."""
        with redis_errors():
            values: list[Any] = self._client.hmget(
                self._counters, "octopus_told", "octopus_since", "octopus_why", "octopus_failures", "octopus_asked"
            )
        announced, since, why, failures, asked_ms = values
        if not announced:
            return None
        return Unreachable(int(since), why.decode(), int(failures), int(asked_ms))
