"""Wake-ups of the requests that block in this process: one subscription, whatever their number."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import structlog

from app.store.connection import Client
from app.store.errors import StoreError
from app.store.keys import Keys
from app.store.scripts import redis_errors

log = structlog.get_logger()

#: How many are let go at once, the seconds between, and the seconds in which all of them are.
LET_GO_AT_ONCE, LET_GO_PAUSE, MOST_LET_GO_SECONDS = 50, 0.005, 2.0


#: Seconds, at least, for which wakes are remembered: for who was woken before it could block again.
REMEMBERED_SECONDS = 5.0

#: Wakes that are remembered; where there are more, anybody may have missed his.
MOST_REMEMBERED = 20_000


class Sleeper(Protocol):
    """Who is to be woken: one blocked request."""

    def wake(self) -> None: ...


class Wakes:
    """The blocked requests of this process by task id, and the subscription that wakes them.

    Args:
        blocking: A client without a time-out; it needs one connection.
        now: Seconds by a clock that never goes back.
    """

    def __init__(self, blocking: Client, keys: Keys, *, now: Callable[[], float] = time.monotonic) -> None:
        self._blocking = blocking
        #: Called with the id of each run that waits no longer, in lower case.
        self.on_wake: Callable[[str], object] | None = None
        self._channel = keys.wakes
        self._sleepers: dict[str, list[Sleeper]] = {}
        self._count = 0
        self._now = now
        #: Of late, and before; the former since then.
        self._woken: set[str] = set()
        self._woken_before: set[str] = set()
        self._woken_since = self._gap_at = float("-inf")
        self._listens = False
        self.is_closed = False

    def __len__(self) -> int:
        return self._count

    def add(self, key: str, sleeper: Sleeper) -> None:
        """Have *sleeper* woken for the run of that task id, in lower case; who looks at it before may miss a wake."""
        self._sleepers.setdefault(key, []).append(sleeper)
        self._count += 1

    def remove(self, key: str, sleeper: Sleeper) -> None:
        others = self._sleepers[key]
        others.remove(sleeper)
        self._count -= 1
        if not others:
            del self._sleepers[key]

    def has_woken(self, key: str) -> bool:
        """Whether somebody who blocks only now for that run may have missed that it was woken."""
        self._forget()
        return key in self._woken or key in self._woken_before or self._now() - self._gap_at < REMEMBERED_SECONDS

    def _forget(self) -> None:
        if self._now() - self._woken_since >= REMEMBERED_SECONDS:
            is_recent = self._now() - self._woken_since < 2 * REMEMBERED_SECONDS
            self._woken_before, self._woken = (self._woken if is_recent else set()), set()
            self._woken_since = self._now()

    def _note_gap(self) -> None:
        """It listens from now on; who comes to a process that has just begun looks in a second at the latest."""
        if self._listens:
            self._gap_at = self._now()
        self._listens = True

    def listen(self) -> None:
        """Wake sleepers as Redis tells, until `close`; runs in a thread of its own."""
        pause = 0.05
        while not self.is_closed:
            try:
                with redis_errors():
                    for message in self._messages():
                        pause = 0.05
                        if message["type"] == "message":
                            self._wake(message["data"].decode())
                        else:
                            # What was published while nobody listened is lost: let everybody look.
                            self._note_gap()
                            self.wake_all()
            except Exception as error:
                # Whatever it was, sleepers are to be woken again.
                if not self.is_closed:
                    _say_in_any_case(error, pause)
                    threading.Event().wait(pause)
                    pause = min(2.0, pause * 2)

    def _messages(self) -> Iterator[Any]:
        pubsub = self._blocking.pubsub()  # type: ignore[no-untyped-call]
        pubsub.subscribe(self._channel)
        yield from pubsub.listen()

    def _wake(self, key: str) -> None:
        self._forget()
        self._woken.add(key)
        if len(self._woken) > MOST_REMEMBERED:
            self._woken.clear()
            self._gap_at = self._now()
        if self.on_wake:
            self.on_wake(key)
        for sleeper in self._sleepers.get(key, ()):
            sleeper.wake()

    def wake_all(self) -> None:
        for sleepers in list(self._sleepers.values()):
            for sleeper in sleepers:
                sleeper.wake()

    def close(self, rest: Callable[[float], object] | None = None) -> None:
        """Let every blocked request answer, who waits longest first; who is about to sleep looks at `is_closed` first.

        They go some at a time: each asks again at once, and all of them at the same time would wait for each other.

        Args:
            rest: Called between, with seconds; by default sleeps.
        """
        rest = rest or time.sleep
        self.is_closed = True
        sleepers = [sleeper for own in self._sleepers.values() for sleeper in own]
        pause = min(LET_GO_PAUSE, MOST_LET_GO_SECONDS * LET_GO_AT_ONCE / max(1, len(sleepers)))
        for number, sleeper in enumerate(sleepers, 1):
            sleeper.wake()
            if number % LET_GO_AT_ONCE == 0:
                rest(pause)


def _say_in_any_case(error: Exception, pause: float) -> None:
    """Log why it begins anew in *pause* seconds, if that can be: nobody may read the log, or the disk is full."""
    with suppress(Exception):
        if isinstance(error, StoreError):
            log.warning("wakes: lost Redis, trying again", error=str(error), pause_seconds=pause)
        else:
            log.error("wakes: broke off, trying again", exc_info=error, pause_seconds=pause)
