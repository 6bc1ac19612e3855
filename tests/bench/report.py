"""Tables, percentiles, and the targets with what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.bench.targets import BEFORE, TARGETS

#: By how much, as a share of its bound, a target that was met may be missed before that is a failure.
MARGIN = 0.2


@dataclass(frozen=True)
class Check:
    """One target of the benchmark and what was measured for it."""

    target: str
    what: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = ""
    before: str = ""

    @property
    def is_met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def is_far_off(self) -> bool:
        """Whether it is missed by a fifth of its bound, or was not to be measured."""
        share = 1 - MARGIN if self.at_least else 1 + MARGIN
        is_near = self.value > self.limit * share if self.at_least else self.value < self.limit * share
        return not self.is_met and not is_near

    @property
    def measured(self) -> str:
        return f"{number(self.value)} {self.unit}".rstrip()

    @property
    def bound(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {number(self.limit)} {self.unit}".rstrip()

    @property
    def verdict(self) -> str:
        return "met" if self.is_met else "NOT met"


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    #: Numbers are text already.
    rows: Sequence[Sequence[str]]


class Report:
    """Prints tables as they come and keeps the targets for the end.

    Args:
        seed: Of what is left to chance, where a bench takes one; None: its own.
        minutes: How long a bench goes on that has no end of its own; None: as it thinks best.
        writes: A bench with a section in docs/reference/measurements.md writes it.
    """

    def __init__(
        self, *, quick: bool, seed: int | None = None, minutes: float | None = None, writes: bool = False
    ) -> None:
        self.quick = quick
        self.minutes = minutes
        self.writes = writes
        self.seed = seed
        self.checks: list[Check] = []
        self.tables: list[Table] = []

    def pick(self, quick: float, full: float) -> float:
        return quick if self.quick else full

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        cells = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
        self.tables.append(Table(title, columns, cells))
        _print(title, columns, cells)

    def measured(self, key: str, value: float, **which: object) -> None:
        """Note what was measured for a target of `TARGETS`; *which* says what differs from measurement to measurement.

        Raises:
            KeyError: there is no such target, or it differs in something else.
        """
        target = TARGETS[key]
        self.checks.append(
            Check(target.number, target.what.format(**which), value, target.limit, target.at_least, target.unit,
                  target.before)
        )  # fmt: skip

    def check(
        self, target: str, what: str, value: float, limit: float, *, at_least: bool = False, unit: str = ""
    ) -> None:
        """Note what was measured for a target whose bound is part of what is measured, as that of a shape."""
        self.checks.append(Check(target, what, value, limit, at_least, unit, BEFORE.get((target, what), "")))

    def summary(self) -> None:
        rows = [[check.target, check.what, check.measured, check.bound, check.verdict] for check in self.checks]
        _print("Targets", ("target", "what", "measured", "wanted", "verdict"), rows)


def _print(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    lines.insert(1, ["-" * width for width in widths])
    print(f"\n{title}\n", flush=True)
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), flush=True)


def number(value: object) -> str:
    """*value* with three digits that mean something."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "–" if value is None else str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* do not exceed; not a number where there are none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def both(values: Sequence[float]) -> tuple[float, float]:
    """p50 and p99."""
    return percentile(values, 0.5), percentile(values, 0.99)


def spread(values: Sequence[float]) -> str:
    """p50 and p99 as a cell of a table."""
    return " / ".join(map(number, both(values)))


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


Bench = Callable[[Report], None]
