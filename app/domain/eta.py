"""Estimates of the start of a waiter: the median and the 90th percentile of such waits.

The runs before it are taken to last as long as runs like them lasted before. Their durations are added up in
`SCENARIOS` scenarios, each of which draws every duration from another part of its distribution; the draws are fixed, so
the same past gives the same answer. Without a past there is no answer.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1
from statistics import NormalDist, stdev
from typing import TypeAlias
from zlib import crc32

from app.domain.durations import format_duration
from app.domain.run import RunState

#: In how many scenarios durations are added up. The 90th percentile of 64 lies between the 57th and the 58th.
SCENARIOS = 64

#: A sample below this size gives way to a wider one that is larger.
ENOUGH = 3

#: Machines of one run that learn how long it held them.
_MOST_MACHINES = 50

#: Milliseconds in each scenario; an array, since thousands are cached.
Vector: TypeAlias = "array[float]"

#: Finds the past durations kept under a key, in ms; empty if there are none.
History = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Eta:
    """Milliseconds until the grant: half of such waits take no longer than *p50*, nine in ten no longer than *p90*."""

    p50: int
    p90: int

    @property
    def message(self) -> str:
        """One sentence for the person who waits."""
        if self.p90 < 1000:
            return "Expected to start at once."
        half, most = format_duration(self.p50), format_duration(self.p90)
        return f"Expected in about {half}, in nine of ten cases in at most {most}."


@dataclass(frozen=True)
class Kind:
    """What runs are compared by."""

    project_id: str | None
    environment_id: str | None
    machines: tuple[str, ...]

    @classmethod
    def of(cls, run: RunState | None) -> Kind:
        """The kind of a run; of one that nobody knows any more, the widest."""
        if run is None:
            return cls(None, None, ())
        project, environment = run.info.project, run.info.environment
        return cls(project.id if project else None, environment.id if environment else None, run.machines)

    @property
    def levels(self) -> Sequence[str]:
        """The keys of its past durations, the narrowest first: runs of the same project to the same environment and
        machines, to the same environment, of the same project, on each of its machines, all.
        """
        return _levels_of(self)


# A run is asked about at each of its machines, and it can have ten thousand.
@lru_cache(maxsize=100)
def _levels_of(kind: Kind) -> Sequence[str]:
    project, environment = (kind.project_id or "").lower(), (kind.environment_id or "").lower()
    machines = sorted(name.lower() for name in kind.machines)
    keys = []
    if project and environment:
        names = sha1(",".join(machines).encode(), usedforsecurity=False).hexdigest()[:16]
        keys += [f"machines:{project}:{environment}:{names}", f"environment:{project}:{environment}"]
    if project:
        keys.append(f"project:{project}")
    keys += [f"machine:{name}" for name in machines[:_MOST_MACHINES]]
    return (*keys, "all")


def likely(levels: Sequence[str], history: History, *, elapsed_ms: int = 0) -> Vector | None:
    """How much longer a run takes that has taken *elapsed_ms* already, in each scenario; None if no past can say.

    The narrowest level with `ENOUGH` durations that are longer than that, else the narrowest that has any.
    """
    durations: list[int] = []
    for key in levels:
        longer = [duration - elapsed_ms for duration in history(key) if duration > elapsed_ms]
        if len(longer) >= ENOUGH:
            return spread(longer)
        durations = durations or longer
    return spread(durations) if durations else None


def spread(sample: Sequence[int]) -> Vector:
    """The sample as `SCENARIOS` values, from its shortest to its longest and beyond.

    Of so many durations one in ``len(sample) + 1`` is expected to be longer than all that were. How much longer is
    taken from their deviation, as if it were exponential; so few that are alike foretell another one like them.
    """
    ordered = sorted(sample)
    deviation = stdev(ordered) if len(ordered) > 1 else 0.0
    return array("d", [ordered[below] + share * (ordered[above] - ordered[below]) + beyond * deviation
                       for below, above, share, beyond in _positions(len(ordered))])  # fmt: skip


@lru_cache(maxsize=100)
def _positions(size: int) -> list[tuple[int, int, float, float]]:
    """Where each scenario is in an ordered sample: between which two, how far, and how many deviations beyond."""
    positions = []
    for number in range(SCENARIOS):
        rank = (number + 0.5) / SCENARIOS
        position = rank * (size + 1) - 1
        below = min(size - 1, max(0, int(position)))
        above = min(size - 1, below + 1)
        beyond = max(0.0, -math.log((1 - rank) * (size + 1)))
        positions.append((below, above, min(1.0, max(0.0, position - below)), beyond))
    return positions


def many(mean: float, deviation: float, count: int) -> Vector:
    """The sum of *count* durations, for lines too long to look at each."""
    whole, spread_of_whole = count * mean, math.sqrt(count) * deviation
    return array("d", [max(0.0, whole + z * spread_of_whole) for z in _NORMAL])


def one_after_another(parts: Sequence[Vector]) -> Vector:
    """The sum of durations that have nothing to do with each other."""
    total = NOTHING
    for number, part in enumerate(parts):
        total = and_then(total, part, number)
    return total


def and_then(total: Vector, part: Vector, number: int) -> Vector:
    """The sum of *number* durations, and one more."""
    return array("d", [so_far + part[draw] for so_far, draw in zip(total, _draws(number), strict=True)])


def the_longest(parts: Sequence[Vector]) -> Vector:
    """Of durations that pass at the same time, the longest in each scenario."""
    if len(parts) < 2:
        return parts[0] if parts else NOTHING
    return array("d", map(max, zip(*parts, strict=True)))


def eta_of(vector: Vector) -> Eta:
    ordered = sorted(vector)
    return Eta(round(quantile(ordered, 0.5)), round(quantile(ordered, 0.9)))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which *share* of an ordered sample lies, between two of them in proportion."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


NOTHING: Vector = array("d", [0.0] * SCENARIOS)

_NORMAL = tuple(NormalDist().inv_cdf((number + 0.5) / SCENARIOS) for number in range(SCENARIOS))

_DRAWS: dict[int, tuple[int, ...]] = {0: tuple(range(SCENARIOS))}


def draw_of(task: str) -> int:
    """The number of the run's draw of a duration: the same in all its lines, and hardly ever that of another run."""
    return 1 + crc32(task.lower().encode()) % 499


