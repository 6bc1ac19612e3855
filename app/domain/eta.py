"""When a waiter will start: half, and nine in ten, of such waits did not take longer.

The runs before it are taken to last as long as runs like them lasted before. Their durations are added up in
`SCENARIOS` scenarios, each of which draws every duration from another part of its distribution; the draws are fixed, so
the same past gives the same answer. Without a past there is no answer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from statistics import NormalDist, fmean, pstdev

from app.domain.durations import words

#: In how many scenarios durations are added up. The 90th percentile of 64 lies between the 57th and the 58th.
SCENARIOS = 64

#: A sample below this size gives way to a wider one that is larger.
ENOUGH = 3

#: Machines of one run that learn how long it held them.
_MOST_MACHINES = 50

#: Milliseconds in each scenario.
Vector = tuple[float, ...]

#: Finds the past durations kept under a key, in ms; empty if there are none.
History = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Eta:
    """Milliseconds until the grant: half of such waits take no longer than *p50*, nine in ten no longer than *p90*."""

    p50: int
    p90: int

    def as_json(self) -> dict[str, int]:
        return {"p50": self.p50, "p90": self.p90}

    @property
    def message(self) -> str:
        """One sentence for the person who waits."""
        if self.p90 < 1000:
            return "It is expected to start at once."
        return f"Expected in about {words(self.p50)}, in nine of ten cases in at most {words(self.p90)}."


@dataclass(frozen=True)
class Kind:
    """What runs are compared by."""

    project_id: str | None
    environment_id: str | None
    machines: tuple[str, ...]

    def levels(self, machine: str | None = None) -> list[str]:
        """The keys of its past durations, the narrowest first: runs of the same project to the same environment and
        machines, to the same environment, of the same project, on the same machine, all.

        Args:
            machine: The one whose line it stands in; by default all of its machines.
        """
        project, environment = (self.project_id or "").lower(), (self.environment_id or "").lower()
        machines = sorted(name.lower() for name in self.machines)
        keys = []
        if project and environment:
            names = sha1(",".join(machines).encode(), usedforsecurity=False).hexdigest()[:16]
            keys += [f"machines:{project}:{environment}:{names}", f"environment:{project}:{environment}"]
        if project:
            keys.append(f"project:{project}")
        keys += [f"machine:{name}" for name in ([machine.lower()] if machine else machines[:_MOST_MACHINES])]
        return [*keys, "all"]


def likely(levels: Sequence[str], history: History, *, elapsed_ms: int = 0) -> Vector | None:
    """How much longer a run takes that has taken *elapsed_ms* already, in each scenario; None if no past can say.

    The narrowest level with `ENOUGH` durations that are longer than that, else the narrowest that has any.
    """
    found: list[int] = []
    for key in levels:
        longer = [duration - elapsed_ms for duration in history(key) if duration > elapsed_ms]
        if len(longer) >= ENOUGH:
            return spread(longer)
        found = found or longer
    return spread(found) if found else None


def spread(sample: Sequence[int]) -> Vector:
    """The sample as `SCENARIOS` values, from its shortest to its longest."""
    ordered = sorted(sample)
    return tuple(quantile(ordered, (number + 0.5) / SCENARIOS) for number in range(SCENARIOS))


def many(sample: Sequence[int], count: int) -> Vector:
    """The sum of *count* durations like those of the sample, for lines too long to look at each."""
    mean, deviation = count * fmean(sample), math.sqrt(count) * pstdev(sample)
    return tuple(max(0.0, mean + z * deviation) for z in _NORMAL)


def one_after_another(parts: Sequence[Vector]) -> Vector:
    """The sum of durations that have nothing to do with each other."""
    total = [0.0] * SCENARIOS
    for number, part in enumerate(parts):
        draws = _draws(number)
        total = [sum_so_far + part[draw] for sum_so_far, draw in zip(total, draws, strict=True)]
    return tuple(total)


def the_longest(parts: Sequence[Vector]) -> Vector:
    """Of durations that pass at the same time, the longest in each scenario."""
    return tuple(map(max, zip(*parts, strict=True))) if parts else NOTHING


def eta_of(vector: Vector) -> Eta:
    ordered = sorted(vector)
    return Eta(round(quantile(ordered, 0.5)), round(quantile(ordered, 0.9)))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which *share* of an ordered sample lies, between two of them in proportion."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


NOTHING: Vector = (0.0,) * SCENARIOS

_NORMAL = tuple(NormalDist().inv_cdf((number + 0.5) / SCENARIOS) for number in range(SCENARIOS))

_DRAWS: dict[int, tuple[int, ...]] = {0: tuple(range(SCENARIOS))}


def _draws(number: int) -> tuple[int, ...]:
    """In which order the scenarios draw from the duration of that number; none like another's."""
    if number not in _DRAWS:
        _DRAWS[number] = tuple(random.Random(number).sample(range(SCENARIOS), SCENARIOS))
    return _DRAWS[number]


@dataclass(frozen=True)
class Accuracy:
    """How often waits took no longer than was foretold when they began."""

    waits: int = 0
    within_p50: int = 0
    within_p90: int = 0
    without_eta: int = 0
    off_by_ms: int = 0

    def as_json(self) -> dict[str, float | int | None]:
        """*mean_error_ms* is how far the truth was from p50, either way, on average; shares are None without waits."""
        share = (lambda part: part / self.waits) if self.waits else lambda part: None
        return {
            "waits": self.waits,
            "without_eta": self.without_eta,
            "within_p50": self.within_p50,
            "within_p90": self.within_p90,
            "share_within_p50": share(self.within_p50),
            "share_within_p90": share(self.within_p90),
            "mean_error_ms": round(self.off_by_ms / self.waits) if self.waits else None,
        }


def judged(predicted: Mapping[str, int], waited_ms: int) -> tuple[bool, bool, int]:
    """Whether the truth is within p50, within p90, and how far from p50 it is, ms."""
    return waited_ms <= predicted["p50"], waited_ms <= predicted["p90"], abs(waited_ms - predicted["p50"])
