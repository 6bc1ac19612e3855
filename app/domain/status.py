"""The status of a run: the machines it wants, their holders, the runs ahead of it, and a one-sentence summary."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from app.domain.durations import format_duration
from app.domain.eta import Eta
from app.domain.phrases import clause, sentence
from app.domain.run import RunState, State
from app.domain.run_info import RunInfo
from app.domain.shortening import shortened
from app.domain.wording import ENDS, REJOINED, STATES, TIME_IS_OVER, circle_words, closed_words, holding

#: Machines that a message names one by one.
MOST_NAMES = 20

#: Seconds between two tries to have a grant copied.
COPY_SECONDS = 1.0

#: The states that ``/api/waits`` speaks of.
WAIT_STATES = frozenset(list(State)[:7])


class Described:
    """What people call the things of a run, from its *info*."""

    info: RunInfo

    @cached_property
    def title(self) -> str:
        return self.info.label

    @cached_property
    def project(self) -> str | None:
        return self.info.project_name

    @cached_property
    def release(self) -> str | None:
        return self.info.release_version

    @cached_property
    def environment(self) -> str | None:
        return self.info.environment_name

    @cached_property
    def url(self) -> str | None:
        return self.info.url


@dataclass(frozen=True)
class Holder(Described):
    """Who makes a machine busy."""

    kind: str
    task_id: str | None
    since_ms: int
    info: RunInfo = RunInfo()
    note: str | None = None
    until_ms: int | None = None
    by: str | None = None
    paused: bool = False
    #: The number of its family, if it has one: who shares its lease.
    family: int | None = None

    @cached_property
    def label(self) -> str:
        """``ServerTasks-4700 (Api 2.0.1 to Production)``."""
        if self.kind == "rebuilding":
            return f"octowait itself ({closed_words(self.note)})"
        if self.kind == "reservation":
            return f"a reservation by {shortened(self.by or '')} ({shortened(self.note or '', 300)})"
        return self.info.of(self.task_id or "")


@dataclass(frozen=True)
class MachinePlace:
    """A run at one machine. *place* is 1 when it is next and 0 when it does not wait."""

    id: str
    name: str
    place: int
    holders: tuple[Holder, ...]
    ahead: tuple[str, ...]
    #: Of which *holders* may be the first twenty.
    holders_in_all: int = 0

    @property
    def holders_count(self) -> int:
        """How many make it busy: an answer may show fewer."""
        return max(self.holders_in_all, len(self.holders))

    @property
    def more(self) -> int:
        """How many stand behind those of *ahead* and before it."""
        return max(0, self.place - 1 - len(self.ahead))


@dataclass(frozen=True)
class RunStatus(Described):
    """A run as it stands, at 200 of its machines at most, among them the one where its wait is longest.

    Times are milliseconds of the Redis server's clock; *now_ms* is when it was read.
    """

    run: RunState
    now_ms: int
    machines: tuple[MachinePlace, ...] = field(default=())
    is_new: bool = False
    eta_ms: Eta | None = None

    @property
    def task_id(self) -> str:
        return self.run.id

    @property
    def machines_count(self) -> int:
        """How many machines it wants or has, of which some may not be in *machines*."""
        return max(len(self.machines), len(self.run.machines))

    @property
    def state(self) -> State:
        return self.run.state

    @property
    def is_granted(self) -> bool:
        return self.state is State.GRANTED

    @property
    def is_waiting(self) -> bool:
        return self.state is State.WAITING

    @property
    def is_being_told(self) -> bool:
        """Whether it has its grant, of which its step is not told yet."""
        return self.is_waiting and self.run.token is not None

    @property
    def slice_seconds(self) -> float:
        """How long whoever waits for its grant may sleep until he shows life or has that copied again."""
        return COPY_SECONDS if self.is_being_told else self.run.ttl_ms / 2000

    def while_copied(self) -> RunStatus:
        """What its step is told as long as its grant is not copied: that it waits."""
        return replace(self, run=replace(self.run, state=State.WAITING))

    def as_confirmed(self) -> RunStatus:
        """What its step is told when it asks whether its grant is confirmed: that it waits, where that is not so.

        Whoever reads here that it is granted begins, and a grant that is not confirmed is taken back.
        """
        if not self.is_granted or self.run.collected:
            return self
        return replace(self, run=replace(self.run, state=State.WAITING, told=True))

    @property
    def is_to_resolve(self) -> bool:
        """Whether nobody knows its machines, or whether it works on after its wait was over: only Octopus can say."""
        return (self.state is State.STARTED and not self.run.planned) or self.run.lingers

    @property
    def is_second_start(self) -> bool:
        """Whether its deployment was started before, under the same task or another: then exclusions do not count."""
        return self.run.again or self.run.run > 1

    @cached_property
    def place(self) -> int | None:
        """1 when it is next; the largest of its places at several machines; None when it does not wait."""
        return max((m.place for m in self.machines), default=0) or None

    @property
    def fencing_token(self) -> int | None:
        """Grows with every grant; None when there was none."""
        return self.run.token

    @property
    def requested_at_ms(self) -> int | None:
        return self.run.requested_at_ms or None

    @property
    def granted_at_ms(self) -> int | None:
        return self.run.granted_at_ms

    @property
    def waited_ms(self) -> int:
        """From the request to the grant, to the end of the wait, or to now."""
        if not self.run.requested_at_ms:
            return 0
        return max(0, (self.run.granted_at_ms or self.run.ended_at_ms or self.now_ms) - self.run.requested_at_ms)

    @property
    def info(self) -> RunInfo:  # type: ignore[override]
        """What people call its things; a part of the run, not a field of its own."""
        return self.run.info

    @cached_property
    def reason(self) -> str | None:
        """Why it stands there, where the state alone does not say it."""
        return _reason(self)

    @property
    def message(self) -> str:
        """One sentence for the person who reads the deployment log."""
        return _message(self)


def _closed(place: RunStatus) -> str | None:
    """Why a waiter's board is closed; None where it is open."""
    holders = (held for machine in place.machines for held in machine.holders if place.is_waiting)
    return next((closed_words(held.note) for held in holders if held.kind == "rebuilding"), None)


