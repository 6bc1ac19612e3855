"""The explanation of a wait: the links of the chain of blockers, the alternatives, and both in sentences."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.durations import format_duration
from app.domain.eta import Eta
from app.domain.phrases import clause
from app.domain.status import Holder, MachinePlace, RunStatus

#: Links of a chain that are shown, and runs ahead that a machine's line is shown with.
MOST_LINKS = 20


@dataclass(frozen=True)
class Link:
    """A blocker of the run before it in the chain.

    *kind* is ``working``, ``paused`` (waits for a person), ``waiting`` (stands before it in line, was started by it, or
    holds and waits for one that it started), ``reservation`` or ``rebuilding``; *place* and *eta_ms* are those of one
    in line. *remedy* says what lets the next one go.
    """

    kind: str
    task_id: str | None
    label: str
    at: MachinePlace
    since_ms: int
    url: str | None
    remedy: str
    place: int | None = None
    eta_ms: Eta | None = None
    note: str | None = None
    by: str | None = None
    until_ms: int | None = None
    #: The task that started it and waits for it.
    started_by: str | None = None

    @property
    def machine_id(self) -> str:
        return self.at.id

    @property
    def machine(self) -> str:
        """The name of the machine where it is in the way."""
        return self.at.name


@dataclass(frozen=True)
class Alternative:
    """An alternative: the run's place in it. *passes* is how many it would pass in its longest line.

    *refused*: it would wait for itself then, so the gate leaves it where it is.
    """

    place: int
    starts_now: bool
    blocked_by: tuple[str, ...]
    passes: int
    eta_ms: Eta | None
    dropped: MachinePlace | None = None
    refused: bool = False

    @property
    def machine_id(self) -> str | None:
        return self.dropped.id if self.dropped else None

    @property
    def machine(self) -> str | None:
        """The name of the machine that it would do without."""
        return self.dropped.name if self.dropped else None


@dataclass(frozen=True)
class Explanation:
    """The explanation of a waiting run. *is_cut*: the chain is longer than shown."""

    place: RunStatus
    chain: tuple[Link, ...]
    is_cut: bool
    first: Alternative
    without: tuple[Alternative, ...]
    #: Holds one of its machines for longer than any run like it before.
    outlasted_by: Holder | None = None

    @property
    def unknown_start(self) -> str | None:
        """Why it is not known when it will start, where it is not."""
        if self.place.eta_ms:
            return None
        if self.outlasted_by:
            lasted = format_duration(self.place.now_ms - self.outlasted_by.since_ms)
            return (
                f"{self.outlasted_by.label} has held for {lasted}, longer than any run before it: "
                "somebody should look whether it hangs"
            )
        return _PERSONS.get(self.chain[-1].kind if self.chain else "", "no earlier run tells how long such runs take")

    @property
    def sentences(self) -> list[str]:
        """The explanation in sentences, the most important first."""
        sentences = [self.place.message]
        sentences += [_sentence(link, self.place.now_ms) for link in self.chain]
        if self.is_cut:
            sentences.append(f"The chain is longer than {MOST_LINKS}; the rest is not shown.")
        if self.chain:
            sentences.append(self.chain[-1].remedy)
        if self.outlasted_by:
            sentences.append(f"When it will start is not known: {self.unknown_start}.")
        sentences.append(_alternative("With the highest priority", self.first))
        sentences += [_alternative(f"Without {what.machine}", what) for what in self.without if what.machine]
        if self.without:
            sentences.append("With fewer machines it has to ask anew, behind those who wait for them by then.")
        return sentences


#: Why nobody knows when a chain ends, by the kind of its last link.
_PERSONS = {
    "paused": "it depends on a person who answers in Octopus",
    "reservation": "it depends on the person who reserved the machine",
    "rebuilding": "octowait is finding out who runs where",
}


def _sentence(link: Link, now_ms: int) -> str:
    since = format_duration(now_ms - link.since_ms)
    match link.kind:
        case "working":
            return f"{link.label} has worked on {link.machine} for {since}."
        case "paused":
            return f"{link.label} has held {link.machine} for {since} and is paused: it waits for a person."
        case "reservation":
            return f"{link.machine} has been reserved for {since} by {link.by}: {clause(link.note)}."
        case "rebuilding":
            return (
                f"octowait has granted nothing for {since}, for {clause(link.note)}: it is finding out who runs where."
            )
    if link.started_by:
        return f"{link.label}, which that one started, has waited for {link.machine} for {since}."
    if link.place is None:
        return f"{link.label} has held {link.machine} for {since} and waits for a run that it started."
    return f"{link.label} stands before it at {link.machine}, at place {link.place} of its own, for {since}."


def _alternative(what: str, other: Alternative) -> str:
    if other.refused:
        return f"{what} it would wait for itself, so that is refused."
    if other.starts_now:
        return f"{what} it would start at once."
    eta = f", in about {format_duration(other.eta_ms.p50)}" if other.eta_ms else ""
    passed = f" and pass {other.passes}" if other.passes else ""
    blocked = f"; it would wait for {', '.join(other.blocked_by[:3])}" if other.blocked_by else ""
    return f"{what} it would be at place {other.place}{passed}{blocked}{eta}."
