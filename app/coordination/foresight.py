"""When waiters will start, from the durations that `Learner` keeps.

A poll must stay cheap with ten thousand waiters, so a process keeps what it read for some seconds: the durations, what
runs are in the lines, and the sum of each line, which everybody who stands in it shares.
"""

from __future__ import annotations

import json
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Any

from app.coordination.connection import Client
from app.coordination.errors import StoreError
from app.coordination.keys import Keys
from app.coordination.learner import (
    ACCURACY,
    DURATIONS,
    MOST_PREDICTIONS,
    PREDICTIONS,
    VERSION,
    durations_of,
    prediction_field,
)
from app.coordination.scripts import translated
from app.domain.eta import (
    NOTHING,
    SCENARIOS,
    Eta,
    Kind,
    Prediction,
    Vector,
    accuracy,
    and_then,
    eta_of,
    likely,
    many,
    one_after_another,
    the_longest,
)
from app.domain.place import Holder, MachinePlace, Place

#: Seconds after which the durations, and what a run wants, are read again.
DURATIONS_SECONDS, KIND_SECONDS = 5.0, 60.0

#: Milliseconds for which the sum of a line is used again; it is off by at most so much.
LINE_MS = 5_000

#: Entries of the caches of runs (0.3 KB each) and of lines (1 KB each); a full one is emptied.
MOST_KINDS, MOST_LINES = 20_000, 15_000

#: A run at the head of a free machine waits elsewhere, perhaps behind another such run: so many are looked at.
_MOST_ELSEWHERE = 3


