"""Small workloads, each of which looks hard at one kind of rule: what finds a mutant in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.chaos.experiment import Setup
from tests.chaos.faults import Fault
from tests.chaos.plan import Shape, Told

#: One web server, and nobody beside it.
ALONE = Setup(slots=16, webs=1, has_workers=False, has_canary=False, stuck=6.0, quiet=8.0)

#: With a worker and a scheduler.
WHOLE = Setup(slots=16, webs=1, has_canary=False, stuck=12.0, quiet=12.0)


@dataclass(frozen=True)
class Profile:
    """*shape* is what is done, *setup* with whom."""

    shape: Shape
    setup: Setup = field(default_factory=lambda: ALONE)


#: Many want few machines.
CROWDED = Shape(150, machines=10, hot=5, widest=6)

PROFILES = {
    "plain": Profile(CROWDED.of(plain=8, wide=1)),
    "waking": Profile(Shape(12, machines=2, hot=2, widest=2).of(plain=1)),
    "operator": Profile(Shape(200, machines=8, hot=4, widest=4, acts=30, operator=(5, 0, 5, 0)).of(plain=8)),
    "family": Profile(Shape(120, machines=8, hot=4, widest=4).of(plain=2, family=3)),
    "lasting": Profile(
        Shape(3, machines=1, hot=1, least_hold_ms=3600, most_hold_ms=3700).of(plain=1),
        Setup(slots=4, webs=1, has_workers=False, has_canary=False, ttl=3, stuck=15.0, quiet=8.0),
    ),
    "dying": Profile(
        Shape(12, machines=4, hot=2, most_hold_ms=50, lingering=1.0, linger_ms=6500).of(plain=2, vanishing=3),
        Setup(slots=8, webs=1, has_canary=False, ttl=2, stuck=15.0, quiet=10.0),
    ),
    "unasked": Profile(
        Shape(12, machines=4, hot=2, most_hold_ms=50, lingering=1.0, linger_ms=6500, told=(Told.AT_ONCE,)).of(
            plain=2, vanishing=3
        ),
        Setup(slots=8, webs=1, has_workers=False, has_canary=False, ttl=2, stuck=15.0, quiet=10.0),
    ),
    "lost": Profile(
        Shape(40, machines=6, hot=3, most_hold_ms=900, strikes=1, faults=((Fault.EMPTY_STORE, 1),)).of(plain=8),
        Setup(slots=12, webs=1, has_canary=False, ttl=3, stuck=20.0, quiet=15.0),
    ),
    "older": Profile(
        Shape(
            60,
            machines=4,
            hot=4,
            widest=1,
            least_hold_ms=2500,
            most_hold_ms=4000,
            strikes=1,
            faults=((Fault.OLDER_STORE, 1),),
        ).of(plain=8),
        # Reconciled as seldom as in production: else what works is found before anything is granted in its place.
        Setup(slots=12, webs=1, has_canary=False, ttl=6, stuck=40.0, quiet=40.0, settings={"RECONCILE_SECONDS": "30"}),
    ),
    "rebuilt": Profile(
        # They work for longer than it takes until the board may open, two passes of the rebuild: else a board that
        # opens early finds nobody at work.
        Shape(
            12,
            machines=12,
            hot=12,
            widest=2,
            least_hold_ms=9000,
            most_hold_ms=12000,
            strikes=1,
            faults=((Fault.EMPTY_STORE, 1),),
        ).of(plain=1),
        Setup(slots=12, webs=1, has_canary=False, ttl=2, stuck=25.0, quiet=20.0),
    ),
    "late": Profile(
        Shape(
            40,
            machines=20,
            hot=20,
            widest=1,
            least_hold_ms=2500,
            most_hold_ms=3500,
            claims=1.0,
            strikes=5,
            faults=((Fault.HOLD_RELEASES, 1),),
        ).of(again=1),
        Setup(slots=10, webs=1, has_canary=False, stuck=20.0, quiet=15.0),
    ),
    "later": Profile(
        Shape(
            60,
            machines=20,
            hot=20,
            least_hold_ms=50,
            most_hold_ms=150,
            claims=1.0,
            strikes=3,
            faults=((Fault.HOLD, 1),),
        ).of(plain=1),
        Setup(slots=10, webs=1, has_canary=False, stuck=20.0, quiet=15.0),
    ),
    "again": Profile(Shape(120, machines=10, hot=5, most_hold_ms=300).of(plain=1, again=6), WHOLE),
    "parked": Profile(Shape(40, machines=4, hot=2, most_hold_ms=200).of(plain=1, parked=2), WHOLE),
    "observed": Profile(Shape(120, machines=4, hot=2, most_hold_ms=40).of(plain=6, observed=2), WHOLE),
    "silent": Profile(Shape(60, machines=8, hot=4).of(plain=2, unreleased=3), WHOLE),
}
