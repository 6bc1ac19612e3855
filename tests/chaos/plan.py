"""What one run of the chaos does: a pure function of its seed, so that a failing one can be had again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.chaos.faults import WEIGHTS, Fault, Strike, make_strikes


class End(StrEnum):
    """How a run's task ends as far as octowait can see."""

    STEP = "step"  #: its release step says so
    EVENT = "event"  #: a webhook says so; there is no release step
    SILENT = "silent"  #: nobody says so: a worker has to ask Octopus


class Vanishes(StrEnum):
    """When a run's client is killed, if it is."""

    NEVER = "never"
    ASKING = "asking"  #: its PUT is under way, or its script has just begun
    WAITING = "waiting"  #: it stands in line
    WORKING = "working"  #: it has been told of its grant


class Told(StrEnum):
    """What becomes of a run's webhooks."""

    NOTHING = "nothing"  #: Octopus has no subscription for it, and shows no events either
    AT_ONCE = "at once"
    LATE = "late"
    DOUBLED = "doubled"
    DROPPED = "dropped"  #: only the events of Octopus tell


#: Languages of step scripts: those that every machine has which octowait can run on.
SCRIPTS = ("bash", "python")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One server task.

    *hold_ms* is how long it works. *linger_ms*: how long its task stays when its client was killed before it worked.
    *nap_ms*: its client is stopped that long once it waits, and sends nothing.
    *again*: how often the same task is run again afterwards. *child*: a run on behalf of this one, begun while it
    works; with *outlived* the parent ends first. *is_observed*: it has no step at all. *script*: its steps are the
    scripts of `steps/` in this language, in processes of their own. *has_claim*: its step makes a claim; those of
    before do not.
    """

    number: int
    machines: tuple[str, ...]
    priority: int = 0
    hold_ms: int = 0
    end: End = End.STEP
    told: Told = Told.NOTHING
    vanishes: Vanishes = Vanishes.NEVER
    linger_ms: int = 0
    nap_ms: int = 0
    again: int = 0
    parked: bool = False
    is_observed: bool = False
    child: RunPlan | None = None
    outlived: bool = False
    script: str = ""
    has_claim: bool = False

    @property
    def task(self) -> str:
        return f"ServerTasks-{self.number}"

    @property
    def grants(self) -> int:
        """Grants that it brings if all goes well."""
        own = 0 if self.is_observed or self.vanishes in (Vanishes.ASKING, Vanishes.WAITING) else 1 + self.again
        return own + (self.child.grants if self.child else 0)


class ActKind(StrEnum):
    """What an operator does."""

    RESERVE = "reserve"
    FORCE = "force-release"
    PRIORITIZE = "prioritize"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Act:
    """Done when *at* grants have been told of."""

    at: int
    kind: ActKind
    machine: str
    seconds: float
    priority: int


@dataclass(frozen=True)
class Shape:
    """What is chosen from.

    Args:
        grants: How many at least, should all go well.
        machines: In all. *hot* of them are wanted as often as all others: there the lines are long.
        kinds: Weights of the kinds of runs.
        claims: The share of runs whose step makes a claim.
        scripts: One run in so many has real step scripts; 0: none.
        lingering: The share of tasks that stay for *linger_ms*, longer than a waiter lives, after their client was
            killed.
        told: Whether webhooks tell of a run whose client was killed; one of these. Without an API key no other end
            of it is heard of.
        strikes: How many faults.
        faults: Weights of them.
        acts: How often an operator does something; *operator*: weights of the kinds of acts.
    """

    grants: int
    machines: int = 120
    hot: int = 12
    widest: int = 16
    least_hold_ms: int = 0
    most_hold_ms: int = 12
    kinds: tuple[tuple[str, int], ...] = (
        ("plain", 620), ("wide", 40), ("parked", 30), ("family", 60), ("again", 60), ("unreleased", 60),
        ("vanishing", 30), ("observed", 14), ("napping", 6),
    )  # fmt: skip
    claims: float = 0.7
    scripts: int = 0
    lingering: float = 0.15
    linger_ms: int = 11_000
    told: tuple[Told, ...] = (Told.AT_ONCE, Told.NOTHING)
    strikes: int = 0
    faults: tuple[tuple[Fault, int], ...] = tuple(WEIGHTS.items())
    acts: int = 0
    operator: tuple[int, ...] = (4, 4, 4, 1)

    def of(self, **kinds: int) -> Shape:
        """The same with other kinds of runs."""
        return replace(self, kinds=tuple(kinds.items()))

    def without(self, faults: Collection[Fault]) -> Shape:
        """The same without some faults."""
        return replace(self, faults=tuple((fault, weight) for fault, weight in self.faults if fault not in faults))


@dataclass(frozen=True)
class Plan:
    """*runs* in the order in which clients take them up; *wanted*: how many grants were asked for."""

    seed: int
    wanted: int
    runs: tuple[RunPlan, ...]
    acts: tuple[Act, ...]
    strikes: tuple[Strike, ...]
    machines: tuple[str, ...]

    @property
    def grants(self) -> int:
        return sum(run.grants for run in self.runs)

    @property
    def digest(self) -> str:
        """Two plans with the same are the same."""
        return hashlib.sha256(repr((self.runs, self.acts, self.strikes)).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, plan {self.digest}: {self.grants} grants of {len(self.runs)} runs"]
        lines += [
            f"  after {s.at} grants: {s.fault}, {s.seconds:.1f} s, {s.count}, web {s.which}" for s in self.strikes
        ]
        lines += [f"  after {a.at} grants: {a.kind} {a.machine}" for a in self.acts]
        return "\n".join(lines)


def make_plan(seed: int, shape: Shape) -> Plan:
    """The plan of *seed*; the same arguments give the same plan on every machine."""
    dice = random.Random(seed)
    machines = tuple(f"Machines-{number}" for number in range(1, shape.machines + 1))
    maker = _Maker(dice, machines, shape)
    runs: list[RunPlan] = []
    granted = 0
    kinds, weights = zip(*shape.kinds, strict=True)
    while granted < shape.grants:
        is_scripted = shape.scripts and len(runs) % shape.scripts == shape.scripts // 2
        runs.append(maker.run("scripted" if is_scripted else dice.choices(kinds, weights)[0]))
        granted += runs[-1].grants
    return Plan(
        seed,
        shape.grants,
        tuple(runs),
        _acts(dice, machines, shape),
        make_strikes(dice, shape.grants, shape.strikes, shape.faults),
        machines,
    )


class _Maker:
    """Makes runs of each kind, with numbers that count up."""

    def __init__(self, dice: random.Random, machines: tuple[str, ...], shape: Shape) -> None:
        self._dice = dice
        self._machines = machines
        self._shape = shape
        self._number = self._scripts = 0

    def run(self, kind: str) -> RunPlan:
        made: RunPlan = getattr(self, f"_{kind}")()
        return made

    def _plain(self, width: int | None = None) -> RunPlan:
        dice, self._number = self._dice, self._number + 1
        width = width or dice.choice([1, 1, 1, 1, 2, 2, 3])
        machines = self._machines[: self._shape.hot] if dice.random() < 0.5 else self._machines
        hold_ms = dice.randint(self._shape.least_hold_ms, self._shape.most_hold_ms)
        return RunPlan(
            self._number, tuple(sorted(dice.sample(machines, min(width, len(machines))))),
            priority=dice.choice([0] * 16 + [1, 1, -1, 5]), hold_ms=hold_ms,
            told=dice.choices(list(Told), [80, 8, 4, 4, 4])[0], has_claim=dice.random() < self._shape.claims,
        )  # fmt: skip

    def _wide(self) -> RunPlan:
        return self._plain(self._dice.randint(min(4, self._shape.widest), self._shape.widest))

    def _parked(self) -> RunPlan:
        # Its pauses are told of: one that is not answered is looked for when its event comes.
        told = self._dice.choice([Told.AT_ONCE, Told.LATE, Told.DROPPED])
        # Its intervention is known by its terms, as those of the steps that make no claim.
        return replace(self._plain(), parked=True, told=told, has_claim=False)

    def _family(self) -> RunPlan:
        dice = self._dice
        parent = replace(self._plain(dice.choice([1, 2, 3])), hold_ms=dice.randint(2, 10), told=Told.NOTHING)
        wanted = set(dice.sample(parent.machines, dice.randint(1, len(parent.machines))))
        if dice.random() < 0.2:
            wanted.add(dice.choice(self._machines))
        child = replace(self._plain(), machines=tuple(sorted(wanted)), told=Told.NOTHING)
        return replace(parent, child=child, outlived=dice.random() < 0.2)

    def _again(self) -> RunPlan:
        # The events of each run may come while the next one is under way.
        told = self._dice.choice([Told.AT_ONCE, Told.LATE, Told.DOUBLED])
        return replace(self._plain(), again=self._dice.choice([1, 1, 2]), told=told)

    def _unreleased(self) -> RunPlan:
        end = self._dice.choice([End.EVENT, End.EVENT, End.SILENT])
        told = self._dice.choice([Told.AT_ONCE, Told.DOUBLED]) if end is End.EVENT else Told.NOTHING
        return replace(self._plain(), end=end, told=told)

    def _vanishing(self) -> RunPlan:
        dice = self._dice
        when = dice.choice([Vanishes.ASKING, Vanishes.WAITING, Vanishes.WORKING])
        linger_ms = self._shape.linger_ms if dice.random() < self._shape.lingering else dice.randint(20, 500)
        told = dice.choice(self._shape.told)
        return replace(self._plain(), vanishes=when, told=told, end=End.SILENT, linger_ms=linger_ms)

    def _observed(self) -> RunPlan:
        told = self._dice.choice([Told.AT_ONCE, Told.AT_ONCE, Told.DOUBLED])
        hold_ms = self._dice.randint(50, 1500)
        return replace(self._plain(), is_observed=True, told=told, hold_ms=hold_ms, end=End.EVENT)

    def _scripted(self) -> RunPlan:
        """In turn one is killed some time after its start, one is stopped then, and one is left alone.

        The first is killed at its start: the others may have ended by then.
        """
        dice, self._scripts = self._dice, self._scripts + 1
        when = Vanishes.ASKING if self._scripts == 1 else Vanishes.WAITING
        whole = replace(self._plain(), script=dice.choice(SCRIPTS))
        match self._scripts % 3:
            case 1:
                return replace(whole, vanishes=when, linger_ms=dice.randint(20, 500))
            case 2:
                return replace(whole, nap_ms=dice.choice([500, 1500, 3000]))
            case _:
                return whole

    def _napping(self) -> RunPlan:
        return replace(self._plain(), nap_ms=self._dice.choice([500, 3000, 9000]))


def _acts(dice: random.Random, machines: tuple[str, ...], shape: Shape) -> tuple[Act, ...]:
    made = [
        Act(
            at=dice.randrange(shape.grants), kind=dice.choices(list(ActKind), shape.operator)[0],
            machine=dice.choice(machines), seconds=dice.choice([0.2, 0.5, 1.0]), priority=dice.choice([-1, 2, 7]),
        )
        for _ in range(shape.acts)
    ]  # fmt: skip
    return tuple(sorted(made, key=lambda act: act.at))