class Foresight:
    """Foretells waits in one process.

    Args:
        look: A run as it stands, without a sign of life.
    """

    def __init__(self, client: Client, keys: Keys, look: Callable[[str], Place | None]) -> None:
        self._client = client
        self._keys = keys
        self._look = look
        self._version: bytes | None = None
        self._read_at = float("-inf")
        self._raw: dict[bytes, bytes] = {}
        self._durations: dict[str, Sequence[int]] = {}
        self._kinds: dict[str, tuple[float, Kind]] = {}
        self._moments: dict[str, tuple[float, float] | None] = {}
        self._spreads: dict[tuple[Kind, str], Vector | None] = {}
        self._lines: dict[object, Vector | None] = {}

    def foreseen(self, place: Place) -> Place:
        """The place with its ETA, where there is one; kept to be compared with the truth when the wait has just begun.

        Never fails: an ETA is not worth a failed poll.
        """
        if not place.is_waiting:
            return place
        try:
            foretold = replace(place, eta=self.eta(place))
            if foretold.eta and place.is_new:
                self._keep(foretold)
            return foretold
        except StoreError:
            return place

    def eta(self, place: Place) -> Eta | None:
        """When a waiting run will start; None where the past cannot tell, or somebody must act first."""
        vector = self.vector(place)
        return eta_of(vector) if vector else None

    def vector(self, place: Place, *, depth: int = 0) -> Vector | None:
        """Milliseconds until the run starts in each scenario: until the slowest of its lines has come to it."""
        self._refresh()
        if not self._raw:
            return None
        lines = []
        for machine in place.machines:
            line = self._line(place, machine, depth)
            if line is None:
                return None
            lines.append(line)
        return the_longest(lines)

    def accuracy(self) -> dict[str, Any]:
        """How true ETAs were: in all, and by ISO week."""
        with translated():
            kept: Any = self._client.hgetall(self._keys.named(ACCURACY))
        weeks: dict[str, dict[str, int]] = {}
        total: dict[str, int] = {}
        for field, count in kept.items():
            week, _, name = field.decode().partition(" ")
            weeks.setdefault(week, {})[name] = int(count)
            total[name] = total.get(name, 0) + int(count)
        return {**accuracy(total), "weeks": [{"week": week, **accuracy(weeks[week])} for week in sorted(weeks)]}

    def _line(self, place: Place, machine: MachinePlace, depth: int) -> Vector | None:
        """The same for one machine."""
        if machine.place == 0 or (machine.place == 1 and not machine.holders):
            return NOTHING
        shown = self._shown(place.now_ms, machine, depth)
        beyond = machine.place - 1 - len(machine.ahead)
        if shown is None or beyond <= 0:
            return shown
        others = self._others(f"machine:{machine.id.lower()}") or self._others("all")
        return one_after_another([shown, many(*others, beyond)]) if others else None

    def _shown(self, now_ms: int, machine: MachinePlace, depth: int) -> Vector | None:
        """The holders and those ahead whom the place names; everybody behind them shares it for a while."""
        holders = tuple(
            (held.kind, held.task_id, held.since_ms, held.until_ms, held.paused) for held in machine.holders
        )
        moment, ahead = now_ms // LINE_MS, machine.ahead
        known = len(ahead)
        while known and (machine.id, moment, holders, ahead[:known]) not in self._lines:
            known -= 1
        key = (machine.id, moment, holders, ahead[:known])
        if key not in self._lines:
            start = self._until_free(machine, now_ms) if holders else self._until_head_starts(machine, depth)
            self._keep_line(key, start)
        total = self._lines.get(key)
        for number, kind in enumerate(self._kinds_of(ahead[known:]), known):
            part = self._likely(kind, machine.id) if total is not None else None
            total = and_then(total, part, number + 1) if total is not None and part is not None else None
            self._keep_line((machine.id, moment, holders, ahead[: number + 1]), total)
        return total

    def _keep_line(self, key: object, total: Vector | None) -> None:
        if len(self._lines) >= MOST_LINES:
            self._lines.clear()
        self._lines[key] = total

    def _likely(self, kind: Kind, machine_id: str) -> Vector | None:
        """How long such a run will hold the machine."""
        key = (kind, machine_id)
        if key not in self._spreads:
            if len(self._spreads) >= MOST_LINES:
                self._spreads.clear()
            self._spreads[key] = likely(kind.levels(machine_id), self._history)
        return self._spreads[key]

    def _others(self, level: str) -> tuple[float, float] | None:
        """Mean and deviation of the durations of a level, for runs that are not looked at one by one."""
        if level not in self._moments:
            sample = self._history(level)
            self._moments[level] = (fmean(sample), pstdev(sample)) if sample else None
        return self._moments[level]

    def _until_free(self, machine: MachinePlace, now_ms: int) -> Vector | None:
        """Until the last of its holders has gone."""
        parts = [self._until_gone(held, machine, now_ms) for held in machine.holders]
        known = [part for part in parts if part is not None]
        return the_longest(known) if len(known) == len(parts) else None

    def _until_gone(self, held: Holder, machine: MachinePlace, now_ms: int) -> Vector | None:
        if held.kind == "reservation" and held.until_ms is not None:
            return array("d", [max(0, held.until_ms - now_ms)] * SCENARIOS)
        # Nobody can tell when a person will answer, end a reservation, or when the rebuilding is done.
        if held.task_id is None or held.paused:
            return None
        [kind] = self._kinds_of([held.task_id])
        return likely(kind.levels(machine.id), self._history, elapsed_ms=now_ms - held.since_ms)

    def _until_head_starts(self, machine: MachinePlace, depth: int) -> Vector | None:
        """Nobody holds the machine: the first in its line waits for another one."""
        if not machine.ahead or depth >= _MOST_ELSEWHERE:
            return NOTHING if not machine.ahead else None
        head = self._look(machine.ahead[0])
        return self.vector(head, depth=depth + 1) if head and head.is_waiting else NOTHING

    def _history(self, level: str) -> Sequence[int]:
        found = self._durations.get(level)
        if found is None:
            found = self._durations[level] = durations_of(self._raw.get(level.encode()))[1]
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._read_at < DURATIONS_SECONDS:
            return
        self._read_at = now
        with translated():
            version: Any = self._client.get(self._keys.named(VERSION))
            if version != self._version:
                raw: Any = self._client.hgetall(self._keys.named(DURATIONS))
                self._version, self._raw, self._durations = version, raw, {}
                self._moments.clear()
                self._spreads.clear()
                self._lines.clear()

    def _kinds_of(self, tasks: Iterable[str]) -> list[Kind]:
        """What these runs are compared by."""
        wanted = list(tasks)
        now = time.monotonic()
        missing = [t for t in wanted if t not in self._kinds or now - self._kinds[t][0] > KIND_SECONDS]
        if missing:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
                missing = wanted
            with translated():
                raws: Any = self._client.hmget(self._keys.runs, [task.lower() for task in missing])
            for task, raw in zip(missing, raws, strict=True):
                self._kinds[task] = (now, _kind(json.loads(raw) if raw else {}))
        return [self._kinds[task][1] for task in wanted]

    def _keep(self, place: Place) -> None:
        """Keep the first prediction of a wait for `Learner`, as long as there are not too many of them."""
        assert place.eta
        name = self._keys.named(PREDICTIONS)
        field = prediction_field(place.task_id, place.run["requested_at_ms"])
        with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.hset(name, field, str(Prediction(place.eta)))
            pipe.hlen(name)
            _, count = pipe.execute()
            if count > MOST_PREDICTIONS:
                self._client.hdel(name, field)


def _kind(record: Any) -> Kind:
    info = record.get("info") or {}

    def id_of(what: str) -> str | None:
        thing = info.get(what)
        return thing.get("id") if isinstance(thing, dict) else None

    return Kind(id_of("project"), id_of("environment"), tuple(record.get("machines") or ()))
