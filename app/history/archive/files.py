"""The archive: old records of the timeline, one compressed file a day, its lines in one hash chain.

``2026-08-01.ndjson.gz`` has the records of that day (UTC); ``2026-08-01.json``, its manifest, says what must be in it.
The file counts once its manifest is there, and neither changes after that.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import sys
import time
import uuid
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import structlog

from app.domain.records import Filter, Order, order_of
from app.history.archive.hash_chain import ChainEnd, body_of, seal
from app.history.records import Entry, Written
from app.store.errors import ArchiveError
from app.store.fairness import in_turns, in_turns_by_size

log = structlog.get_logger()

#: Of records that cannot be wanted, one in so many counts for `app.history.timeline.MOST_SCANNED`: most of the
#: work on them is left out.
SKIPPED = 10

#: Characters of records that are read between two turns of others: as many as 500 ordinary ones have, at least.
LETTERS_IN_A_TURN = 200_000

#: A directory that changed less than this ago may change again without another time of change, seconds.
_UNSETTLED = 2.0

#: How names of files begin that are being written, and after how many seconds nobody does so any longer.
_DRAFT, _DRAFT_SECONDS = ".draft-", 86_400

_STAMP = re.compile(r'\{"id":"([0-9]+-[0-9]+)"')

#: Name of a key: the manifest of the newest day when the archive was last written.
ARCHIVED = "archived"

#: Characters that are unpacked at once.
_READ_AT_ONCE = 1 << 18

#: What reading a damaged file raises.
DAMAGED = (OSError, EOFError, zlib.error, ValueError)


@dataclass(frozen=True)
class Manifest:
    """The manifest of a day's file. *previous* is the hash that its first line continues."""

    day: str
    first_id: str
    last_id: str
    first_seq: int
    count: int
    previous: str
    hash: str

    @property
    def begin(self) -> ChainEnd:
        return ChainEnd(self.first_seq - 1, self.previous)

    @property
    def end(self) -> ChainEnd:
        return ChainEnd(self.first_seq + self.count - 1, self.hash)


class _Raced(Exception):
    """Another process has written the same day."""


