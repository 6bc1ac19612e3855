"""What the clients saw and did, in the order in which it happened: all of them live in one event loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

#: The word of a `Kind.TOLD` of a grant that a step with a claim has to confirm, by asking once more.
OFFERED = "offered"


class Kind(StrEnum):
    """What a client did, or was told."""

    ASKED = "asked"  #: it sent a call; *verb*
    TOLD = "told"  #: an answer came; *verb*, *word* (the state, or what a release came to), *token*, *machines*
    BROKEN = "broken"  #: no answer came, or one that it was not carried out; *verb*, *word* says which
    WORKS = "works"  #: its task works on *machines* from now on; *token*
    STOPS = "stops"  #: it works no longer, and nobody has been told of that yet; *word* says why
    GONE = "gone"  #: its client was killed
    BEGINS = "begins"  #: its task begins in Octopus
    ENDS = "ends"  #: its task ends in Octopus
    PROCEEDS = "proceeds"  #: somebody submitted *word* to its intervention
    FORCED = "forced"  #: an operator is about to take its machines away


@dataclass(frozen=True, slots=True)
class Op:
    """One line of the history. *turn* counts the runs of one task; *at_ms* is the time of the machine's clock."""

    at_ms: float
    kind: Kind
    task: str
    turn: int = 1
    verb: str = ""
    word: str = ""
    token: int | None = None
    machines: tuple[str, ...] = ()
    parent: str = ""

    def __str__(self) -> str:
        said = " ".join(str(part) for part in (self.verb, self.word, self.token, ",".join(self.machines)) if part)
        return f"{self.at_ms:.1f} {self.kind:8} {self.task}#{self.turn} {said}"


class History:
    """Grows while the chaos runs."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        #: Grants that clients were told of.
        self.grants = 0

    def note(self, kind: Kind, task: str, turn: int = 1, **facts: object) -> Op:
        op = Op(now_ms(), kind, task, turn, **facts)  # type: ignore[arg-type]
        self.ops.append(op)
        self.grants += kind is Kind.WORKS and op.token is not None
        return op


def now_ms() -> float:
    """The clock of this machine, which Redis uses too."""
    return time.time() * 1000
