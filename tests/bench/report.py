"""Tables, percentiles, and the targets with what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One target of the benchmark and what was measured for it."""

    target: str
    what: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> list[str]:
        sign = "≥" if self.at_least else "≤"
        limit = f"{sign} {number(self.limit)} {self.unit}".rstrip()
        return [self.target, self.what, f"{number(self.value)} {self.unit}".rstrip(), limit, self.verdict]

    @property
    def verdict(self) -> str:
        return "met" if self.is_met else "NOT met"


class Report:
    """Prints tables as they come and keeps the targets for the end.

    Args:
        seed: Of what is left to chance, where a bench takes one; None: its own.
        writes: A bench with a section in docs/reference/measurements.md writes it.
    """

    def __init__(self, *, quick: bool, seed: int | None = None, writes: bool = False) -> None:
        self.quick = quick
        self.writes = writes
        self.seed = seed
        self.checks: list[Check] = []

    def pick(self, quick: float, full: float) -> float:
        return quick if self.quick else full

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        lines = [list(columns), *([cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
        lines.insert(1, ["-" * width for width in widths])
        print(f"\n{title}\n", flush=True)
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), flush=True)

    def check(
        self, target: str, what: str, value: float, limit: float, *, at_least: bool = False, unit: str = ""
    ) -> None:
        self.checks.append(Check(target, what, value, limit, at_least, unit))

    def summary(self) -> None:
        self.table(
            "Targets", ("target", "what", "measured", "wanted", "verdict"), [check.row() for check in self.checks]
        )


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


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")


Bench = Callable[[Report], None]
