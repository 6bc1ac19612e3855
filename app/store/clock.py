"""The time of the board: the Redis server's clock plus a shift that undoes its jumps (rule 17).

Every deadline is kept against that time. A clock that is set, or a fail-over to a server with another clock, would end
what is not over. So each process compares it with a clock of its machine that nobody sets, the time since its boot;
where the two go apart, the process corrects the shift before any script acts on the new time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from app.store.connection import Client
from app.store.exchange import Command, Exchange
from app.store.keys import Keys

#: Milliseconds by which the two clocks may differ without a jump; one that is only adjusted makes none so long.
TOLERANCE_MS = 2_000

#: Of each millisecond since the clocks were compared, how much they may have drifted: twice what a bad quartz does.
DRIFT = 0.001

#: Milliseconds until a process compares the clocks anew, whether it has cause to or not.
LOOK_EVERY_MS = 60_000

#: Milliseconds that a comparison of a machine's processes is remembered for the next one that starts there.
REMEMBERED_MS = 86_400_000


def boot_ms() -> int:
    """Milliseconds since the machine's boot; also while it sleeps, where the system knows that."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


@cache
def boot_id() -> str:
    """What names this boot of this machine; empty where the system has no word for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_now_ms(client: Client, keys: Keys) -> int:
    """The time of the board. Raises Redis's own errors."""
    with client.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.hget(keys.counters, "shift_ms")
        (seconds, micros), shift = pipe.execute()
    return int(seconds * 1000 + micros // 1000 + int(shift or 0))


@dataclass(frozen=True)
class Comparison:
    """What the board's time is ahead of the time since boot: something from *least_ms* to *most_ms*.

    *at_ms* is when that was seen, since boot, and *changes* how often the shift had been corrected by then.
    """

    least_ms: int
    most_ms: int
    at_ms: int
    changes: int

    @property
    def middle_ms(self) -> int:
        return (self.least_ms + self.most_ms) // 2

    def jump_to(self, later: Comparison) -> int:
        """By how much the board's time has jumped until *later*, ms; 0 where it may have gone on as it was."""
        slack_ms = _slack(later.at_ms - self.at_ms)
        if later.least_ms > self.most_ms + slack_ms or later.most_ms < self.least_ms - slack_ms:
            return later.middle_ms - self.middle_ms
        return 0


class BoardClock:
    """Compares the board's time with the time since the boot of this machine."""

    def __init__(self, client: Client, keys: Keys, *, boot_clock: Callable[[], int] = boot_ms) -> None:
        self._client = client
        self._exchange = Exchange(client)
        self._keys = keys
        self._boot_ms = boot_clock
        self._last: Comparison | None = None
        self._looked_at_ms: int | None = None

    def is_stale(self) -> bool:
        """Whether the clocks are to be compared, before anything else is done."""
        return self._looked_at_ms is None or self._boot_ms() - self._looked_at_ms > LOOK_EVERY_MS

    def expectation(self) -> str:
        """The time that a script should find, and how far it may be from that, for its first argument."""
        if self._last is None:
            return ""
        now_ms = self._boot_ms()
        slack_ms = (self._last.most_ms - self._last.least_ms) // 2 + _slack(now_ms - self._last.at_ms)
        return f"{now_ms + self._last.middle_ms} {slack_ms}"

    def look(self) -> tuple[int, int]:
        """By how much the board's time has jumped since the clocks were last compared, by any process of this machine,
        and the shift: both in ms. Where it has jumped, the comparison is not remembered: the shift is to be corrected.

        Where somebody has corrected the shift meanwhile, the board's time counts as it is now.
        """
        name = self._keys.named("clock:", boot_id() or "unknown")
        begin_ms = self._looked_at_ms = self._boot_ms()

        def commands() -> Sequence[Command]:
            nonlocal begin_ms
            # The wait for a connection tells nothing of the clocks.
            begin_ms = self._boot_ms()
            read = ("HMGET", self._keys.counters, "shift_ms", "shift_changes")
            return ("MULTI",), ("TIME",), read, ("GET", name), ("EXEC",)

        *_, answer = self._exchange(commands)
        for error in [answer] if isinstance(answer, Exception) else answer:
            if isinstance(error, Exception):
                raise error
        (seconds, micros), (shift, changes), stored = answer
        end_ms, shift_ms = self._boot_ms(), int(shift or 0)
        board_ms = int(seconds) * 1000 + int(micros) // 1000 + shift_ms
        now = Comparison(board_ms - end_ms, board_ms - begin_ms, end_ms, int(changes or 0))
        before = self._last or (_parsed(stored) if boot_id() else None)
        # One that was corrected less often is that of an older Redis, or of an empty one.
        jump_ms = before.jump_to(now) if before and before.changes >= now.changes else 0
        if not jump_ms:
            self._last = now
            text = f"{now.least_ms} {now.most_ms} {now.at_ms} {now.changes}"
            self._client.set(name, text, px=REMEMBERED_MS)
        return jump_ms, shift_ms


def _slack(age_ms: int) -> int:
    return TOLERANCE_MS + round(max(0, age_ms) * DRIFT)


def _parsed(raw: Any) -> Comparison | None:
    return Comparison(*(int(part) for part in raw.split())) if raw else None
