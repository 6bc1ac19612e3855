"""A run as it stands: what it wants, who is there, who is ahead, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.domain.durations import format_duration
from app.domain.eta import Eta
from app.domain.wording import ENDS, REJOINED, STATES, holding


class State(StrEnum):
    """Where a run stands. The last five are known to the pages only: such a run has not asked to wait."""

    WAITING = "waiting"  #: in line
    GRANTED = "granted"  #: holds a lease
    RELEASED = "released"  #: granted -> gave its machines back, or its task ended
    LEFT = "left"  #: waiting -> gone by its own wish, or its task ended
    EXPIRED = "expired"  #: waiting or granted -> gone; no sign of life within its TTL
    TIMED_OUT = "timed_out"  #: waiting -> gone; waited as long as it had said it would
    REFUSED = "refused"  #: may not wait
    KNOWN = "known"  #: seen in events, not started
    STARTED = "started"  #: runs without a lease; its machines are not known yet
    OBSERVED = "observed"  #: runs without a lease on known machines
    ENDED = "ended"  #: an observed run that has ended


#: The states that ``/api/waits`` speaks of.
WAIT_STATES = frozenset(list(State)[:7])


class Described:
    """What people call the things of a run, from its *info* as its step or its events gave it."""

    info: Mapping[str, Any]

    @property
    def title(self) -> str:
        return title_of(self.info)

    @property
    def project(self) -> str | None:
        return name_of(self.info, "project")

    @property
    def release(self) -> str | None:
        return (self.info.get("release") or {}).get("version")

    @property
    def environment(self) -> str | None:
        return name_of(self.info, "environment")

    @property
    def url(self) -> str | None:
        return self.info.get("url")


@dataclass(frozen=True)
class Holder(Described):
    """Who makes a machine busy."""

    kind: str
    task_id: str | None
    since_ms: int
    info: Mapping[str, Any]
    note: str | None = None
    until_ms: int | None = None
    by: str | None = None
    paused: bool = False
    #: The number of its family, if it has one: who shares its lease.
    family: int | None = None

    @property
    def label(self) -> str:
        """``ServerTasks-4700 (Api 2.0.1 to Production)``."""
        if self.kind == "rebuilding":
            return "octowait itself, which lost its memory"
        if self.kind == "reservation":
            return f"a reservation by {self.by} ({self.note})"
        return f"{self.task_id}{describe_info(self.info)}"


@dataclass(frozen=True)
class MachinePlace:
    """A run at one machine. *place* is 1 when it is next and 0 when it does not wait."""

    id: str
    name: str
    place: int
    holders: tuple[Holder, ...]
    ahead: tuple[str, ...]

    @property
    def more(self) -> int:
        """How many stand behind those of *ahead* and before it."""
        return max(0, self.place - 1 - len(self.ahead))


@dataclass(frozen=True)
class Place(Described):
    """A run as it stands. Times are milliseconds of the Redis server's clock; *now_ms* is when it was read."""

    task_id: str
    state: State
    run: Mapping[str, Any]
    now_ms: int
    machines: tuple[MachinePlace, ...] = field(default=())
    is_new: bool = False
    eta_ms: Eta | None = None

    @property
    def is_granted(self) -> bool:
        return self.state is State.GRANTED

    @property
    def is_waiting(self) -> bool:
        return self.state is State.WAITING

    @property
    def is_to_resolve(self) -> bool:
        """Whether nobody knows its machines, or whether it works on after its wait was over: only Octopus can say."""
        is_planned = bool(self.run.get("planned"))
        return (self.state is State.STARTED and not is_planned) or bool(self.run.get("lingers"))

    @property
    def is_second_start(self) -> bool:
        """Whether its deployment was started before, under the same task or another: then exclusions do not count."""
        return bool(self.run.get("again")) or int(self.run.get("run", 1)) > 1

    @property
    def place(self) -> int | None:
        """1 when it is next; the largest of its places at several machines; None when it does not wait."""
        return max((m.place for m in self.machines), default=0) or None

    @property
    def fencing_token(self) -> int | None:
        """Grows with every grant; None when there was none."""
        return self.run.get("token")

    @property
    def requested_at_ms(self) -> int | None:
        return self.run.get("requested_at_ms")

    @property
    def granted_at_ms(self) -> int | None:
        return self.run.get("granted_at_ms")

    @property
    def waited_ms(self) -> int:
        """From the request to the grant, to the end of the wait, or to now."""
        start: int = self.run.get("requested_at_ms", self.now_ms)
        end: int = self.run.get("granted_at_ms") or self.run.get("ended_at_ms") or self.now_ms
        return max(0, end - start)

    @property
    def info(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What people call its things; a part of the run, not a field of its own."""
        info: Mapping[str, Any] = self.run.get("info") or {}
        return info

    @property
    def reason(self) -> str | None:
        """Why it stands there, where the state alone does not say it."""
        return _reason(self)

    @property
    def message(self) -> str:
        """One sentence for the person who reads the deployment log."""
        return _message(self)


def name_of(info: Mapping[str, Any], what: str) -> str | None:
    """The name of *what* (``project``, ``environment``, ``tenant``) in a run's info, or its id, or None."""
    thing = info.get(what) or {}
    return thing.get("name") or thing.get("id")


def title_of(info: Mapping[str, Any]) -> str:
    """``Api 2.0.1 to Production``, as much of it as is known, or nothing."""
    release = info.get("release") or {}
    parts = [name_of(info, "project"), release.get("version") or release.get("id")]
    environment = name_of(info, "environment")
    if environment:
        parts += ["to", environment]
    return " ".join(part for part in parts if part)


def describe_info(info: Mapping[str, Any]) -> str:
    """`` (Api 2.0.1 to Production)``, or nothing."""
    title = title_of(info)
    return f" ({title})" if title else ""


def circle_words(circle: Sequence[Mapping[str, str]]) -> str:
    """``ServerTasks-3 waits for Machines-2, held by ServerTasks-2, which waits for its child ServerTasks-3``."""
    text = circle[0]["from"]
    for number, edge in enumerate(circle):
        text += ", which waits for " if number else " waits for "
        if edge["how"] == "child":
            text += f"its child {edge['to']}"
        else:
            text += f"{edge['machine']}, {'held by' if edge['how'] == 'holder' else 'behind'} {edge['to']}"
    return text


def _reason(place: Place) -> str | None:
    if place.is_waiting and any(held.kind == "rebuilding" for machine in place.machines for held in machine.holders):
        return "octowait lost its memory and grants nobody until it has found out from Octopus what runs where"
    rebuilt = place.run.get("rebuilt")
    if place.is_waiting and rebuilt and not rebuilt["has_terms"]:
        return (
            "octowait lost its memory, and with it this wait's time-out, its priority and whom it runs for: if one of "
            "those that it waits for has started it, proceed in Octopus by hand"
        )
    if place.state in (State.WAITING, State.GRANTED):
        return REJOINED.get(place.run.get("after", ""))
    refusal = place.run.get("refusal") or {}
    if "circle" in refusal:
        return f"it would wait for itself: {circle_words(refusal['circle'])}"
    if "cap" in refusal:
        return (
            f"{refusal['blocking']} deployments wait in a step and use a task slot each; Octopus runs {refusal['cap']} "
            f"tasks at once, and {refusal['reserve']} slots stay free for what they wait for. "
            "A parked wait uses no slot: replace the wait step by the claim step and a manual intervention"
        )
    said: str | None = place.run.get("reason")
    if place.run.get("cause") == "forced":
        return f"by an operator, {place.run.get('by')}: {said}"
    return said or ENDS.get(place.run.get("cause", ""))


def _message(place: Place) -> str:
    if place.state is State.WAITING:
        eta = f" {place.eta_ms.message}" if place.eta_ms else ""
        return f"Waiting for {_blockers(place)}{eta}"
    if place.state is State.GRANTED:
        names = ", ".join(machine.name for machine in place.machines)
        return f"Granted: {names}, after waiting {format_duration(place.waited_ms)}."
    ending = f"{place.task_id} {STATES[place.state]}"
    return f"{ending} ({place.reason})." if place.reason else f"{ending}."


def _blockers(place: Place) -> str:
    """The machine where the wait is longest, who holds it, and who is ahead there."""
    worst = max(place.machines, key=lambda m: (m.place, bool(m.holders)))
    more = len(place.machines) - 1
    where = f"{worst.name}{f' and {more} more' if more else ''}, place {worst.place}"
    if worst.holders:
        holder = worst.holders[0]
        since = format_duration(place.now_ms - holder.since_ms)
        if holder.kind == "rebuilding":
            return f"{where}: octowait lost its memory and is finding out from Octopus what runs where, for {since}."
        return f"{where}: {holder.label} {holding(holder.kind, is_paused=holder.paused)} it for {since}."
    if worst.ahead:
        return f"{where}: {worst.ahead[0]} is next, and waits for another machine."
    held = next((m for m in place.machines if m.holders), None)
    if held:
        holder = held.holders[0]
        since = format_duration(place.now_ms - holder.since_ms)
        return f"{where}; {held.name}: {holder.label} {holding(holder.kind, is_paused=holder.paused)} it for {since}."
    return f"{where}."