def _reason(place: RunStatus) -> str | None:
    if _closed(place):
        return f"{_closed(place)}, and nobody is granted until it is known what runs where"
    run = place.run
    if place.is_being_told and run.told:
        return "its turn has come, of which its next call hears"
    if place.is_being_told:
        return "its grant is being copied to the replicas of Redis, which octowait does not tell of before"
    if place.is_waiting and run.rebuilt and not run.rebuilt.has_terms:
        return (
            "octowait lost its memory, and with it this wait's time-out, its priority and whom it runs for: if one of "
            "those that it waits for has started it, proceed in Octopus by hand"
        )
    if place.is_waiting and not place.machines:
        return run.reason
    if place.state in (State.WAITING, State.GRANTED):
        return REJOINED.get(run.after or "")
    refusal = run.refusal
    if refusal and refusal.circle:
        return f"it would wait for itself: {circle_words(refusal.circle)}"
    if refusal and refusal.cap is not None:
        return (
            f"{refusal.blocking} deployments wait in a step and use a task slot each; Octopus runs {refusal.cap} "
            f"tasks at once, and {refusal.reserve} slots stay free for what they wait for. "
            "A parked wait uses no slot: replace the wait step by the claim step and a manual intervention"
        )
    if run.cause == "forced":
        return f"by an operator, {run.by}: {run.reason}"
    if run.cause == "timeout" and place.state is State.LEFT:
        return TIME_IS_OVER
    return run.reason or ENDS.get(run.cause or "")


def _message(place: RunStatus) -> str:
    if place.is_waiting and not place.machines:
        return f"Waiting for a place in the line: {sentence(place.run.reason or '')}"
    if place.is_being_told:
        return f"Waiting: {place.reason}."
    if place.state is State.WAITING:
        eta = f" {place.eta_ms.message}" if place.eta_ms else ""
        return " ".join([*_remarks(place.run), f"Waiting for {_blockers(place)}{eta}"])
    if place.state is State.GRANTED:
        granted = f"Granted: {_names(place)}, after waiting {format_duration(place.waited_ms)}."
        return " ".join([*_remarks(place.run), granted])
    ending = f"{place.task_id} {STATES[place.state]}"
    return f"{ending} ({clause(place.reason)})." if place.reason else f"{ending}."


def _remarks(run: RunState) -> list[str]:
    """What was not granted of its wishes."""
    parent = shortened(run.on_behalf_of or "")
    disowned = (
        f"It shares no machines with {parent}, which its token may not name as its parent." if run.disowned else ""
    )
    return [remark for remark in (run.remark, disowned) if remark]


def in_the_way(place: RunStatus) -> tuple[MachinePlace, MachinePlace | None]:
    """The machine where a wait is longest, and the one of whose holder the waiter is told, there or elsewhere."""
    worst = max(place.machines, key=lambda machine: (machine.place, bool(machine.holders)))
    if worst.holders or worst.ahead:
        return worst, worst if worst.holders else None
    return worst, next((other for other in place.machines if other.holders), None)


def _names(place: RunStatus) -> str:
    """``web-01, web-02 and 3 more``."""
    more = place.machines_count - MOST_NAMES
    names = ", ".join(shortened(machine.name) for machine in place.machines[:MOST_NAMES])
    return f"{names} and {more} more" if more > 0 else names


def _blockers(place: RunStatus) -> str:
    """The machine where the wait is longest, who holds it, and who is ahead there."""
    worst, held = in_the_way(place)
    more = place.machines_count - 1
    where = f"{shortened(worst.name)}{f' and {more} more' if more else ''}, place {worst.place}"
    if held is None:
        return f"{where}: {worst.ahead[0]} is next, and waits for another machine." if worst.ahead else f"{where}."
    holder = held.holders[0]
    since = format_duration(place.now_ms - holder.since_ms)
    if holder.kind == "rebuilding":
        why = closed_words(holder.note)
        return f"{where}: {why}, and nobody is granted until it is known what runs where, for {since}."
    elsewhere = f"; {shortened(held.name)}" if held is not worst else ""
    return f"{where}{elsewhere}: {holder.label} {holding(holder.kind, is_paused=holder.paused)} it for {since}."
