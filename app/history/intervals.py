"""Intervals of the past: waits with whom they waited for, holds and what charts show, replayed from the timeline.

A replay begins at the last checkpoint before its range, which `Learner` writes, or at the first record if there is
none. So it costs the records of the range and at most `CHECKPOINT_EVERY` (or, while very many wait, `PER_PRESENT` times
as many as wait) before it; the past of one run reads only the records of its machines there, if it has no family.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from app.domain.analysis.intervals import Interval, intervals_of
from app.domain.analysis.replay import BEGIN_WITHOUT_LEASE, WITHOUT_EFFECT, WITHOUT_LEASE, Hold, Replay, Wait
from app.domain.records import Filter, RecordLike, order_of
from app.history.archive.files import Archive
from app.history.timeline import Timeline
from app.store.clock import read_now_ms
from app.store.connection import Client
from app.store.fairness import in_turns, in_turns_by_size
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Records between two checkpoints.
CHECKPOINT_EVERY = 5_000

#: With many runs present a checkpoint is large, so there are this many records between two for each of them.
PER_PRESENT = 10

#: Names of keys: the newest checkpoint, and a stream of all, each under the id of its record.
HEAD, CHECKPOINTS = "past:head", "past:checkpoints"

#: Kinds after which a run does not wait as it did before.
_TURNS = frozenset({"joined", "granted", "observed", "left", "expired", "timed_out", "refused", "released", "ended"})

#: Other machines whose records are read for one. Of a wait for more, some stretches say that nobody is known.
MOST_OTHERS = 20

#: Machines of a wait whose records are looked up machine by machine, with three questions each; of one for more, all
#: records of that time are read, of which one question brings hundreds.
MOST_INDEXES = 200

#: Waits that go on, whose stretches are found between two turns of others.
WAITS_IN_A_TURN = 10

#: Machines of records that are replayed between two turns of others: about a millisecond for a thousand.
MACHINES_IN_A_TURN = 5_000

_WHOLE_BOARD = frozenset({"closed", "opened"})

#: No millisecond has a record of a larger number.
_LAST = 2**64 - 1


class Checkpoint(NamedTuple):
    """The state behind the record *id*; ``0-0`` and nothing where there is none."""

    id: str
    state: Mapping[str, Any] | None

    def packed(self) -> bytes:
        return zlib.compress(json.dumps({"id": self.id, "state": self.state}, separators=(",", ":")).encode(), 1)

    @classmethod
    def unpacked(cls, raw: bytes | None) -> Checkpoint:
        if not raw:
            return cls("0-0", None)
        dump = json.loads(zlib.decompress(raw))
        return cls(dump["id"], dump["state"])


class Past:
    """Intervals of the past; all methods raise `StoreError`.

    Args:
        archive: Where records are that the stream has no longer; None: they are not read.
    """

    def __init__(self, client: Client, keys: Keys, archive: Archive | None = None) -> None:
        self._client = client
        self._keys = keys
        self._timeline = Timeline(client, keys, archive)

    def intervals(self, *, from_ms: int, to_ms: int) -> Iterator[Wait | Hold]:
        """The waits and holds that ended in the range, in order, then the waits that went on at its end.

        Stretches begin at *from_ms* at the earliest and end before *to_ms*.
        """
        at = self.checkpoint(from_ms)
        replay = Replay(at.state, from_ms=from_ms)
        for change in self.changes(after=at.id, to_ms=to_ms):
            ended = replay.apply(change)
            if ended and change.at_ms >= from_ms:
                yield ended
        yield from in_turns(replay.waiting(to_ms), WAITS_IN_A_TURN)

    def now_ms(self) -> int:
        """The time of the board."""
        with redis_errors():
            return read_now_ms(self._client, self._keys)

    def begin_ms(self) -> int | None:
        """The time of the oldest record that can be read."""
        first, _ = self._timeline.page(Filter(), limit=1, after=self._readable_from())
        return first[0].at_ms if first else None

    def waits_of(self, task_id: str, *, now_ms: int, most: int = 20) -> list[Wait]:
        """The last waits of a task, oldest first, one perhaps still going on; reads its machines' records only."""
        turns = [change for change in self._timeline.changes(Filter(task_id=task_id)) if change.kind in _TURNS]
        ends = [*(change.at_ms + 1 for change in turns[1:]), now_ms]
        # Of a run that only an event has told of there is no turn, and nothing to end.
        begun = [(begin, end) for begin, end in zip(turns, ends, strict=False) if begin.kind == "joined"]
        waits = [self._wait(begin, end) for begin, end in begun[-most:]]
        return [wait for wait in waits if wait]

    def _wait(self, begin: RecordLike, to_ms: int) -> Wait | None:
        """The wait that began with that record."""
        at = self.checkpoint(begin.at_ms)
        replay = Replay(at.state, from_ms=begin.at_ms)
        for change in _in_turns(self._around(begin, replay, at.id, to_ms)):
            ended = replay.apply(change)
            if isinstance(ended, Wait) and _is_of(ended, begin):
                return ended
        return next((wait for wait in replay.waiting(to_ms) if _is_of(wait, begin)), None)

    def _around(self, begin: RecordLike, replay: Replay, after: str, to_ms: int) -> Iterable[RecordLike]:
        """The records that matter to a wait: of its machines, and of the whole board."""
        if "family" in begin.detail or len(begin.machines) > MOST_INDEXES:
            # Who is of its family is told by records of any machine: of a child's child, or of its parent's other one.
            return self.changes(after=after, to_ms=to_ms)
        records = self._records([Filter(machine_id=machine) for machine in begin.machines], after, to_ms)
        return self._with_decisive(records, {machine.lower() for machine in begin.machines}, replay, after, to_ms)

    def of_machine(self, machine_id: str, *, from_ms: int, to_ms: int, least_ms: int = 0) -> list[Interval]:
        """The intervals of *machine_id* in the range, in order of their ends, then those that go on at *to_ms*.

        Waits that were over within *least_ms* are told without their stretches, which saves a fifth of the time.
        Costs the records of the machine in the range, those back to the last checkpoint before it, and the same of
        `MOST_OTHERS` machines at most.
        """
        at = self.checkpoint(from_ms)
        replay = Replay(at.state, from_ms=from_ms, least_ms=least_ms)
        own = machine_id.lower()
        records = self._records([Filter(machine_id=machine_id)], at.id, to_ms)
        others = _others(own, replay, records.values())
        records |= self._records([Filter(machine_id=other) for other in others], at.id, to_ms)
        changes = self._with_decisive(records, {own, *others}, replay, at.id, to_ms)
        return [interval for interval in intervals_of(_in_turns(changes), replay, to_ms) if _is_at(interval, own)]

    def of_all(self, *, from_ms: int, to_ms: int) -> Iterator[Interval]:
        """The same of all machines; it costs the records of the whole board in that time, and reads on as it goes."""
        at = self.checkpoint(from_ms)
        records = self._timeline.changes(Filter(to_ms=to_ms), after=at.id)
        return intervals_of(records, Replay(at.state, from_ms=from_ms), to_ms)

    def _with_decisive(
        self, records: dict[str, RecordLike], machines: set[str], replay: Replay, after: str, to_ms: int
    ) -> list[RecordLike]:
        """Those *records* of *machines* with all others that decide who waits there, in order."""
        # A run without a lease gives its machines up when it joins, and that record may name other ones.
        observed = {
            run.task_id
            for run in replay.present.values()
            if run.kind in WITHOUT_LEASE and machines & set(map(str.lower, run.machines))
        }
        observed |= {c.task_id for c in records.values() if c.kind in BEGIN_WITHOUT_LEASE and c.task_id}
        records |= self._records([Filter(task_id=task) for task in observed], after, to_ms)
        records |= {change.id: change for change in self.of_the_board(after, to_ms)}
        return [records[stamp] for stamp in sorted(records, key=order_of)]

    def _records(self, filters: Iterable[Filter], after: str, to_ms: int) -> dict[str, RecordLike]:
        """The records of any of the filters, by id."""
        sources = [self._timeline.changes(replace(each, to_ms=to_ms), after=after) for each in filters]
        return {record.id: record for source in sources for record in source}

    def of_the_board(self, after: str, to_ms: int) -> Iterator[RecordLike]:
        """When the board was closed and opened; no index has these records, but the head knows their times."""
        head = self.head()
        begin = order_of(after)
        for times in head.state["closures"] if head.state else ():
            for at_ms in times:
                if at_ms is not None and begin[0] <= at_ms < to_ms:
                    changes = self.changes(after=f"{at_ms - 1}-{_LAST}", to_ms=at_ms + 1, only=_WHOLE_BOARD)
                    yield from (change for change in changes if begin < order_of(change.id) <= order_of(head.id))
        yield from self.changes(after=max(after, head.id, key=order_of), to_ms=to_ms, only=_WHOLE_BOARD)

    def head(self) -> Checkpoint:
        """The newest checkpoint."""
        with redis_errors():
            raw: Any = self._client.get(self._keys.named(HEAD))
        return Checkpoint.unpacked(raw)

    def checkpoint(self, before_ms: int) -> Checkpoint:
        """The last checkpoint whose record is from before that time.

        Where records behind it cannot be read, an empty one behind these: what was then is not known.
        """
        checkpoint = self.head()
        if order_of(checkpoint.id)[0] >= before_ms:
            with redis_errors():
                entries: Any = self._client.xrevrange(
                    self._keys.named(CHECKPOINTS), f"({max(before_ms, 1)}-0", "-", count=1
                )  # fmt: skip
            checkpoint = Checkpoint.unpacked(entries[0][1][b"packed"] if entries else None)
        begin = self._readable_from()
        return checkpoint if order_of(checkpoint.id) >= order_of(begin) else Checkpoint(begin, None)

    def _readable_from(self) -> str:
        """All records behind this id can be read."""
        unread_ms = self._timeline.unread_until_ms()
        return f"{unread_ms}-{_LAST}" if unread_ms is not None else "0-0"

    def changes(
        self, *, after: str, to_ms: int | None = None, only: frozenset[str] | None = None
    ) -> Iterator[RecordLike]:
        """The records behind the id *after* that change the board, or those of the kinds *only*; oldest first."""
        for change in self._timeline.changes(Filter(to_ms=to_ms), after=after):
            if change.kind not in WITHOUT_EFFECT if only is None else change.kind in only:
                yield change


def _in_turns(changes: Iterable[RecordLike]) -> Iterator[RecordLike]:
    return in_turns_by_size(in_turns(changes), lambda change: len(change.machines), MACHINES_IN_A_TURN)


def _is_of(wait: Wait, begin: RecordLike) -> bool:
    return wait.task_id == begin.task_id and wait.from_ms == begin.at_ms


def _is_at(interval: Interval, machine: str) -> bool:
    return not interval.machines or machine in map(str.lower, interval.machines)


def _others(own: str, replay: Replay, records: Iterable[RecordLike]) -> list[str]:
    """The machines that runs wanted together with this one, as many as may be read; lower case."""
    others: dict[str, None] = {}
    wishes: list[Sequence[str]] = [run.machines for run in replay.present.values() if run.kind == "waiting"]
    wishes += [record.machines for record in records if record.kind == "joined"]
    for machines in wishes:
        names = [name.lower() for name in machines]
        if own in names:
            others |= dict.fromkeys(name for name in names if name != own)
        if len(others) >= MOST_OTHERS:
            break
    return list(others)[:MOST_OTHERS]
