"""The learner: follows the timeline and stores durations of runs, checkpoints of the board, and the accuracy of ETAs.

A job calls `Learner.learn` every few seconds. Nothing but speed and ETAs depend on it: what was not learned yet is
replayed. The cursor is the newest checkpoint.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.domain.analysis.ledger import week_of
from app.domain.analysis.replay import NEVER, Hold, Replay, Wait
from app.domain.eta import Kind, Prediction
from app.domain.records import Filter
from app.followers.cursor import Cursor, Transaction
from app.history.durations import (
    ACCURACY,
    DURATIONS,
    MOST_PREDICTIONS,
    PREDICTIONS,
    VERSION,
    durations_of,
    prediction_field,
    stored_durations,
)
from app.history.intervals import CHECKPOINT_EVERY, CHECKPOINTS, HEAD, PER_PRESENT, Checkpoint
from app.history.timeline import Timeline
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: The newest durations that are kept of each kind of run.
SAMPLE = 50

#: Kinds of runs of which durations are kept; the one that ended longest ago is forgotten first.
MOST_KINDS = 3_000

#: Checkpoints that are kept, the newest.
MOST_CHECKPOINTS = 2_000

#: How much what a record says of a time may differ from the difference of two record ids: more, and a clock went back
#: (a fail-over), so that neither says how long it was. Milliseconds.
CLOCKS_AGREE_MS = 1_000

#: Ends of a hold that say how long such a run takes. One that somebody cut short says nothing of it.
_NATURAL = frozenset({"step", "event", "reconciled"})


@dataclass
class _Lesson:
    """The results of one step."""

    durations: dict[str, list[int]] = field(default_factory=dict)
    ended_ms: dict[str, int] = field(default_factory=dict)
    waits: list[Wait] = field(default_factory=list)
    #: Waits of which nobody knows how long they were.
    unknown: list[Wait] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def add(self, interval: Wait | Hold) -> None:
        if isinstance(interval, Wait):
            self.waits.append(interval)
        elif interval.cause in _NATURAL:
            for key in Kind(interval.project_id, interval.environment_id, interval.machines).levels:
                self.durations.setdefault(key, []).insert(0, interval.held_ms)
                self.ended_ms[key] = interval.to_ms


def _is_told_by_one_clock(interval: Wait | Hold, detail: Mapping[str, Any]) -> bool:
    took_ms = interval.waited_ms if isinstance(interval, Wait) else interval.held_ms
    said_ms: int = detail.get("waited_ms" if isinstance(interval, Wait) else "held_ms", took_ms)
    return abs(took_ms - said_ms) <= CLOCKS_AGREE_MS and (took_ms > 0 or isinstance(interval, Wait))


class Learner:
    """Learns from the timeline of one namespace; raises `StoreError` when Redis cannot do it."""

    def __init__(self, client: Client, keys: Keys, *, checkpoint_every: int = CHECKPOINT_EVERY) -> None:
        self._client = client
        self._keys = keys
        self._cursor = Cursor(client, keys.named(HEAD))
        self._timeline = Timeline(client, keys)
        self._every = checkpoint_every

    def learn(self, *, most: int = 5_000) -> bool:
        """Learn from the next *most* records; whether there may be more. Of two at once, one does nothing."""
        seen = self._cursor.value()
        head = Checkpoint.unpacked(seen)
        records = list(itertools.islice(self._timeline.changes(Filter(), after=head.id), most))
        if not records:
            return False
        replay, lesson = Replay(head.state, from_ms=NEVER), _Lesson()
        since = self._study(records, replay, lesson, (head.state or {}).get("since_checkpoint", 0))
        newest = Checkpoint(records[-1].id, {**replay.dump(), "since_checkpoint": since})
        if not self._cursor.advance(seen, newest.packed(), partial(self._write, lesson, newest.id)):
            return True
        self._forget(replay)
        return len(records) == most

    def _write(self, lesson: _Lesson, version: str, transaction: Transaction) -> None:
        durations, counts = self._durations(lesson), self._counts(lesson.waits)
        transaction.multi()
        for checkpoint in lesson.checkpoints:
            name = self._keys.named(CHECKPOINTS)
            transaction.xadd(name, {"packed": checkpoint.packed()}, id=checkpoint.id, maxlen=MOST_CHECKPOINTS)
        if durations:
            transaction.hset(self._keys.named(DURATIONS), mapping=durations)
            transaction.set(self._keys.named(VERSION), version)
        for name, count in counts.items():
            transaction.hincrby(self._keys.named(ACCURACY), name, count)
        over = [prediction_field(wait.task_id, wait.from_ms) for wait in (*lesson.waits, *lesson.unknown)]
        if over:
            transaction.hdel(self._keys.named(PREDICTIONS), *over)

    def _study(self, changes: Iterable[Any], replay: Replay, lesson: _Lesson, since: int) -> int:
        """Replay the records; the number of records since the last checkpoint."""
        for change in changes:
            interval = replay.apply(change)
            if interval and _is_told_by_one_clock(interval, change.detail):
                lesson.add(interval)
            elif isinstance(interval, Wait):
                lesson.unknown.append(interval)
            since += 1
            if since >= max(self._every, PER_PRESENT * len(replay.present)):
                since = 0
                lesson.checkpoints.append(Checkpoint(change.id, replay.dump()))
        return since

    def _durations(self, lesson: _Lesson) -> dict[Any, Any]:
        """The new durations of each kind of run, as stored."""
        names = list(lesson.durations)
        raws: Any = self._client.hmget(self._keys.named(DURATIONS), names) if names else []
        known = {name: durations_of(raw)[1] for name, raw in zip(names, raws, strict=True)}
        return {
            name: stored_durations(lesson.ended_ms[name], [*new, *known[name]][:SAMPLE])
            for name, new in lesson.durations.items()
        }

    def _counts(self, waits: list[Wait]) -> dict[str, int]:
        """Increments of the accuracy counts, by ``<week> <name>``."""
        judged = [wait for wait in waits if wait.outcome == "granted" and wait.waited_ms]
        fields = [prediction_field(wait.task_id, wait.from_ms) for wait in judged]
        raws: Any = self._client.hmget(self._keys.named(PREDICTIONS), fields) if fields else []
        counts: dict[str, int] = {}
        for wait, raw in zip(judged, raws, strict=True):
            for name, count in Prediction.parsed(raw).judged(wait.waited_ms).items() if raw else [("without_eta", 1)]:
                key = f"{week_of(wait.to_ms)} {name}"
                counts[key] = counts.get(key, 0) + count
        return counts

    def _forget(self, replay: Replay) -> None:
        """Remove predictions and durations beyond their limits."""
        with redis_errors():
            if int(self._client.hlen(self._keys.named(PREDICTIONS))) > MOST_PREDICTIONS // 2:
                self._forget_predictions(replay)
            if int(self._client.hlen(self._keys.named(DURATIONS))) > MOST_KINDS:
                self._forget_kinds()

    def _forget_predictions(self, replay: Replay) -> None:
        # Some were written when their waits had been learned to be over already.
        name = self._keys.named(PREDICTIONS)
        present = {prediction_field(run.task_id, run.since_ms) for run in replay.present.values()}
        fields: Any = self._client.hkeys(name)
        orphans = [field for field in fields if field.decode() not in present]
        if orphans:
            self._client.hdel(name, *orphans)

    def _forget_kinds(self) -> None:
        name = self._keys.named(DURATIONS)
        raws: Any = self._client.hgetall(name)
        oldest = sorted(raws, key=lambda key: durations_of(raws[key])[0])
        self._client.hdel(name, *oldest[: len(raws) - MOST_KINDS * 9 // 10])
