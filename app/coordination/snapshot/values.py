"""The values of a snapshot: machines with their holders and lines. What is derived of one is worked out once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from app.domain.run import RunState
from app.domain.run_info import RunInfo
from app.domain.status import Described, Holder


@dataclass(frozen=True)
class Waiter(Described):
    """A run in the line of one machine."""

    task_id: str
    place: int
    run: RunState

    @property
    def info(self) -> RunInfo:  # type: ignore[override]
        return self.run.info

    @property
    def priority(self) -> int:
        return self.run.priority

    @property
    def requested_at_ms(self) -> int:
        return self.run.requested_at_ms

    @property
    def parked(self) -> bool:
        """Whether it uses no task slot while it waits."""
        return self.run.parked


@dataclass(frozen=True)
class Reservation:
    """Why and until when nobody new is granted machine *id*."""

    id: str
    note: str | None
    by: str | None
    since_ms: int
    until_ms: int | None


@dataclass(frozen=True)
class Machine:
    """A machine with its holders (a lease first) and its line."""

    id: str
    name: str
    holders: tuple[Holder, ...]
    line: tuple[Waiter, ...]

    @cached_property
    def status(self) -> str:
        """``busy``, ``reserved`` or ``idle``."""
        kinds = {held.kind for held in self.holders}
        if kinds & {"lease", "observed", "provisional"}:
            return "busy"
        return "reserved" if kinds else "idle"

    @property
    def reservation(self) -> Reservation | None:
        holder = next((held for held in self.holders if held.kind == "reservation"), None)
        return Reservation(self.id, holder.note, holder.by, holder.since_ms, holder.until_ms) if holder else None

    @property
    def shared(self) -> set[int]:
        """The families of which several runs hold it."""
        families = Counter(held.family for held in self.holders if held.family)
        return {family for family, runs in families.items() if runs > 1}

    @cached_property
    def longest_wait(self) -> tuple[int, str] | None:
        """Since when (ms) the one in its line waits that asked first, and its task id."""
        return min(((waiter.requested_at_ms, waiter.task_id) for waiter in self.line), default=None)

    @cached_property
    def waiters(self) -> Mapping[str, Waiter]:
        """Those in its line by task id."""
        return {waiter.task_id: waiter for waiter in self.line}

    @cached_property
    def names(self) -> tuple[frozenset[str], frozenset[str]]:
        """The environments and the projects of its holders and waiters."""
        runs: list[Described] = [*self.holders, *self.line]
        environments = {run.environment for run in runs if run.environment}
        return frozenset(environments), frozenset(run.project for run in runs if run.project)


@dataclass(frozen=True)
class Tally:
    """How many machines are in each state.

    Args:
        idle: Those that nobody holds and nobody wants.
        in_demand: Those that nobody holds and somebody waits for.
        longest_wait: Since when (ms) the run waits that asked first, and its task id.
    """

    busy: int
    reserved: int
    idle: int
    in_demand: int
    longest_wait: tuple[int, str] | None


@dataclass(frozen=True)
class Snapshot:
    """Machines by name, all or some of the board.

    Args:
        unresolved: Runs whose machines nobody knows yet.
        closed_since_ms: Since when nobody is granted (rule 15); None while the board is open.
        closed_cause: Why, as the timeline names causes.
        tally: How many of them are in each state.
        positions: Where each of them stands among *machines*, by its id in lower case.
        queue: Who waits, first in line first: the place in every line, as text that sorts, and the task id.
        runs: Who holds and who waits there, by task id in lower case.
    """

    now_ms: int
    machines: tuple[Machine, ...]
    unresolved: tuple[str, ...]
    closed_since_ms: int | None
    closed_cause: str | None
    tally: Tally
    positions: Mapping[str, int]
    queue: tuple[tuple[str, str], ...]
    runs: Mapping[str, RunState]

    @cached_property
    def waiting(self) -> tuple[str, ...]:
        """Waiting runs by priority, then time of request."""
        return tuple(map(itemgetter(1), self.queue))

    def machine(self, machine_id: str) -> Machine | None:
        """The machine of that id in any letter case."""
        position = self.positions.get(machine_id.lower())
        return None if position is None else self.machines[position]


@dataclass(frozen=True)
class Counts:
    """How much of everything there is; *held* are the machines that each kind of holder has."""

    waiting: int
    held: Mapping[str, int]
    machines: int
    unresolved: int
    is_open: bool
