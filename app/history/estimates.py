"""Estimates: when waiters will start (ETA), from the durations of earlier runs.

A poll must stay cheap with ten thousand waiters, so a process caches for some seconds: the durations, the runs in the
lines, and the time when each of these will be done, which all behind it share.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Any

from app.domain.eta import (
    NOTHING,
    SCENARIOS,
    Eta,
    Kind,
    Prediction,
    Vector,
    accuracy,
    and_then,
    draw_of,
    eta_of,
    likely,
    many,
    one_after_another,
    the_longest,
)
from app.domain.run import RunState
from app.domain.status import Holder, MachinePlace, RunStatus
from app.history.durations import (
    ACCURACY,
    DURATIONS,
    MOST_PREDICTIONS,
    PREDICTIONS,
    VERSION,
    durations_of,
    prediction_field,
)
from app.history.kinds import Kinds
from app.store.connection import Client
from app.store.errors import StoreError
from app.store.fairness import in_turns
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Seconds after which the durations are read again.
DURATIONS_SECONDS = 5.0

#: Milliseconds for which what is known of those in line is used again; an ETA is off by at most so much.
MOMENT_MS = 5_000

#: Runs in line that a process looks at in a moment (0.3 ms each). Of those beyond, only their own lines count.
MOST_LOOKS = 400

#: Entries of the cache of vectors (0.6 KB each), and of that of holders; a full one is emptied.
MOST_VECTORS, MOST_RESTS = 15_000, 1_000

#: Machines of one wait that are looked at between two turns of others.
IN_A_TURN = 20


class Estimates:
    """Estimates of waits, with the caches of one process.

    Args:
        look: A run as it stands, without a sign of life.
        runs: The runs of those task ids that are known, by task id in lower case.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        look: Callable[[str], RunStatus | None],
        runs: Callable[[Iterable[str]], Mapping[str, RunState]],
    ) -> None:
        self._client = client
        self._keys = keys
        self._look = look
        self.kinds = Kinds(runs)
        self._version: bytes | None = None
        self._read_at = float("-inf")
        self._raw: dict[bytes, bytes] = {}
        self._durations: dict[str, Sequence[int]] = {}
        self._means: dict[str, tuple[float, float] | None] = {}
        self._spreads: dict[Kind, Vector | None] = {}
        self._moment = 0
        self._looks = 0
        self._done: dict[str, Vector | None] = {}
        self._fronts: dict[tuple[str, str], Vector | None] = {}
        #: Until a holder will have gone, by its task and how long it has held.
        self._rests: dict[tuple[str, int], Vector | None] = {}

    def with_eta(self, place: RunStatus) -> RunStatus:
        """The place with its ETA, if there is one; that of a wait that has just begun is stored, to be checked later.

        Never fails: an ETA is not worth a failed poll.
        """
        if not place.is_waiting or place.is_being_told:
            return place
        try:
            foretold = replace(place, eta_ms=self.eta(place))
            if foretold.eta_ms and place.is_new:
                self._keep(foretold)
            return foretold
        except StoreError:
            return place

    def eta(self, place: RunStatus) -> Eta | None:
        """When a waiting run will start; None where the past cannot tell, or somebody must act first."""
        vector = self.vector(place)
        return eta_of(vector) if vector else None

    def vector(self, place: RunStatus) -> Vector | None:
        """Milliseconds until the run starts in each scenario.

        Who stands before it, and before those at their other machines, is looked at first. Nobody overtakes, so in the
        order of the lines each starts when the last one before it has gone from all of its machines.
        """
        self._refresh()
        if not self._raw:
            return None
        self._begin(place.now_ms // MOMENT_MS)
        for before in self._those_before(place):
            self._done[before.task_id] = self._until_done(before)
        return self._until_start(place)

    def outlasted_by(self, place: RunStatus) -> Holder | None:
        """Who holds a machine of a waiting run for longer than any run before: the one case that needs a person."""
        for machine in place.machines:
            for held in machine.holders if machine.place else ():
                if self.longest_before(held) < place.now_ms - held.since_ms:
                    return held
        return None

    def longest_before(self, held: Holder) -> float:
        """How long, ms, the longest run like a holder held before; infinite where no past tells, or it is paused."""
        if held.task_id is None or held.paused:
            return math.inf
        self._refresh()
        [kind] = self.kinds.of([held.task_id])
        return max((max(sample) for level in kind.levels if (sample := self._history(level))), default=math.inf)

    def accuracy(self) -> dict[str, Any]:
        """The accuracy of ETAs: in all, and by ISO week."""
        with redis_errors():
            raws: Any = self._client.hgetall(self._keys.named(ACCURACY))
        weeks: dict[str, dict[str, int]] = {}
        total: dict[str, int] = {}
        for field, count in raws.items():
            week, _, name = field.decode().partition(" ")
            weeks.setdefault(week, {})[name] = int(count)
            total[name] = total.get(name, 0) + int(count)
        return {**accuracy(total), "weeks": [{"week": week, **accuracy(weeks[week])} for week in sorted(weeks)]}

    def _begin(self, moment: int) -> None:
        """Empty the caches of runs in line when a new moment begins."""
        if moment != self._moment or len(self._done) > MOST_VECTORS:
            self._moment, self._looks = moment, 0
            self._done.clear()
            self._fronts.clear()

    def _those_before(self, place: RunStatus) -> list[RunStatus]:
        """The runs on which the start of a run depends and that are not known of yet, in the order of the lines."""
        places: dict[str, RunStatus] = {}
        tasks = _last_ahead(place)
        while tasks and self._looks < MOST_LOOKS:
            task = tasks.pop()
            if task in places or task in self._done:
                continue
            self._looks += 1
            seen = self._look(task)
            if seen:
                places[task] = seen
                tasks += _last_ahead(seen)
        return sorted(places.values(), key=lambda seen: seen.run.order)

    def _until_done(self, place: RunStatus) -> Vector | None:
        """Until a run in line will have given its machines back."""
        if not place.is_waiting and not place.is_granted:
            return NOTHING
        start = self._until_start(place) if place.is_waiting else NOTHING
        return self._and_then(start, place.task_id) if start is not None else None

    def _until_start(self, place: RunStatus) -> Vector | None:
        """Until the slowest of its lines has come to it."""
        turns = [self._until_turn(m, place.now_ms) for m in in_turns(place.machines, IN_A_TURN, at_first=False)]
        known = [turn for turn in turns if turn is not None]
        return the_longest(known) if len(known) == len(turns) else None

    def _until_turn(self, machine: MachinePlace, now_ms: int) -> Vector | None:
        """Until all who are before it at one machine have gone."""
        if machine.place == 0:
            return NOTHING
        if not machine.ahead:
            turn = self._until_free(machine, now_ms)
        elif machine.ahead[-1] in self._done:
            turn = self._done[machine.ahead[-1]]
        else:
            # All who stand far behind in a line are behind the same first ones.
            front = (machine.id, machine.ahead[-1])
            if front not in self._fronts:
                self._fronts[front] = self._one_by_one(machine, now_ms)
            turn = self._fronts[front]
        beyond = machine.place - 1 - len(machine.ahead)
        if turn is None or beyond <= 0:
            return turn
        others = self._mean(f"machine:{machine.id.lower()}") or self._mean("all")
        return one_after_another([turn, many(*others, beyond)]) if others else None

    def _one_by_one(self, machine: MachinePlace, now_ms: int) -> Vector | None:
        """Until those before it that are named have gone, as if they waited for nobody elsewhere."""
        turn = self._until_free(machine, now_ms)
        for task in machine.ahead:
            turn = self._and_then(turn, task) if turn is not None else None
        return turn

    def _and_then(self, total: Vector, task: str) -> Vector | None:
        """And then as long as the run will hold its machines."""
        [kind] = self.kinds.of([task])
        if kind not in self._spreads:
            if len(self._spreads) >= MOST_VECTORS:
                self._spreads.clear()
            self._spreads[kind] = likely(kind.levels, self._history)
        part = self._spreads[kind]
        return and_then(total, part, draw_of(task)) if part is not None else None

    def _until_free(self, machine: MachinePlace, now_ms: int) -> Vector | None:
        """Until the last of its holders has gone."""
        parts = [self._until_gone(held, now_ms) for held in machine.holders]
        known = [part for part in parts if part is not None]
        return the_longest(known) if len(known) == len(parts) else None

    def _until_gone(self, held: Holder, now_ms: int) -> Vector | None:
        if held.kind == "reservation" and held.until_ms is not None:
            return array("d", [max(0, held.until_ms - now_ms)] * SCENARIOS)
        # Nobody can tell when a person will answer, end a reservation, or when the rebuilding is done.
        if held.task_id is None or held.paused:
            return None
        # A run can hold all machines of one that waits for ten thousand.
        elapsed = (held.task_id, now_ms - held.since_ms)
        if elapsed not in self._rests:
            if len(self._rests) >= MOST_RESTS:
                self._rests.clear()
            self._rests[elapsed] = self._rest(*elapsed)
        return self._rests[elapsed]

    def _rest(self, task: str, elapsed_ms: int) -> Vector | None:
        [kind] = self.kinds.of([task])
        rest = likely(kind.levels, self._history, elapsed_ms=elapsed_ms)
        return and_then(NOTHING, rest, draw_of(task)) if rest is not None else None

    def _mean(self, level: str) -> tuple[float, float] | None:
        """Mean and deviation of the durations of a level, for runs that are not named one by one."""
        if level not in self._means:
            sample = self._history(level)
            self._means[level] = (fmean(sample), pstdev(sample)) if sample else None
        return self._means[level]

    def _history(self, level: str) -> Sequence[int]:
        durations = self._durations.get(level)
        if durations is None:
            durations = self._durations[level] = durations_of(self._raw.get(level.encode()))[1]
        return durations

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._read_at < DURATIONS_SECONDS:
            return
        self._read_at = now
        with redis_errors():
            version: Any = self._client.get(self._keys.named(VERSION))
            if version != self._version:
                raw: Any = self._client.hgetall(self._keys.named(DURATIONS))
                self._version, self._raw, self._durations = version, raw, {}
                for cache in (self._means, self._spreads, self._done, self._fronts, self._rests):
                    cache.clear()

    def _keep(self, place: RunStatus) -> None:
        """Store the first prediction of a wait for the learner, up to `MOST_PREDICTIONS`."""
        assert place.eta_ms
        name = self._keys.named(PREDICTIONS)
        field = prediction_field(place.task_id, place.run.requested_at_ms)
        with redis_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.hset(name, field, str(Prediction(place.eta_ms)))
            pipe.hlen(name)
            _, count = pipe.execute()
            if count > MOST_PREDICTIONS:
                self._client.hdel(name, field)


def _last_ahead(place: RunStatus) -> list[str]:
    """The last named run ahead at each machine of the run."""
    return [machine.ahead[-1] for machine in place.machines if machine.place and machine.ahead]
