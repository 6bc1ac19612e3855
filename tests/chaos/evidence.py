"""What was seen of a run of the chaos, what is looked for in it, and what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from tests.chaos.history import Op
from tests.chaos.records import Record

CHECKS = {
    "exclusion": "nobody is granted a machine that has a lease",
    "observed": "nobody is granted a machine on which a known run works",
    "provisional": "nobody is granted a machine that a run is presumed to use, until that is known",
    "reservation": "nobody new is granted a reserved machine",
    "order": "whoever is granted is first in all its lines: priority, then arrival",
    "closed": "a closed board grants nobody",
    "all or none": "a grant is for all machines that were asked for",
    "grant on release": "who may start is granted in the script that made it so",
    "tokens": "fencing tokens are unique and grow, for octowait, for clients and on every machine",
    "clients' exclusion": "no two clients work on one machine at once, but a family",
    "lease kept": "no lease ends while its client's task works",
    "collected": "no grant that its client was told of counts as not collected, nor, with a key, one whose task works",
    "life": "nobody who showed life is taken for dead",
    "the dead leave": "whoever shows no life is gone within its time to live, without a key an uncollected grant too",
    "rebuilt": "the board opens when all who work hold their machines",
    "parked": "an intervention is answered when its run has its machines, not before",
    "one record each": "each change that a client knows of is one record, and no record is of nothing",
    "everything ends": "nobody waits or holds for ever, and no key stays",
    "model": "the small model of the rules comes by the same timeline",
    "hand-off": "a client that blocks is told of its grant at once: only a lost wake is later",
    "late": "no request of a claim that is over takes a place or ends anything",
    "durations": "no wait is timed out before its time, and no duration is negative",
    "agreement": "octowait finds nothing among its own data that it has to put right",
    "answers": "octowait refuses nothing that is allowed",
}  # fmt: skip


#: Of its time to live, the share in which a waiter that was answered cannot be taken for dead.
LIFE_SHARE = 0.65

#: After its time to live, the share of it in which a dead waiter is gone: sweeps come every second, and a request of it
#: may have been under way.
DEAD_SHARE = 0.3125

#: Of the time to live, the share that a hand-off may take where nothing is disturbed: three quarters of what a poll
#: blocks at most where that time is short, since a wake that was lost is made up for when it has blocked for so long.
HANDOFF_SHARE = 0.1875


#: Milliseconds by which two clocks of one machine are read apart.
SLACK_MS = 50.0

#: What `Evidence.exempt` can have: a request without a claim that its sender gave up counts as collected.
LATE_REQUESTS = "late requests"


@dataclass(frozen=True, slots=True)
class Violation:
    check: str
    words: str

    def __str__(self) -> str:
        return f"{self.check}: {self.words}"


@dataclass(frozen=True)
class Zombie:
    """A lease whose client had gone, from when to when, milliseconds.

    *is_late*: a request collected it that nobody waited for any more.
    """

    task: str
    since_ms: float
    until_ms: float
    is_late: bool = False

    @property
    def seconds(self) -> float:
        return (self.until_ms - self.since_ms) / 1000


@dataclass
class Evidence:
    """What was seen.

    Args:
        epochs: The timeline, cut where Redis was emptied or came back older; each but the last broke off.
        inherited: Of each epoch, the records that Redis came back with; none where there are none.
        ttl_ms: How long a waiter lives without a sign of life.
        timeout_ms: How long a wait may last at least.
        disturbed: Stretches (from, to) in which something was done to octowait, ms.
        stuck: Runs that did not end. *surprises*: answers that nobody should get. *leftovers*: keys.
        exempt: What is known to go wrong and is only counted, of `tests.chaos.expected`.
        has_key: Whether Octopus is asked: then a grant that nobody collects lasts for as long as its task.
    """

    ops: Sequence[Op]
    epochs: Sequence[Sequence[Record]]
    inherited: Sequence[Sequence[Record]] = ()
    ttl_ms: float = 8000.0
    timeout_ms: float = 600_000.0
    disturbed: Sequence[tuple[float, float]] = ()
    stuck: Sequence[str] = ()
    surprises: Sequence[str] = ()
    leftovers: Sequence[str] = ()
    exempt: Collection[str] = ()
    has_key: bool = False

    def lineages(self) -> Iterator[tuple[Sequence[Record], Sequence[Record]]]:
        """Of each epoch, what Redis came back with, and what came then."""
        return zip_longest(self.inherited, self.epochs, fillvalue=())


@dataclass
class Verdict:
    violations: list[Violation] = field(default_factory=list)
    zombies: list[Zombie] = field(default_factory=list)
    #: Milliseconds from a grant to its client's knowing, of clients that blocked while nothing was disturbed.
    handoffs: list[float] = field(default_factory=list)
    #: Of the clients.
    grants: int = 0
    records: int = 0

    @property
    def by_check(self) -> Counter[str]:
        return Counter(violation.check for violation in self.violations)
