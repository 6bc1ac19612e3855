"""The timeline: all records in order, recent ones from Redis, older ones from the archive's files."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.domain.neutral import visible_json
from app.domain.records import Filter, Order, Record, RecordLike, order_of
from app.history.archive.files import ARCHIVED, Archive
from app.history.records import Entry, Stored
from app.store.connection import Client
from app.store.fairness import in_turns_by_size
from app.store.keys import Keys
from app.store.scripts import load, redis_errors

#: Records read from Redis at once; a page or a stream is built from such chunks, at constant memory.
CHUNK = 500

#: Records that one page looks at before it answers with what it has and a cursor, however few match.
MOST_SCANNED = 20_000

#: Machines that the records of one page name, before it answers in the same way.
MOST_MACHINES = 100_000

#: Bytes of the ids of machines that are read between two turns of others: those of one run for thousands of them.
BYTES_IN_A_TURN = 50_000

#: Looking up a record by its id costs as much as reading so many that follow each other.
DENSE = 4

#: Records that one script looks up by their ids: Redis serves nobody else meanwhile.
LOOKED_UP = 100


class Timeline:
    """Reads the timeline; `Board` writes it. All methods raise `StoreError`.

    Args:
        archive: Where records are that the stream has no longer; None: they are not read.
    """

    def __init__(self, client: Client, keys: Keys, archive: Archive | None = None) -> None:
        self._client = client
        self._keys = keys
        self._archive = archive
        self._find_records = load(client, "history", "find_records")

    def read(self, selection: Filter, *, after: str | None = None) -> Iterator[Record]:
        """The records of *selection*, oldest first, from behind the record *after*; reads on as it is consumed."""
        for _, entry in self._scan(selection, after):
            if entry is not None:
                yield entry.record

    def changes(self, selection: Filter, *, after: str | None = None) -> Iterator[RecordLike]:
        """The same with as much of each as is asked for."""
        for _, entry in self._scan(selection, after):
            if entry is not None:
                yield entry.change

    def lines(self, selection: Filter, *, after: str | None = None) -> Iterator[str]:
        """The same as lines of JSON, without their ends, and with nothing that a terminal would obey."""
        for _, entry in self._scan(selection, after):
            if entry is not None:
                yield visible_json(entry.line)

    def rows(self, selection: Filter, *, after: str | None = None) -> Iterator[list[str]]:
        """The same as rows under `records.COLUMNS`."""
        for _, entry in self._scan(selection, after):
            if entry is not None:
                yield entry.row

    def page(self, selection: Filter, *, limit: int, after: str | None = None) -> tuple[list[Record], str | None]:
        """At most *limit* records, and where to go on, or None when these were the last.

        A page of a filter that hardly ever matches can be short, or empty, and still have a next one; and so can one of
        runs for thousands of machines.
        """
        page: list[Record] = []
        scanned = machines = 0
        for stamp, entry in self._scan(selection, after, first_chunk=min(limit + 1, CHUNK)):
            if len(page) == limit or scanned == MOST_SCANNED or machines > MOST_MACHINES:
                return page, after
            scanned += 1
            after = stamp
            if entry is not None:
                page.append(entry.record)
                machines += len(page[-1].machines)
        return page, None

    def newest(self, selection: Filter, *, limit: int) -> list[Record]:
        """The last *limit* records of one machine, run, project or environment, oldest first.

        Those of a run are looked for in the archive too; of the others it is what the stream still has.
        """
        index = self._index(selection)
        with redis_errors():
            if selection.task_id is not None:
                stamps: Any = self._client.lrange(index, -limit, -1)
            else:
                newest: Any = self._client.xrevrange(index, count=limit)
                if index == self._keys.timeline:
                    return [Stored(stamp, fields).record for stamp, fields in reversed(newest)]
                stamps = _stamps(reversed(newest))[-limit:]
        stored = self._fetch(stamps)
        old = self._old([stamp for stamp, entry in zip(stamps, stored, strict=True) if entry is None])
        entries = [entry or old.get(stamp.decode()) for stamp, entry in zip(stamps, stored, strict=True)]
        return [entry.record for entry in entries if entry]

    def last_id(self) -> str:
        """The id of the newest record, ``0-0`` if there is none."""
        with redis_errors():
            last: Any = self._client.xrevrange(self._keys.timeline, count=1)
        return last[0][0].decode() if last else "0-0"

    def first_ms(self) -> int:
        """The time of the oldest record in Redis, 0 if there is none."""
        with redis_errors():
            first: Any = self._client.xrange(self._keys.timeline, count=1)
        return order_of(first[0][0].decode())[0] if first else 0

    def unread_until_ms(self) -> int | None:
        """Up to when records are in an archive of which this process has not the files; None if there are none."""
        with redis_errors():
            raw: Any = self._client.get(self._keys.named(ARCHIVED))
        if not raw:
            return None
        last = order_of(json.loads(raw)["last_id"])
        return last[0] if last > self._archived_until() else None

    def follow(self, blocking: Client, after: str, *, block_ms: int) -> list[Record]:
        """The records behind *after*; blocks until there is one, at most *block_ms*."""
        with redis_errors():
            answer: Any = blocking.xread({self._keys.timeline: after}, count=CHUNK, block=block_ms)
        if not answer:
            return []
        entries = next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]
        return [Stored(stamp, fields).record for stamp, fields in entries]

    def _source(self, selection: Filter) -> str:
        """Where the records of *selection* are read most quickly: the list of a run, or a stream."""
        index = self._index(selection)
        if index in (self._keys.timeline, self._keys.index("run", selection.task_id or "")):
            return index
        with redis_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.xlen(index)
            pipe.xlen(self._keys.timeline)
            some, everything = pipe.execute()
        return index if DENSE * some < everything else self._keys.timeline

    def _index(self, selection: Filter) -> str:
        """Where the fewest records stand that have all of *selection*."""
        for kind, value in (
            ("run", selection.task_id), ("machine", selection.machine_id), ("project", selection.project_id),
            ("environment", selection.environment_id),
        ):  # fmt: skip
            if value is not None:
                return self._keys.index(kind, value)
        return self._keys.timeline

    def _scan(
        self, selection: Filter, after: str | None, *, first_chunk: int = CHUNK
    ) -> Iterator[tuple[str, Entry | None]]:
        """Every record of the source in range: its id, and the record where *selection* accepts it."""
        if selection.to_ms is not None and selection.to_ms <= 0:
            return  # Redis knows no record before 0-0 and takes the question for an error.
        at = max((selection.from_ms or 0, -1), order_of(after) if after else (0, -1))
        size = first_chunk
        source = self._source(selection)
        # What is in the index of the only thing asked for need not be looked at again.
        has_all = len(selection.values) == (source != self._keys.timeline)
        while True:
            last = ""
            for last, entry in self._archived(selection, at):
                yield last, entry
            at = max(at, self._archived_until(), order_of(last) if last else at)
            entries = self._chunk(source, selection, at, size)
            if self._archived_until() > at:
                continue  # What was read may have been trimmed before; it is in the files now.
            for stamp, stored in in_turns_by_size(entries, _size_of, BYTES_IN_A_TURN):
                yield stamp, stored if stored and (has_all or selection.accepts(stored)) else None
            if len(entries) < size:
                return
            at, size = order_of(entries[-1][0]), CHUNK

    def _archived_until(self) -> Order:
        return self._archive.until() if self._archive else (0, -1)

    def _archived(self, selection: Filter, at: Order) -> Iterator[tuple[str, Entry | None]]:
        return self._archive.read(selection, at) if self._archive else iter(())

    def _old(self, stamps: list[bytes]) -> Mapping[str, Entry]:
        return self._archive.find([stamp.decode() for stamp in stamps]) if self._archive and stamps else {}

    def _chunk(self, source: str, selection: Filter, at: Order, size: int) -> Sequence[tuple[str, Stored | None]]:
        """At most *size* records of *source* behind *at*; None for one that has been trimmed."""
        if selection.task_id is not None:
            stamps = self._of_run(source, selection, at)[:size]
        else:
            start = f"({at[0]}-{at[1]}" if at[1] >= 0 else str(max(0, at[0]))
            end = f"({selection.to_ms}-0" if selection.to_ms is not None else "+"
            with redis_errors():
                entries: Any = self._client.xrange(source, start, end, count=size)
            if source == self._keys.timeline:
                return [(stored.id, stored) for stored in itertools.starmap(Stored, entries)]
            stamps = [stamp for stamp in _stamps(entries) if order_of(stamp.decode()) > at]
        return [(stamp.decode(), entry) for stamp, entry in zip(stamps, self._fetch(stamps), strict=True)]

    def _of_run(self, source: str, selection: Filter, at: Order) -> list[bytes]:
        """The same of a run, whose few record ids are a list."""
        with redis_errors():
            stamps: Any = self._client.lrange(source, 0, -1)
        last = (selection.to_ms, -1) if selection.to_ms is not None else (sys.maxsize, 0)
        return [stamp for stamp in stamps if at < order_of(stamp.decode()) <= last]

    def _fetch(self, stamps: Sequence[bytes]) -> list[Stored | None]:
        """The records of those ids; None for one that has been trimmed."""
        entries: list[Stored | None] = []
        for begin in range(0, len(stamps), LOOKED_UP):
            with redis_errors():
                ids = [stamp.decode() for stamp in stamps[begin : begin + LOOKED_UP]]
                _, *answers = self._find_records([self._keys.timeline], [json.dumps(ids)])
            entries += [_stored(*answer[0]) if answer else None for answer in answers]
        return entries


def _stamps(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> list[bytes]:
    """The ids of records in the index of a machine: an entry has that of a record before its own besides, or not.

    Source: ``index_machines`` of lua/lib/runs.lua.
    """
    return [stamp for own, fields in entries for stamp in (fields.get(b""), own) if stamp]


def _size_of(entry: tuple[str, Stored | None]) -> int:
    return entry[1].size if entry[1] else 0


def _stored(stamp: bytes, fields: list[bytes]) -> Stored:
    return Stored(stamp, dict(zip(fields[::2], fields[1::2], strict=True)))
