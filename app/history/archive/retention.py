"""Retention: moves old days of the timeline into the archive, one at a time, and trims them from Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from app.domain.records import Record, order_of
from app.history.archive.files import ARCHIVED, DAMAGED, Archive, Manifest, opened, stamp_of
from app.history.archive.hash_chain import Checker, body_of
from app.history.records import Stored, Written
from app.store.connection import Client
from app.store.errors import ArchiveError
from app.store.keys import Keys
from app.store.scripts import SideScript, redis_errors

log = structlog.get_logger()

#: Records read, and records trimmed from a stream, in one command.
CHUNK, STEP = 500, 5_000

_DAY_MS = 86_400_000


class Retention:
    """The retention: the only writer of the archive. All methods raise `StoreError`.

    A day is in the archive once its manifest is; its records are trimmed only after that, compared one by one with what
    is in the file. So whoever dies, and wherever, nothing is lost, and who comes next finds out what is left to do.

    Args:
        keep: How long a record stays in Redis, at least; whole days (UTC) are moved.
    """

    def __init__(self, client: Client, keys: Keys, archive: Archive, keep: timedelta) -> None:
        self._client = client
        self._keys = keys
        self._archive = archive
        self._keep_ms = keep // timedelta(milliseconds=1)
        self._head_key = keys.named(ARCHIVED)
        self._trim_stream = SideScript(client, keys, "history", "trim_stream")

    def is_due(self, now_ms: int) -> bool:
        """Whether there is something to archive, or to trim."""
        first = self._first()
        return first is not None and (self._covering(first) is not None or self._is_over(first, now_ms))

    def step(self, now_ms: int) -> Manifest | None:
        """Archive one day, or trim one that is in the archive already; None if there is nothing to do.

        1. Write the day's records to a file, then its manifest, each whole or not at all.
        2. Read the file back: its chain must be whole, and each record of the stream up to its end must be in it.
        3. Remember how the archive ends; then trim, the indexes first: what they name must be somewhere.

        Raises:
            ArchiveError: the files cannot be written, or are not what they must be; nothing was trimmed.
        """
        first = self._first()
        if first is None:
            return None
        manifest = self._covering(first)
        if manifest is None:
            if not self._is_over(first, now_ms):
                return None
            manifest = self._write(first)
        touched, steps = self._compare(manifest)
        with redis_errors():
            self._client.set(self._head_key, json.dumps(asdict(manifest)))
        self._trim(touched, steps)
        log.info("archive: a day was moved", day=manifest.day, records=manifest.count)
        return manifest

    def head(self) -> Manifest | None:
        """How the archive ended when it was last written; None if it never was."""
        with redis_errors():
            raw: Any = self._client.get(self._head_key)
        return Manifest(**json.loads(raw)) if raw else None

    def begin_anew(self) -> None:
        """Expect nothing of what is in the directory: its files were lost."""
        with redis_errors():
            self._client.delete(self._head_key)

    def _first(self) -> str | None:
        with redis_errors():
            entries: Any = self._client.xrange(self._keys.timeline, count=1)
        return entries[0][0].decode() if entries else None

    def _is_over(self, stamp: str, now_ms: int) -> bool:
        return (order_of(stamp)[0] // _DAY_MS + 1) * _DAY_MS <= now_ms - self._keep_ms

    def _covering(self, stamp: str) -> Manifest | None:
        """The first day in the archive that ends with the record or later."""
        return next((m for m in self._archive.manifests() if order_of(m.last_id) >= order_of(stamp)), None)

    def _write(self, first: str) -> Manifest:
        self._check_end()
        begin_ms = order_of(first)[0] // _DAY_MS * _DAY_MS
        day = datetime.fromtimestamp(begin_ms / 1000, UTC).strftime("%Y-%m-%d")
        stored = self._stored(f"({begin_ms + _DAY_MS}-0")
        manifest = self._archive.write(day, ((entry.id, entry.line) for entry in stored))
        if order_of(manifest.last_id) < order_of(first):
            raise ArchiveError(
                f"{self._archive.path(day)} was written before {first} came, and no file is ever changed: expected "
                "the clock of Redis never to be ahead of the time; the record stays in Redis"
            )
        return manifest

    def _check_end(self) -> None:
        """Raises ArchiveError where the files are not those that were written before."""
        head = self.head()
        if head and not any(manifest == head for manifest in self._archive.manifests()):
            raise ArchiveError(
                f"{self._archive.directory} has not the file of {head.day} with which the archive ended: expected "
                "OCTOWAIT_ARCHIVE_DIR to be where it was written; if it is lost, 'octowait archive --begin-anew'"
            )

    def _stored(self, end: str) -> Iterator[Stored]:
        """The records of the stream up to *end*, oldest first."""
        start = "-"
        while True:
            with redis_errors():
                entries: Any = self._client.xrange(self._keys.timeline, start, end, count=CHUNK)
            for stamp, fields in entries:
                yield Stored(stamp, fields)
            if len(entries) < CHUNK:
                return
            start = f"({entries[-1][0].decode()}"

    def _compare(self, manifest: Manifest) -> tuple[set[str], list[str]]:
        """The keys of all indexes of a day's records, and the ids at which to trim: `STEP` records lie in between.

        Raises:
            ArchiveError: the file is not whole, or the stream has a record that is not in it.
        """
        touched: set[str] = set()
        steps: list[str] = []
        checker, stored = Checker(manifest.begin), self._stored(manifest.last_id)
        expected = next(stored, None)
        try:
            with opened(self._archive.path(manifest.day)) as file:
                for number, text in enumerate(file, start=1):
                    stamp, line = stamp_of(text), text.rstrip("\n")
                    checker.feed(line, stamp)
                    if expected and expected.id == stamp:
                        expected = next(stored, None) if expected.line == body_of(line) else expected
                    touched |= set(self._indexes(Written(body_of(line)).record))
                    if number % STEP == 0:
                        steps.append(stamp)
        except DAMAGED as error:
            raise ArchiveError(f"{self._archive.path(manifest.day)}: cannot be read back ({error})") from error
        findings = checker.finish(manifest.end)
        if expected:
            findings.append(f"{expected.id}: is in the timeline, but not like that in the file")
        if findings:
            raise ArchiveError(f"{self._archive.path(manifest.day)}: {findings[0]}; nothing was trimmed")
        ms, number = order_of(manifest.last_id)
        return touched, [*steps, f"{ms}-{number + 1}"]

    def _indexes(self, record: Record) -> Iterable[str]:
        for machine in record.machines:
            yield self._keys.index("machine", machine)
        if record.project_id:
            yield self._keys.index("project", record.project_id)
        if record.environment_id:
            yield self._keys.index("environment", record.environment_id)

    def _trim(self, touched: set[str], steps: list[str]) -> None:
        for key in (*sorted(touched), self._keys.timeline):
            # The stream itself stays when it is empty, since it knows its last id.
            may_go = "0" if key == self._keys.timeline else "1"
            with redis_errors():
                for stamp in steps:
                    self._trim_stream([key], [stamp, may_go])
