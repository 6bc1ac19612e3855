"""A replay of the board: the records of the timeline, applied one after another.

A replay of all records says of each wait, when it ends, whom it waited for, and of each hold how long it took. A replay
that begins in the middle begins with the state that an earlier one had there (`Replay.dump`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from app.domain.analysis.attribution import stretches
from app.domain.analysis.board_state import ActiveRun, BoardState, merged
from app.domain.analysis.fronts import Blocker, Reason, Stretch
from app.domain.records import RecordLike

#: Kinds that change nothing on the board; a replay may leave them out.
WITHOUT_EFFECT = frozenset({
    "event", "overlapped", "claimless", "disputed", "outage_ended", "clock_jumped", "resumed", "not_resumed",
    "caught_up", "repaired",
})  # fmt: skip

#: Kinds that end a wait or a hold.
_ENDS = frozenset({"released", "ended", "left", "expired", "timed_out", "refused", "dropped"})

#: Kinds of holds that nobody asked for: records of such a run name other machines than the record that ends the hold.
WITHOUT_LEASE = frozenset({"observed", "provisional"})

#: Kinds of records that begin such a hold.
BEGIN_WITHOUT_LEASE = frozenset({"observed", "presumed"})

#: A replay from then on only makes the state.
NEVER = sys.maxsize

#: Of the times when the board was closed, how many are remembered.
_MOST_CLOSURES = 100

#: Of how many runs it is remembered that they are of a family, those who wait or hold aside.
_MOST_FAMILIES = 1_000


class Wait(NamedTuple):
    """A wait that is over, or that goes on (*outcome* is ``waiting``) at the end of the range.

    *stretches* cover what of it lies in the range of the replay. *outcome* is the kind of the record that ended it;
    ``observed`` when a person let the run go on, ``lost`` when its end is not on record.
    """

    task_id: str
    run: int
    machines: tuple[str, ...]
    project_id: str | None
    environment_id: str | None
    from_ms: int
    to_ms: int
    outcome: str
    cause: str | None
    parked: bool
    stretches: tuple[Stretch, ...]

    @property
    def waited_ms(self) -> int:
        """From the request to the end of the wait, wherever the range begins."""
        return self.to_ms - self.from_ms

    @property
    def lost_ms(self) -> int:
        """What of it lies in the range."""
        return self.stretches[-1].to_ms - self.stretches[0].from_ms if self.stretches else 0


class Hold(NamedTuple):
    """A hold that is over. *waited_ms* is how long the run had waited for it; None if it had no lease."""

    task_id: str
    run: int
    machines: tuple[str, ...]
    project_id: str | None
    environment_id: str | None
    from_ms: int
    to_ms: int
    outcome: str
    cause: str | None
    waited_ms: int | None

    @property
    def held_ms(self) -> int:
        return self.to_ms - self.from_ms


class Replay(BoardState):
    """Applies records in order. Starts with an empty board, or with what `dump` gave.

    Args:
        from_ms: Waits are told from then on; what was before only makes the state.
        least_ms: Waits that are over sooner are told without their stretches.
    """

    def __init__(self, state: Mapping[str, Any] | None = None, *, from_ms: int = 0, least_ms: int = 0) -> None:
        super().__init__(state, from_ms=from_ms)
        self._least_ms = least_ms
        #: Arrivals of runs whose grant is withdrawn; the record of their wait follows.
        self._withdrawn: dict[str, int] = {}

    def apply(self, change: RecordLike) -> Wait | Hold | None:
        """Apply one record: the wait or the hold that it ended, if it ended one."""
        if not self._is_telling and change.at_ms >= self.from_ms:
            self._begin_telling()
        if self._touched and change.at_ms > self._touched_ms:
            self._remember()
        kind = change.kind
        if kind == "joined":
            return self._joined(change)
        if kind == "granted":
            return self._granted(change)
        if kind in _ENDS:
            return self._leave(change, change.kind)
        if kind == "observed":
            return self._observed(change)
        if kind == "presumed":
            return self._presumed(change)
        if kind == "expected":
            self._stop_presuming(change)
            return None
        if kind == "prioritized":
            self._prioritized(change)
        elif kind in ("reserved", "unreserved"):
            self._reservation(change)
        elif kind == "closed":
            self.closures = merged([*self.closures[1 - _MOST_CLOSURES :], (change.at_ms, None)])
        elif kind == "opened":
            self._opened(change)
        return None

    def waiting(self, to_ms: int) -> Iterator[Wait]:
        """The waits that go on, as they stand at *to_ms*, by arrival."""
        if not self._is_telling:
            self._begin_telling()
        self._remember()
        for run in sorted((r for r in self.present.values() if r.kind == "waiting"), key=lambda r: r.arrival):
            yield self._wait_of(run, to_ms, "waiting", None)

    # How a record changes the board

    def _joined(self, change: RecordLike) -> Wait | Hold | None:
        family_before = self.families.get(_key(change))
        self._stop_presuming(change)
        ended = self._leave(change, "lost")
        self._arrivals += 1
        detail = change.detail
        run = self._new(change, "waiting", detail.get("family"))
        run.priority, run.arrival = detail.get("priority", 0), self._arrivals
        if detail.get("withdrawn"):
            # Its grant was taken back before it was told, and it stands where it stood.
            run.arrival = self._withdrawn.pop(_key(change), run.arrival)
        run.parked = bool(detail.get("parked"))
        parent = detail.get("on_behalf_of")
        # One that has a family of its own, by a child that asked before it did, does not change its parent's.
        if parent and run.family not in (None, family_before):
            self._adopt(str(parent).lower(), run.family, change.at_ms)
        self._enter(run, change.at_ms)
        return ended

    def _granted(self, change: RecordLike) -> Wait | Hold | None:
        run = self.present.get(_key(change))
        if run is None or run.kind != "waiting":
            # Its request is older than all that is on record.
            run = self._new(change, "waiting", change.detail.get("family"))
            run.since_ms = change.at_ms - change.detail.get("waited_ms", 0)
        ended = self._wait_of(run, change.at_ms, "granted", None)
        self._remove(run, change.at_ms)
        run.kind, run.since_ms, run.waited_ms = "lease", change.at_ms, ended.waited_ms
        self._enter(run, change.at_ms)
        return ended

    def _observed(self, change: RecordLike) -> Wait | Hold | None:
        family = self.families.get(_key(change))
        presumed = self._stop_presuming(change)
        ended = self._leave(change, "observed")
        run = self._new(change, "observed", family)
        run.since_ms = presumed.since_ms if presumed else change.at_ms
        self._enter(run, change.at_ms)
        return ended

    def _presumed(self, change: RecordLike) -> Wait | Hold | None:
        before = self._stop_presuming(change)
        ended = self._leave(change, "lost")
        run = self._new(change, "provisional", change.detail.get("family"))
        run.since_ms = before.since_ms if before else change.at_ms
        self._enter(run, change.at_ms)
        return ended

    def _stop_presuming(self, change: RecordLike) -> ActiveRun | None:
        """Forget what was only presumed of the run, now that more is known: that is no hold to tell of."""
        run = self.present.get(_key(change))
        if run is None or run.kind != "provisional":
            return None
        self._remove(run, change.at_ms)
        return run

    def _leave(self, change: RecordLike, outcome: str) -> Wait | Hold | None:
        key = _key(change)
        self.families.pop(key, None)
        run = self.present.get(key)
        if run is None:
            return None
        interval: Wait | Hold
        if run.kind == "waiting":
            interval = self._wait_of(run, change.at_ms, outcome, change.cause)
        else:
            interval = Hold(
                run.task_id, run.run, run.machines, run.project_id, run.environment_id, run.since_ms, change.at_ms,
                outcome, change.cause, run.waited_ms,
            )  # fmt: skip
        if change.cause == "withdrawn":
            self._withdrawn[key] = run.arrival
        self._remove(run, change.at_ms)
        return interval

    def _prioritized(self, change: RecordLike) -> None:
        run = self.present.get(_key(change))
        if run and run.kind == "waiting":
            self._remove(run, change.at_ms)
            run.priority = change.detail.get("to", run.priority)
            self._enter(run, change.at_ms)

    def _reservation(self, change: RecordLike) -> None:
        for machine in change.machines:
            state = self._machine(machine)
            if change.kind == "unreserved":
                state.holders.pop("", None)
            else:
                before = state.holders.get("")
                note = ", by ".join(str(part) for part in (change.detail.get("note"), change.detail.get("by")) if part)
                rank = before.rank if before else (change.at_ms, 0)
                state.holders[""] = Blocker(Reason.RESERVATION, None, None, None, rank, None, note)
            self._note(state, change.at_ms)

    def _opened(self, change: RecordLike) -> None:
        if self.closures and self.closures[-1][1] is None:
            self.closures = [*self.closures[:-1], (self.closures[-1][0], change.at_ms)]
        # Those who waited are put in the order in which Octopus started them.
        for task in change.detail.get("order", ()):
            run = self.present.get(str(task).lower())
            if run and run.kind == "waiting":
                self._remove(run, change.at_ms)
                self._arrivals += 1
                run.arrival = self._arrivals
                self._enter(run, change.at_ms)

    def _adopt(self, parent: str, family: int, at_ms: int) -> None:
        """Make a run that holds, or may turn out to hold, one of the family that its child began."""
        self.families.pop(parent, None)
        self.families[parent] = family
        if len(self.families) > len(self.present) + _MOST_FAMILIES:
            # One that never started here leaves no record of its end.
            del self.families[next(task for task in self.families if task not in self.present)]
        run = self.present.get(parent)
        if run and run.kind != "waiting" and run.family != family:
            run.family = family
            self._enter(run, at_ms)

    def _wait_of(self, run: ActiveRun, at_ms: int, outcome: str, cause: str | None) -> Wait:
        span = (max(run.since_ms, self.from_ms), at_ms)
        parts: tuple[Stretch, ...] = ()
        is_long = span[1] - span[0] >= self._least_ms or outcome == "waiting"
        if self._is_telling and span[0] < span[1] and is_long:
            machines = [(machine, self._machine(machine).past) for machine in run.machines]
            parts = stretches(run.task_id, run.family, machines, self.closures, span)
        return Wait(
            run.task_id, run.run, run.machines, run.project_id, run.environment_id, run.since_ms, at_ms, outcome,
            cause, run.parked, parts,
        )  # fmt: skip


def _key(change: RecordLike) -> str:
    return (change.task_id or "").lower()