def _draws(number: int) -> tuple[int, ...]:
    """In which order the scenarios draw from the duration of that number; none like another's."""
    if number not in _DRAWS:
        _DRAWS[number] = tuple(random.Random(number).sample(range(SCENARIOS), SCENARIOS))
    return _DRAWS[number]


@dataclass(frozen=True)
class Prediction:
    """The estimate made when a wait began, kept to be compared with its end."""

    eta: Eta

    def __str__(self) -> str:
        return f"{self.eta.p50} {self.eta.p90}"

    @classmethod
    def parsed(cls, text: bytes) -> Prediction:
        p50, p90 = text.split()
        return cls(Eta(int(p50), int(p90)))

    def judged(self, waited_ms: int) -> dict[str, int]:
        """What the wait adds to each count of an accuracy."""
        return {
            "waits": 1,
            "within_p50": int(waited_ms <= self.eta.p50),
            "within_p90": int(waited_ms <= self.eta.p90),
            "error_ms": abs(waited_ms - self.eta.p50),
        }


def accuracy(counts: Mapping[str, int]) -> dict[str, float | int | None]:
    """The accuracy of estimates: how often waits took no longer, as the API shows it.

    *mean_error_ms* is how far the truth was from p50, either way, on average. Shares are None without any such wait.
    """
    waits = counts.get("waits", 0)
    within = {name: counts.get(name, 0) for name in ("within_p50", "within_p90")}
    return {
        "waits": waits,
        "without_eta": counts.get("without_eta", 0),
        **within,
        **{f"share_{name}": round(count / waits, 4) if waits else None for name, count in within.items()},
        "mean_error_ms": round(counts.get("error_ms", 0) / waits) if waits else None,
    }
