"""Findings of the checks: a verdict, a sentence, and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"  #: as it should be
    WARNING = "warning"  #: works, and will hurt one day
    ERROR = "error"  #: does not work
    UNKNOWN = "unknown"  #: could not be looked at


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. *code* is one stable word; *do* is one sentence, empty where nothing is to do."""

    level: Level
    code: str
    what: str
    do: str = ""

    def as_json(self) -> dict[str, str]:
        """The finding as ``--json`` prints it."""
        return asdict(self)


def ok(code: str, what: str) -> Finding:
    return Finding(Level.OK, code, what)


def warning(code: str, what: str, do: str) -> Finding:
    return Finding(Level.WARNING, code, what, do)


def error(code: str, what: str, do: str) -> Finding:
    return Finding(Level.ERROR, code, what, do)


def unknown(code: str, what: str, do: str) -> Finding:
    return Finding(Level.UNKNOWN, code, what, do)


def finding_lines(finding: Finding) -> list[str]:
    """The finding for people: what is the matter, and below it what to do."""
    first = f"{finding.level.upper() if finding.level is not Level.OK else finding.level:<8}{finding.what}"
    return [first, f"{'':8}-> {finding.do}"] if finding.do else [first]


def summary(findings: Collection[Finding]) -> str:
    """How many there are of each level."""
    counts = {level: sum(each.level is level for each in findings) for level in Level}
    return (
        f"{_number(counts[Level.ERROR], 'error')}, {_number(counts[Level.WARNING], 'warning')}, "
        f"{counts[Level.UNKNOWN]} not looked at, {counts[Level.OK]} ok"
    )


def has_error(findings: Iterable[Finding]) -> bool:
    return any(each.level is Level.ERROR for each in findings)


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
