"""What can be done to octowait, and when a plan does it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What is done to octowait; the value is how it is named in tables."""

    KILL_WEB = "web killed"
    STOP_WEB = "web stopped"
    KILL_WORKER = "worker killed"
    STOP_WORKER = "worker stopped"
    KILL_SCHEDULER = "scheduler killed"
    STOP_SCHEDULER = "scheduler stopped"
    KILL_STORE = "Redis killed"
    STOP_STORE = "Redis stopped"
    EMPTY_STORE = "Redis comes back empty"
    OLDER_STORE = "Redis comes back older"
    CLOCK_AHEAD = "clock of Redis jumps ahead"
    CLOCK_BACK = "clock of Redis jumps back"
    KILL_STEPS = "steps killed"
    STOP_STEPS = "steps stopped"
    DELAY = "proxy delays"
    LOSE = "proxy loses answers"
    HOLD = "proxy holds requests back"
    HOLD_RELEASES = "proxy holds releases back"
    CUT = "proxy cuts links"
    DEAD_LINKS = "proxy keeps dead links open"


#: Seconds in which the jumps of clocks are counted: from five times so many to half an hour.
CLOCK_STEP = 60

#: Faults that need a Redis whose clock can be shifted.
OF_CLOCKS = frozenset((Fault.CLOCK_AHEAD, Fault.CLOCK_BACK))


#: How often each is chosen; those that break a rule today are left out, see `tests.chaos.expected`. An empty or an
#: older Redis costs the time that waiters have to come back.
WEIGHTS = {
    Fault.KILL_WEB: 10, Fault.STOP_WEB: 8, Fault.KILL_WORKER: 6, Fault.STOP_WORKER: 4, Fault.KILL_SCHEDULER: 6,
    Fault.STOP_SCHEDULER: 3, Fault.KILL_STORE: 8, Fault.STOP_STORE: 6, Fault.EMPTY_STORE: 3, Fault.KILL_STEPS: 5,
    Fault.STOP_STEPS: 4, Fault.DELAY: 6, Fault.LOSE: 8, Fault.HOLD: 5, Fault.CUT: 6, Fault.DEAD_LINKS: 4,
    Fault.OLDER_STORE: 4, Fault.CLOCK_AHEAD: 3, Fault.CLOCK_BACK: 3, Fault.HOLD_RELEASES: 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault, begun when *at* grants have been told of.

    *seconds*: how long something is stopped, or kept down. *count*: how many connections or steps it hits, or by how
    many times `CLOCK_STEP` seconds a clock jumps. *which*: of the two web servers.
    """

    at: int
    fault: Fault
    seconds: float
    count: int
    which: int


def make_strikes(
    dice: random.Random, grants: int, count: int, weighted: Sequence[tuple[Fault, int]]
) -> tuple[Strike, ...]:  # fmt: skip
    """Spread evenly over *grants*, in a shuffled order in which each fault comes as often as its weight says."""
    if not count:
        return ()
    faults, weights = zip(*weighted, strict=True)
    total = sum(weights)
    chosen = [f for f, w in zip(faults, weights, strict=True) for _ in range(w * count // total)]
    chosen += dice.choices(faults, weights, k=count - len(chosen))
    dice.shuffle(chosen)
    every = grants // (count + 1)
    return tuple(
        Strike(
            at=every * (place + 1), fault=fault, seconds=round(dice.uniform(0.2, 2.0), 1), count=dice.randint(5, 30),
            which=dice.randrange(2),
        )
        for place, fault in enumerate(chosen)
    )  # fmt: skip