class Archive:
    """The archive in one directory, which need not exist until something is written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: tuple[int, tuple[Manifest, ...]] = (-1, ())

    def manifests(self) -> tuple[Manifest, ...]:
        """All manifests, oldest first; an unreadable one is left out, and logged."""
        try:
            changed_ns = os.stat(self.directory).st_mtime_ns
        except OSError:
            return ()
        if changed_ns != self._known[0]:
            manifests = tuple(sorted(self._read_manifests(), key=lambda manifest: order_of(manifest.last_id)))
            settled = time.time() - changed_ns / 1e9 > _UNSETTLED
            self._known = (changed_ns if settled else -1, manifests)
        return self._known[1]

    def _read_manifests(self) -> Iterator[Manifest]:
        for path in self.directory.glob("????-??-??.json"):
            try:
                yield manifest_in(path)
            except ArchiveError as error:
                log.error("archive: left out of what is read; 'octowait timeline verify' says more", error=str(error))

    def until(self) -> Order:
        """Where the archive ends: all records up to there are in it."""
        manifests = self.manifests()
        return order_of(manifests[-1].last_id) if manifests else (0, -1)

    def path(self, day: str) -> Path:
        return self.directory / f"{day}.ndjson.gz"

    def read(self, selection: Filter, at: Order) -> Iterator[tuple[str, Entry | None]]:
        """The records behind *at*, oldest first, as `Timeline` reads them: id, and the record where it is wanted.

        What is damaged is logged, and what lies behind it in its file is left out.
        """
        for manifest in self.manifests():
            first, last = order_of(manifest.first_id), order_of(manifest.last_id)
            if last <= at or (selection.to_ms is not None and first[0] >= selection.to_ms):
                continue
            # Most files are wanted as a whole, and most lines of a search are not.
            is_whole = first > at and (selection.to_ms is None or last[0] < selection.to_ms)
            to_ms = sys.maxsize if selection.to_ms is None else selection.to_ms
            for stamp, entry in self._selected(manifest.day, selection):
                if is_whole or (at < (order := order_of(stamp)) and order[0] < to_ms):
                    yield stamp, entry

    def _selected(self, day: str, selection: Filter) -> Iterator[tuple[str, Entry | None]]:
        """The records of a day that are wanted, and one in `SKIPPED` of the others."""
        words, skipped = [json.dumps(word)[1:-1].lower() for word in selection.values], 0
        with self._reading(day) as file:
            for line in file:
                # A quick look at the text leaves most out; what it lets through is looked at closely.
                if words and not (
                    all(map(line.lower().__contains__, words))
                    and selection.accepts(Written(body_of(line.rstrip())).record)
                ):
                    skipped += 1
                    if skipped % SKIPPED == 0:
                        yield stamp_of(line), None
                    continue
                yield stamp_of(line), Written(body_of(line.rstrip()))

    def find(self, stamps: Collection[str]) -> dict[str, Written]:
        """Those records of these ids that are in the archive."""
        records: dict[str, Written] = {}
        for manifest in self.manifests():
            first, last = order_of(manifest.first_id), order_of(manifest.last_id)
            inside = {stamp for stamp in stamps if first <= order_of(stamp) <= last}
            if inside:
                with self._reading(manifest.day) as file:
                    records |= {
                        stamp: Written(body_of(line.rstrip())) for line in file if (stamp := stamp_of(line)) in inside
                    }
        return records

    @contextmanager
    def _reading(self, day: str) -> Iterator[Iterator[str]]:
        try:
            with opened(self.path(day)) as file:
                yield in_turns_by_size(in_turns(file), len, LETTERS_IN_A_TURN)
        except DAMAGED as error:
            log.error("archive: a file is damaged; 'octowait timeline verify' says more", day=day, error=str(error))

    def write(self, day: str, bodies: Iterable[tuple[str, str]]) -> Manifest:
        """Write the records of *day*, each as id and line, behind what is there.

        Two who do this at once write the same, as long as nobody trims the stream before the manifest is there.

        Raises:
            ArchiveError: the files cannot be written, or there are no records.
        """
        last = next(reversed(self.manifests()), None)
        begin = last.end if last else ChainEnd()
        manifest_path = self.directory / f"{day}.json"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._forget_drafts()
            with self._draft(self.path(day)) as draft:
                with gzip.GzipFile("", "wb", fileobj=draft, mtime=0) as file:
                    first, newest, end = _write_sealed(file, bodies, begin)
                if not newest and not manifest_path.exists():
                    raise ArchiveError(f"{day}: there are no records to archive")
                if manifest_path.exists():
                    raise _Raced  # And the stream may have been trimmed while it was read.
            manifest = Manifest(day, first, newest, begin.seq + 1, end.seq - begin.seq, begin.hash, end.hash)
            with self._draft(manifest_path) as draft:
                draft.write(json.dumps(asdict(manifest), indent=2).encode() + b"\n")
        except _Raced:
            return manifest_in(manifest_path)
        except OSError as error:
            raise ArchiveError(f"{self.directory}: cannot be written ({error})") from error
        return manifest

    def _forget_drafts(self) -> None:
        """Remove what somebody who died has left."""
        for path in self.directory.glob(f"{_DRAFT}*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _DRAFT_SECONDS:
                    path.unlink()

    @contextmanager
    def _draft(self, path: Path) -> Iterator[IO[bytes]]:
        """A file that appears as *path*, whole and on the disk, or not at all."""
        draft = path.with_name(f"{_DRAFT}{path.name}.{uuid.uuid4().hex}")
        try:
            # It says who deployed what to where: for its owner alone, whatever the umask is.
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
            directory = os.open(self.directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        finally:
            draft.unlink(missing_ok=True)


def opened(path: Path) -> IO[str]:
    """The lines of a compressed file; reading raises one of `DAMAGED` where it is not whole."""
    whole = io.BufferedReader(gzip.open(path, "rb"), _READ_AT_ONCE)
    return io.TextIOWrapper(whole, encoding="utf-8", newline="\n")


def manifest_in(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        ArchiveError: it is not there or no manifest.
    """
    try:
        manifest = Manifest(**json.loads(path.read_text()))
        order_of(manifest.first_id), order_of(manifest.last_id)
        if manifest.day != path.stem:
            raise ValueError(f"it is the one of {manifest.day}")
        return manifest
    except FileNotFoundError as error:
        raise ArchiveError(f"{path.name} is missing") from error
    except (OSError, ValueError, TypeError) as error:
        raise ArchiveError(f"{path.name} is no manifest: {error}") from error


def stamp_of(line: str) -> str:
    """The id of a record's line.

    Raises:
        ValueError: it does not begin as one.
    """
    match = _STAMP.match(line)
    if not match:
        raise ValueError(f"{line[:50]!r} does not begin with the id of a record")
    return match[1]


def _write_sealed(file: gzip.GzipFile, bodies: Iterable[tuple[str, str]], end: ChainEnd) -> tuple[str, str, ChainEnd]:
    first = newest = ""
    for newest, body in bodies:
        line, end = seal(body, end)
        file.write(line.encode() + b"\n")
        first = first or newest
    return first, newest, end
