"""The budget of requests to Octopus: one for all processes of a namespace."""

from __future__ import annotations

import math
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import SideScript, redis_errors

#: Milliseconds in which at most so many requests go out. A second more than the minute: a request can be sent that much
#: later than it was permitted, and the next one at once.
WINDOW_MS = 61_000

#: The share of the budget that callers who are not urgent leave to those who are.
RESERVED = 0.25

#: Seconds that one answer of Octopus can make everybody hold back; where it wants more, it says so again.
MAX_PAUSE_SECONDS = 600.0

#: The same for callers who are urgent, since somebody waits for what they ask.
MAX_URGENT_PAUSE_SECONDS = 60.0


class Budget:
    """At most *per_minute* requests in any minute, by the Redis server's clock. All methods raise `StoreError`.

    Args:
        offset_ms: What the clock is ahead of the server's; tests move it.
    """

    def __init__(self, client: Client, keys: Keys, per_minute: int, *, offset_ms: int = 0) -> None:
        self._client = client
        self._permits, self._calls = keys.named("octopus-permits"), keys.named("octopus-calls")
        #: By whether a caller is urgent.
        self._pauses = {False: keys.named("octopus-pause"), True: keys.named("octopus-pause-urgent")}
        self._most = {True: per_minute, False: max(1, math.floor(per_minute * (1 - RESERVED)))}
        self._take = SideScript(client, keys, "coordination", "take_permit")
        self._pause = SideScript(client, keys, "coordination", "pause_requests")
        self.offset_ms = offset_ms

    def take(self, urgent: bool = False, kind: str = "other") -> float:
        """A permit for one request now, or the seconds to wait before asking for one again.

        Args:
            urgent: It may use what others leave: somebody waits for what Octopus says.
            kind: What the request is counted under, as `calls` says.

        Returns:
            0.0 for go. A caller who waits is not in a line: another can be first after the same time.
        """
        with redis_errors():
            keys = [self._permits, self._pauses[urgent], self._calls]
            longest_ms = int((MAX_URGENT_PAUSE_SECONDS if urgent else MAX_PAUSE_SECONDS) * 1000)
            _, *wait_ms = self._take(keys, [self.offset_ms, self._most[urgent], WINDOW_MS, kind, longest_ms])
        return int(wait_ms[0]) / 1000 if wait_ms else 0.0

    def pause(self, seconds: float) -> None:
        """Give no permits for that long, as far as such a pause may go: Octopus said so."""
        if seconds > 0:
            pauses_ms = [math.ceil(min(seconds, most) * 1000) for most in (MAX_PAUSE_SECONDS, MAX_URGENT_PAUSE_SECONDS)]
            with redis_errors():
                self._pause([self._pauses[False], self._pauses[True]], [self.offset_ms, *pauses_ms])

    def left(self) -> int:
        """How many requests may go out now, by those who are urgent; 0 while Octopus wants everybody to hold back."""
        with redis_errors():
            permits: list[Any] = self._client.lrange(self._permits, 0, -1)
            paused_until: Any = self._client.get(self._pauses[True])
            seconds, micros = self._client.time()
        now_ms = seconds * 1000 + micros // 1000 + self.offset_ms
        if int(paused_until or 0) > now_ms:
            return 0
        return max(0, self._most[True] - sum(int(at_ms) > now_ms - WINDOW_MS for at_ms in permits))

    def calls(self) -> dict[str, int]:
        """How many requests were permitted since the store is new, by kind, e.g. ``{"tasks": 12, "events": 3}``."""
        with redis_errors():
            counts: dict[Any, Any] = self._client.hgetall(self._calls)
        return {kind.decode(): int(count) for kind, count in counts.items()}
