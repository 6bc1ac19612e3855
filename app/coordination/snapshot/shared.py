"""The snapshot that the readers of a process share: read once whole, then only where the timeline tells of a change."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from app.coordination.snapshot.copy import BoardCopy
from app.coordination.snapshot.moment import Moment
from app.coordination.snapshot.read import DOOR, machines_alone, queue_rows, read_all, rows_of, runs_of
from app.coordination.snapshot.values import Snapshot
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Seconds after which the whole board is read again, whatever the timeline tells.
WHOLE_SECONDS = 30.0

#: Seconds after which a copy that nobody reads is given up.
IDLE_SECONDS = 60.0

#: Records of changes that are followed one by one; of more the whole board is read.
MOST_CHANGES = 300

#: Machines that are read one by one, with two commands each in one transaction; where more changed, the whole board is.
MOST_MACHINES = 1_000

#: How often changes that came while their machines were read are followed before the snapshot is answered.
MOST_ROUNDS = 5

#: Kinds of records after which every machine may look different.
_OF_ALL = (b"closed", b"opened")


class SharedSnapshot:
    """The board as it is when somebody asks, shared by all who ask at the same time.

    Every change has its record in the timeline, or counts as `unrecorded` (``lua/lib/runs.lua``). So a reader looks at
    the records since the last reader, and reads the machines that they name, and those of the runs that they name.

    Args:
        offset_ms: What the clock is ahead of the server's; tests move it.
    """

    def __init__(self, client: Client, keys: Keys, offset_ms: Callable[[], int] = lambda: 0) -> None:
        self._client = client
        self._keys = keys
        self._offset_ms = offset_ms
        self._lock = threading.Lock()
        self._copy: BoardCopy | None = None
        self._snapshot: Snapshot | None = None
        self._last_id = "0-0"
        self._unrecorded = 0
        self._whole_at = self._begun_at = float("-inf")

    def now(self) -> Snapshot:
        """The board, not older than this call.

        Raises:
            StoreError: Redis could not do it.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._snapshot is None or self._begun_at < asked_at:
                begun_at = time.monotonic()
                self._snapshot = self._read(begun_at)
                self._begun_at = begun_at
            return self._snapshot

    def machines_alone(self, machine_ids: Collection[str]) -> Snapshot:
        """Those machines alone, at the cost of these.

        Raises:
            StoreError: Redis could not do it.
        """
        return machines_alone(self._client, self._keys, machine_ids, offset_ms=self._offset_ms())

    def forget_if_idle(self) -> None:
        """Give the memory back when nobody has read for a while."""
        if time.monotonic() - self._begun_at > IDLE_SECONDS and self._lock.acquire(blocking=False):
            self._copy = self._snapshot = None
            self._lock.release()

    def _read(self, now: float) -> Snapshot:
        copy, self._copy = self._copy, None  # What fails half-way is read whole the next time.
        snapshot = self._snapshot
        if copy is not None and snapshot is not None and now - self._whole_at < WHOLE_SECONDS:
            followed = self._follow(copy, snapshot)
            if followed:
                self._copy = copy
                return followed
        self._copy, moment, unresolved, self._last_id = read_all(
            self._client, self._keys, offset_ms=self._offset_ms()
        )  # fmt: skip
        self._whole_at, self._unrecorded = now, moment.unrecorded
        return self._copy.snapshot(moment, unresolved)

    def _follow(self, copy: BoardCopy, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot with what has changed since; None where the whole board is to be read."""
        touched: set[str] = set()
        for _ in range(MOST_ROUNDS):
            with redis_errors(), self._client.pipeline(transaction=True) as pipe:
                pipe.time()
                pipe.hmget(self._keys.counters, DOOR)
                pipe.xrange(self._keys.timeline, self._last_id, count=MOST_CHANGES + 1)
                pipe.zrange(self._keys.unresolved, 0, -1)
                pipe.hlen(self._keys.machines)
                clock, door, records, unresolved, machines_count = pipe.execute()
            moment = Moment.of(clock, door, self._offset_ms())
            changes = self._changes(records)
            if changes is None or moment.closed_since_ms or snapshot.closed_since_ms:
                return None
            changed = self._touched(copy, changes, moment)
            if changed is None or len(changed) > MOST_MACHINES:
                return None
            changed |= copy.unsettled if not touched else set()
            if not changed:
                break
            self._replace(copy, changed, moment)
            touched |= changed
        if len(copy) != machines_count:
            return None
        if touched:
            return copy.snapshot(moment, unresolved)
        return replaced_moment(snapshot, moment.now_ms, unresolved)

    def _changes(self, records: Sequence[Any]) -> Sequence[Any] | None:
        """The records since the last time; None where they are too many, or that time is not on record any more."""
        if self._last_id != "0-0":
            if not records or records[0][0].decode() != self._last_id:
                return None
            records = records[1:]
        if len(records) >= MOST_CHANGES or any(fields[b"kind"] in _OF_ALL for _, fields in records):
            return None
        if records:
            self._last_id = records[-1][0].decode()
        return records

    def _touched(self, copy: BoardCopy, records: Sequence[Any], moment: Moment) -> set[str] | None:
        """The machines that may look different, in lower case; None where that is not known."""
        machines: set[str] = set()
        tasks: set[str] = set()
        for _, fields in records:
            machines |= set(fields.get(b"machines", b"").decode().lower().split(",")) - {""}
            tasks |= {fields[b"task"].decode()} if b"task" in fields else set()
            if fields[b"kind"] == b"joined" and b"on_behalf_of" in fields.get(b"detail", b""):
                # Its parent has become part of a family.
                tasks.add(json.loads(fields[b"detail"])["on_behalf_of"])
        if moment.unrecorded - self._unrecorded > 1:
            return None
        if moment.unrecorded != self._unrecorded:
            tasks.add(moment.unrecorded_run)
        self._unrecorded = moment.unrecorded
        for task in tasks:
            machines |= copy.machines_of(task)
            copy.forget_run(task)
        return machines

    def _replace(self, copy: BoardCopy, machine_ids: set[str], moment: Moment) -> None:
        ids = sorted(machine_ids)
        with redis_errors():
            with self._client.pipeline(transaction=True) as pipe:
                queue_rows(pipe, self._keys, ids)
                rows = rows_of(ids, pipe.execute())
            copy.put(rows)
            copy.put_runs(runs_of(self._client, self._keys, copy.unread_runs()))
        copy.assemble(rows, moment)


def replaced_moment(snapshot: Snapshot, now_ms: int, unresolved: Sequence[bytes]) -> Snapshot:
    """The same machines at a later moment; what was worked out about them stays."""
    later = replace(snapshot, now_ms=now_ms, unresolved=tuple(task.decode() for task in unresolved))
    vars(later).update({name: value for name, value in vars(snapshot).items() if name not in vars(later)})
    return later
