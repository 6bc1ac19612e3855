"""The timeline: every change, in order, as the scripts wrote it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.coordination.connection import Client
from app.coordination.keys import Keys
from app.coordination.scripts import translated

#: Records read from Redis at once; a page or a stream is built from such chunks, at constant memory.
CHUNK = 500

#: Records that one page looks at before it answers with what it has and a cursor, however few match.
MOST_SCANNED = 20_000


@dataclass(frozen=True)
class Record:
    """One change. *id* is ``<ms>-<number>``, *at_ms* its first part: the Redis server's clock."""

    id: str
    at_ms: int
    kind: str
    task_id: str | None = None
    run: int | None = None
    machines: tuple[str, ...] = ()
    project_id: str | None = None
    environment_id: str | None = None
    cause: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as the API shows it."""
        return {**self.__dict__, "machines": list(self.machines), "detail": dict(self.detail)}


@dataclass(frozen=True)
class Filter:
    """Which records: all that are set must agree; ids compare without regard to letter case; *to_ms* is exclusive."""

    machine_id: str | None = None
    task_id: str | None = None
    project_id: str | None = None
    kind: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def accepts(self, record: Record) -> bool:
        """Whether the record is one of those, its time aside."""
        return (
            (self.machine_id is None or self.machine_id.lower() in {m.lower() for m in record.machines})
            and (self.task_id is None or (record.task_id or "").lower() == self.task_id.lower())
            and (self.project_id is None or (record.project_id or "").lower() == self.project_id.lower())
            and (self.kind is None or record.kind == self.kind)
        )


class Timeline:
    """Reads the timeline; `Board` writes it."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read(self, wanted: Filter, *, after: str | None = None) -> Iterator[Record]:
        """The records of *wanted*, oldest first, from behind the record *after*; reads on as it is consumed."""
        for _, record in self._scan(wanted, after):
            if record is not None:
                yield record

    def page(self, wanted: Filter, *, limit: int, after: str | None = None) -> tuple[list[Record], str | None]:
        """At most *limit* records, and where to go on, or None when these were the last.

        A page of a filter that hardly ever matches can be short, or empty, and still have a next one.
        """
        page: list[Record] = []
        scanned = 0
        for stamp, record in self._scan(wanted, after):
            if len(page) == limit or scanned == MOST_SCANNED:
                return page, after
            scanned += 1
            after = stamp
            if record is not None:
                page.append(record)
        return page, None

    def newest(self, wanted: Filter, *, limit: int) -> list[Record]:
        """The last *limit* records of one machine, run or project, oldest first."""
        with translated():
            if wanted.task_id is not None:
                stamps: Any = self._client.lrange(self._source(wanted), -limit, -1)
            else:
                entries: Any = self._client.xrevrange(self._source(wanted), count=limit)
                stamps = [stamp for stamp, _ in reversed(entries)]
        return [record for record in self._fetch(stamps) if record]

    def last_id(self) -> str:
        """The id of the newest record, ``0-0`` if there is none."""
        with translated():
            last: Any = self._client.xrevrange(self._keys.timeline, count=1)
        return last[0][0].decode() if last else "0-0"

    def follow(self, blocking: Client, after: str, *, block_ms: int) -> list[Record]:
        """The records behind *after*; blocks until there is one, at most *block_ms*."""
        with translated():
            answer: Any = blocking.xread({self._keys.timeline: after}, count=CHUNK, block=block_ms)
        if not answer:
            return []
        entries = next(iter(answer.values()))[0] if isinstance(answer, dict) else answer[0][1]
        return [_record(stamp, fields) for stamp, fields in entries]

    def _source(self, wanted: Filter) -> str:
        """Where the fewest records stand that have all of *wanted*: a list for a run, else a stream."""
        for kind, value in (("run", wanted.task_id), ("machine", wanted.machine_id), ("project", wanted.project_id)):
            if value is not None:
                return self._keys.index(kind, value)
        return self._keys.timeline

    def _scan(self, wanted: Filter, after: str | None) -> Iterator[tuple[str, Record | None]]:
        """Every record of the source in range: its id, and the record where *wanted* accepts it."""
        if wanted.to_ms is not None and wanted.to_ms <= 0:
            return  # Redis knows no record before 0-0 and takes the question for an error.
        source = self._source(wanted)
        start = f"({after}" if after else str(max(0, wanted.from_ms or 0))
        end = f"({wanted.to_ms}-0" if wanted.to_ms is not None else "+"
        for chunk in self._run_chunks(source, wanted, after) if wanted.task_id else self._chunks(source, start, end):
            whole = source == self._keys.timeline
            records = [_record(*entry) for entry in chunk] if whole else self._fetch([stamp for stamp, _ in chunk])
            for (stamp, _), record in zip(chunk, records, strict=True):
                yield stamp.decode(), record if record and wanted.accepts(record) else None

    def _chunks(self, source: str, start: str, end: str) -> Iterator[list[Any]]:
        while True:
            with translated():
                entries: Any = self._client.xrange(source, start, end, count=CHUNK)
            yield entries
            if len(entries) < CHUNK:
                return
            start = f"({entries[-1][0].decode()}"

    def _run_chunks(self, source: str, wanted: Filter, after: str | None) -> Iterator[list[Any]]:
        """The same of a run, whose few record ids are a list."""
        with translated():
            stamps: Any = self._client.lrange(source, 0, -1)
        first = _order(after.encode()) if after else (max(0, wanted.from_ms or 0), -1)
        last = (wanted.to_ms, -1) if wanted.to_ms is not None else (sys.maxsize, 0)
        inside: list[Any] = [(stamp, {}) for stamp in stamps if first < _order(stamp) <= last]
        for begin in range(0, len(inside), CHUNK):
            yield inside[begin : begin + CHUNK]

    def _fetch(self, stamps: list[bytes]) -> list[Record | None]:
        with translated(), self._client.pipeline(transaction=False) as pipe:
            for stamp in stamps:
                pipe.xrange(self._keys.timeline, stamp, stamp)
            answers = pipe.execute()
        return [_record(*answer[0]) if answer else None for answer in answers]


def _order(stamp: bytes) -> tuple[int, int]:
    ms, _, number = stamp.partition(b"-")
    return int(ms), int(number)


def _record(stamp: bytes, fields: Mapping[bytes, bytes]) -> Record:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    machines = text.get("machines")
    return Record(
        id=stamp.decode(),
        at_ms=int(stamp.split(b"-")[0]),
        kind=text["kind"],
        task_id=text.get("task"),
        run=int(text["run"]) if "run" in text else None,
        machines=tuple(machines.split(",")) if machines else (),
        project_id=text.get("project"),
        environment_id=text.get("environment"),
        cause=text.get("cause"),
        detail=json.loads(text["detail"]) if "detail" in text else {},
    )
