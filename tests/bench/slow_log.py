"""Every command of a server that took long, by what it was about: the server's log is read before it is full."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import redis

from app.store.connection import Client
from tests.bench.server_time import script_name

#: Commands that take less are not logged, µs.
THRESHOLD_US = 1000

#: Entries of the server's log, and seconds between two times that it is read and emptied.
MOST_ENTRIES, APART = 10_000, 0.25

#: The number of a task; the id of an event that Octopus tells has it in front of two figures (tests/bench/caller.py).
_TASK = re.compile(r"ServerTasks-(\d+)|\bevents-(\d+)\d\d\b")
_MORE = re.compile(r"\((\d+) more bytes\)")


@dataclass(frozen=True)
class Slow:
    """One command. *name* is that of its script, or of another command; *number* that of the task it is about, or 0."""

    name: str
    number: int
    ms: float
    #: Of its arguments, beyond the 128 of each that the server logs.
    more_bytes: int
    #: Seconds since 1970, by the server's clock, when it began or ended.
    at: int

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Slow:
        words = bytes(entry["command"]).decode(errors="replace")
        verb, _, rest = words.partition(" ")
        name = script_name(rest.partition(" ")[0]) if verb.upper() == "EVALSHA" else verb.upper()
        task = _TASK.search(rest)
        number = int(task[1] or task[2]) if task else 0
        more = sum(map(int, _MORE.findall(rest)))
        return cls(name, number, int(entry["duration"]) / 1000, more, int(entry["start_time"]))


@dataclass
class SlowLog:
    """*lost*: entries that fell out before they were read."""

    entries: list[Slow] = field(default_factory=list)
    lost: int = 0
    _next: int | None = None

    def read(self, client: Client) -> None:
        # Where the reading is slow, its own entry would be emptied unread.
        with client.pipeline(transaction=True) as pipe:
            pipe.config_set("slowlog-log-slower-than", -1)
            pipe.slowlog_get(MOST_ENTRIES)
            pipe.slowlog_reset()
            pipe.config_set("slowlog-log-slower-than", THRESHOLD_US)
            entries = pipe.execute()[1]
        for entry in reversed(entries):
            if self._next is not None:
                self.lost += int(entry["id"]) - self._next
            self._next = int(entry["id"]) + 1
            self.entries.append(Slow.of(entry))


@contextmanager
def slow_log(client: Client) -> Iterator[SlowLog]:
    """Read while the block runs, in a thread of its own; complete when it has ended. Source: ``SLOWLOG``."""
    log, is_over = SlowLog(), threading.Event()

    def read() -> None:
        while not is_over.wait(APART):
            with suppress(redis.RedisError):
                log.read(client)

    client.config_set("slowlog-max-len", MOST_ENTRIES)
    client.slowlog_reset()
    client.config_set("slowlog-log-slower-than", THRESHOLD_US)
    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield log
    finally:
        is_over.set()
        thread.join()
        log.read(client)
        client.config_set("slowlog-log-slower-than", -1)
