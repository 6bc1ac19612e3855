"""The feed: new records of the timeline for all subscribers in this process, from one blocking read."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import structlog

from app.domain.records import Filter, Record, order_of
from app.history.timeline import Timeline
from app.store.connection import Client
from app.store.errors import StoreError

log = structlog.get_logger()

#: Records a follower may be behind before it is cut off; it comes back with the id of the last it saw.
BACKLOG = 2_000

_Queue = queue.Queue[Record | None]


class Feed:
    """The feed of one process: hands each new record to all subscribers, and reads only while there are any.

    Args:
        blocking: A client without a time-out; it needs one connection.
    """

    def __init__(self, timeline: Timeline, blocking: Client) -> None:
        self._timeline = timeline
        self._blocking = blocking
        self._followers: list[_Queue] = []
        self._lock = threading.Lock()
        self._is_reading = False
        self._is_closed = False

    def __len__(self) -> int:
        """How many follow."""
        return len(self._followers)

    def follow(self, after: str | None, *, ping_seconds: float) -> Iterator[Record | None]:
        """Records as they are written; those behind the id *after* first, if it is given.

        Yields:
            None as soon as it follows, and when nothing came for *ping_seconds*. Ends when the process stops or the
            follower is too slow.
        """
        own: _Queue = queue.Queue(BACKLOG)
        with self._lock:
            self._followers.append(own)
            last = after or self._timeline.last_id()
            if not self._is_reading:
                self._is_reading = True
                threading.Thread(target=self._read, args=(self._timeline.last_id(),), daemon=True).start()
        try:
            yield None
            # Followed first and read back second, so nothing falls between; what comes twice is left out by its id.
            for record in self._timeline.read(Filter(), after=last):
                last = record.id
                yield record
            while not self._is_closed:
                try:
                    live = own.get(timeout=ping_seconds)
                except queue.Empty:
                    yield None
                    continue
                if live is None:
                    return
                if order_of(live.id) > order_of(last):
                    yield live
        finally:
            with self._lock:
                if own in self._followers:
                    self._followers.remove(own)

    def _read(self, last: str) -> None:
        while True:
            with self._lock:
                if not self._followers or self._is_closed:
                    self._is_reading = False
                    return
            try:
                for record in self._timeline.follow(self._blocking, last, block_ms=2_000):
                    last = record.id
                    self._hand_out(record)
            except StoreError as error:
                log.warning("feed: lost Redis, trying again", error=str(error))
                threading.Event().wait(0.5)

    def _hand_out(self, record: Record | None) -> None:
        with self._lock:
            for follower in list(self._followers):
                try:
                    follower.put_nowait(record)
                except queue.Full:
                    self._followers.remove(follower)
                    follower.get_nowait()
                    follower.put_nowait(None)

    def close(self) -> None:
        """End every follower."""
        self._is_closed = True
        self._hand_out(None)
