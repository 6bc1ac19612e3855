"""The record of the targets: what the last written run has measured, and which of them a run misses that were met.

It is the section ``targets`` of docs/reference/measurements.md. A run that measures only some of the targets leaves the
others as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measurements import FILE, markdown_table, section, write_section
from tests.bench.report import Check
from tests.bench.targets import TARGETS

NAME = "targets"

COLUMNS = ("target", "what", "before", "measured", "bound", "verdict", "by")

INTRODUCTION = """## Targets

`make bench ARGS="targets --write"`

What was measured for each target, last; *before* is what was measured from outside on 2026-11-25.
Ratios are between figures of one run: both of them are in the section of their bench.
*By* is the day and the commit of the measurement; the machine is in the section of the bench.
A run of the benches fails where one that was met here is missed by a fifth."""


@dataclass(frozen=True)
class Row:
    """One line of the record."""

    target: str
    what: str
    before: str
    measured: str
    bound: str
    verdict: str
    by: str

    @classmethod
    def of(cls, check: Check, by: str) -> Row:
        return cls(check.target, check.what, check.before or "–", check.measured, check.bound, check.verdict, by)

    @property
    def name(self) -> tuple[str, str]:
        return self.target, self.what

    @property
    def was_met(self) -> bool:
        return self.verdict == "met"

    def cells(self) -> Sequence[str]:
        return self.target, self.what, self.before, self.measured, self.bound, self.verdict, self.by


Record = Mapping[tuple[str, str], Row]


def read_record(file: Path = FILE) -> Record:
    """The lines of the record by target and what; empty where nobody has written any."""
    lines = [line for line in section(NAME, file).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in lines[2:]]
    rows = [Row(*line) for line in cells]
    return {row.name: row for row in rows}


def write_record(checks: Iterable[Check], by: str, file: Path = FILE) -> None:
    """Put *checks* into the record, each in the place of what was measured for the same before."""
    rows = {**read_record(file), **{(check.target, check.what): Row.of(check, by) for check in checks}}
    numbers = list(dict.fromkeys(target.number for target in TARGETS.values()))
    ordered = sorted(rows.values(), key=lambda row: _rank(row.target, numbers))
    write_section(NAME, f"{INTRODUCTION}\n\n{markdown_table(COLUMNS, [row.cells() for row in ordered])}", file)


def _rank(number: str, numbers: Sequence[str]) -> tuple[int, int]:
    """P2 comes before P10, and both before what has no number."""
    if number[:1] == "P" and number[1:].isdigit():
        return 0, int(number[1:])
    return 1, numbers.index(number) if number in numbers else len(numbers)


def regressions(checks: Iterable[Check], record: Record) -> list[str]:
    """A sentence for each of *checks* that was met when the record was written, and is missed by a fifth now."""
    return [
        f"{check.target} {check.what}: {check.measured}, bound {check.bound}, was {record[name].measured} "
        f"({record[name].by})"
        for check in checks
        if check.is_far_off and (name := (check.target, check.what)) in record and record[name].was_met
    ]
