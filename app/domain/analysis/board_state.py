"""The state of a replayed board: who waits and who holds at which machine, the line heads so far, and its dump."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.analysis.attribution import LineHeads
from app.domain.analysis.fronts import EMPTY, Blocker, LineHead, Reason
from app.domain.records import RecordLike


@dataclass(slots=True)
class ActiveRun:
    """A run that waits or holds since *since_ms*. *kind* is ``waiting``, ``lease``, ``observed`` or ``provisional``."""

    task_id: str
    run: int
    machines: tuple[str, ...]
    project_id: str | None
    environment_id: str | None
    since_ms: int
    kind: str = "waiting"
    family: int | None = None
    priority: int = 0
    arrival: int = 0
    parked: bool = False
    waited_ms: int | None = None
    blocker: Blocker | None = None

    @property
    def order(self) -> tuple[int, int]:
        return (-self.priority, self.arrival)

    def as_blocker(self) -> Blocker:
        reason = Reason.AHEAD if self.kind == "waiting" else Reason.HOLDER
        rank = self.order if self.kind == "waiting" else (self.since_ms, 0)
        return Blocker(reason, self.task_id, self.project_id, self.environment_id, rank, self.family)


#: What of a run is part of the state.
_DUMPED_FIELDS = tuple(name for name in ActiveRun.__slots__ if name != "blocker")


@dataclass(slots=True)
class MachineState:
    """One machine: its holders by task (a reservation by the empty name), its line, and its past."""

    id: str
    holders: dict[str, Blocker] = field(default_factory=dict)
    line: list[tuple[int, int, str]] = field(default_factory=list)
    past: LineHeads = field(default_factory=LineHeads)


class BoardState:
    """The state; empty, or what `dump` gave.

    Args:
        from_ms: Line heads are remembered from then on; what was before only makes the state.
    """

    def __init__(self, state: Mapping[str, Any] | None = None, *, from_ms: int = 0) -> None:
        self.from_ms = from_ms
        self.present: dict[str, ActiveRun] = {}
        self.machines_by_id: dict[str, MachineState] = {}
        self._spelled: dict[str, MachineState] = {}
        self.families: dict[str, int] = {}
        self.closures: list[tuple[int, int | None]] = []
        self._arrivals = 0
        self._is_telling = from_ms == 0
        self._touched: dict[str, MachineState] = {}
        self._touched_ms = 0
        if state:
            self._load(state)

    # Runs on machines

    def _new(self, change: RecordLike, kind: str, family: int | None) -> ActiveRun:
        assert change.task_id
        if family is not None:
            self.families[change.task_id.lower()] = family
        return ActiveRun(
            change.task_id, change.run or 1, tuple(change.machines), change.project_id, change.environment_id,
            change.at_ms, kind, family,
        )  # fmt: skip

    def _enter(self, run: ActiveRun, at_ms: int) -> None:
        key = run.task_id.lower()
        self.present[key] = run
        run.blocker = run.as_blocker()
        for machine in run.machines:
            state = self._machine(machine)
            if run.kind == "waiting":
                insort(state.line, (*run.order, key))
            else:
                state.holders[key] = run.blocker
            self._note(state, at_ms)

    def _remove(self, run: ActiveRun, at_ms: int) -> None:
        key = run.task_id.lower()
        self.present.pop(key, None)
        for machine in run.machines:
            state = self._machine(machine)
            if run.kind != "waiting":
                state.holders.pop(key, None)
            elif (place := (*run.order, key)) in state.line:
                state.line.remove(place)
            self._note(state, at_ms)

    def _machine(self, machine: str) -> MachineState:
        state = self._spelled.get(machine)
        if state is None:
            state = self.machines_by_id.get(machine.lower())
            if state is None:
                state = self.machines_by_id[machine.lower()] = MachineState(machine)
                state.past.add(self.from_ms, EMPTY)
            self._spelled[machine] = state
        return state

    # What is told

    def _note(self, state: MachineState, at_ms: int) -> None:
        # A release and the grants after it are of one millisecond: the front is looked at once, behind them.
        if self._is_telling:
            self._touched[state.id] = state
            self._touched_ms = at_ms

    def _remember(self) -> None:
        for state in self._touched.values():
            past = state.past
            past.add(self._touched_ms, self._line_head(state))
            if past.is_long:
                waits = [self.present[key].since_ms for _, _, key in state.line]
                past.forget(min(waits) if waits else None)
        self._touched.clear()

    def _line_head(self, state: MachineState) -> LineHead:
        held = tuple(state.holders.values())
        if len(held) > 1:
            held = tuple(sorted(held, key=lambda blocker: blocker.rank))
        first = self.present[state.line[0][2]].blocker if state.line else None
        return LineHead(held, first, held[0] if held else first)

    def _begin_telling(self) -> None:
        self._is_telling = True
        for state in self.machines_by_id.values():
            state.past = LineHeads()
            state.past.add(self.from_ms, self._line_head(state))

    # The state between two records

    def dump(self) -> dict[str, Any]:
        """The state as JSON; it costs what there are runs that wait or hold."""
        return {
            "present": [[getattr(run, name) for name in _DUMPED_FIELDS] for run in self.present.values()],
            "reserved": [
                [state.id, held.rank[0], held.note]
                for state in self.machines_by_id.values()
                if (held := state.holders.get(""))
            ],
            "families": self.families,
            "closures": self.closures,
            "arrivals": self._arrivals,
        }  # fmt: skip

    def _load(self, state: Mapping[str, Any]) -> None:
        self._arrivals = state["arrivals"]
        self.families = dict(state["families"])
        self.closures = merged(state["closures"])
        for values in state["present"]:
            fields = dict(zip(_DUMPED_FIELDS, values, strict=True))
            self._enter(ActiveRun(**{**fields, "machines": tuple(fields["machines"])}), 0)
        for machine, since_ms, note in state["reserved"]:
            blocker = Blocker(Reason.RESERVATION, None, None, None, (since_ms, 0), None, note)
            reserved = self._machine(machine)
            reserved.holders[""] = blocker
            self._note(reserved, 0)


def merged(closures: Iterable[tuple[int, int | None]]) -> list[tuple[int, int | None]]:
    """Closures with one for those that became another: what was closed already is closed for another cause (a roll
    call that not all answered), and opened once. Each is when it began and ended, ms; None is "still".
    """
    result: list[tuple[int, int | None]] = []
    for closed, opened in closures:
        if result and result[-1][1] is None:
            result[-1] = (result[-1][0], opened)
        else:
            result.append((closed, opened))
    return result
