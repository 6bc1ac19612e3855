"""The ledger of waiting: how many hours were lost, where, to whom, by whom, and when.

What counts is the part of each wait that lies in the range, so the ledgers of two ranges that follow each other add up,
and so do its groups. Waits that go on at the end of the range count as far as they have come.
"""

from __future__ import annotations

import heapq
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from app.domain.analysis.fronts import Stretch
from app.domain.analysis.replay import Hold, Wait
from app.domain.eta import quantile

#: The longest waits that a ledger tells of.
LONGEST = 10


class By(StrEnum):
    """The dimension that a ledger groups by."""

    MACHINE = "machine"  #: where it was lost
    PROJECT = "project"  #: by whom it was lost: the project of the run that waited
    BLOCKER = "blocker"  #: to whom it was lost: the project of the run in the way
    ENVIRONMENT = "environment"  #: the environment of the run that waited
    WEEK = "week"  #: the ISO week, from Monday 00:00 UTC


@dataclass
class _Group:
    """Parts of waits in ms, eight bytes each, and the lead times of those whose deployments have ended."""

    parts: array[int] = field(default_factory=lambda: array("q"))
    example: str | None = None
    waited_ms: int = 0
    lead_ms: int = 0


@dataclass(frozen=True)
class Row:
    """One row. *key* is an id in the spelling of its first record, a week such as ``2026-W47``, or one of `Reason`.

    Args:
        example: A task of the group, by which its name can be found.
        name: What people call it, where somebody found that out.
        share: Of the lead time (waiting and holding) of the deployments that ended in the range, the part that was
            waiting; None where that has no meaning or none has ended.
    """

    key: str | None
    example: str | None
    waits: int
    lost_ms: int
    median_ms: int
    p90_ms: int
    worst_ms: int
    share: float | None
    name: str | None = None


class Ledger:
    """Adds up waits and holds as `Past.told` tells them.

    Args:
        machine_id: Only what was lost at this machine.
        project_id: Only what runs of this project lost.
    """

    def __init__(self, by: By, *, from_ms: int, machine_id: str | None = None, project_id: str | None = None) -> None:
        self._by = by
        self._from_ms = from_ms
        self._machine = machine_id and machine_id.lower()
        self._project = project_id and project_id.lower()
        self._groups: dict[str | None, _Group] = defaultdict(_Group)
        self._total = _Group()
        self._spelled: dict[str, str] = {}
        self._longest: list[tuple[int, int, Wait]] = []

    def add(self, interval: Wait | Hold) -> None:
        """Count a wait, or the lead time of a run that has ended."""
        if self._project and (interval.project_id or "").lower() != self._project:
            return
        if isinstance(interval, Hold):
            self._add_lead(interval)
        elif interval.stretches:
            self._add_wait(interval)

    def _add_wait(self, wait: Wait) -> None:
        stretches: Sequence[Stretch] = wait.stretches
        lost = wait.lost_ms
        if self._machine:
            stretches = [part for part in stretches if (part.machine_id or "").lower() == self._machine]
            lost = sum(part.to_ms - part.from_ms for part in stretches)
        if not lost:
            return
        for key, milliseconds in self._parts(wait, stretches, lost).items():
            group = self._groups[self._spelling(key)]
            group.parts.append(milliseconds)
            if group.example is None:
                group.example = self._example(wait, key)
        self._total.parts.append(lost)
        entry = (lost, -wait.from_ms, wait)
        if len(self._longest) < LONGEST:
            heapq.heappush(self._longest, entry)
        elif entry[:2] > self._longest[0][:2]:
            heapq.heapreplace(self._longest, entry)

    def _parts(self, wait: Wait, stretches: Sequence[Stretch], lost: int) -> dict[str | None, int]:
        """What the wait lost in each group, ms."""
        if self._by is By.PROJECT:
            return {wait.project_id: lost}
        if self._by is By.ENVIRONMENT:
            return {wait.environment_id: lost}
        if self._by is By.WEEK:
            parts = [week for part in stretches for week in _weeks(part)]
        else:
            of = _blocker_of if self._by is By.BLOCKER else _machine_of
            parts = [(of(part), part.to_ms - part.from_ms) for part in stretches]
        sums: dict[str | None, int] = {}
        for key, milliseconds in parts:
            sums[key] = sums.get(key, 0) + milliseconds
        return sums

    def _example(self, wait: Wait, key: str | None) -> str | None:
        if self._by is not By.BLOCKER:
            return wait.task_id
        return next((part.task_id for part in wait.stretches if part.task_id and part.project_id == key), None)

    def _add_lead(self, hold: Hold) -> None:
        if hold.waited_ms is None or hold.to_ms < self._from_ms:
            return
        if self._machine and self._machine not in map(str.lower, hold.machines):
            return
        keys: tuple[str | None, ...] = ()
        if self._by is By.MACHINE:
            keys = hold.machines
        elif self._by is not By.BLOCKER:
            week = week_of(hold.to_ms)
            keys = ({By.PROJECT: hold.project_id, By.ENVIRONMENT: hold.environment_id}.get(self._by, week),)
        for group in (self._total, *(self._groups[self._spelling(key)] for key in keys)):
            group.waited_ms += hold.waited_ms
            group.lead_ms += hold.waited_ms + hold.held_ms

    def _spelling(self, key: str | None) -> str | None:
        return key and self._spelled.setdefault(key.lower(), key)

    def rows(self) -> list[Row]:
        """The groups in which something was lost, weeks in order, others by what was lost, the most first."""
        rows = [_row(key, group) for key, group in self._groups.items() if group.parts]
        if self._by is By.WEEK:
            return sorted(rows, key=lambda row: row.key or "")
        return sorted(rows, key=lambda row: (-row.lost_ms, row.key or ""))

    def total(self) -> Row:
        """All of it; a wait counts once."""
        return _row(None, self._total)

    def longest(self) -> list[Wait]:
        """The waits that lost the most, the longest first."""
        return [wait for *_, wait in sorted(self._longest, key=lambda entry: entry[:2], reverse=True)]


def _blocker_of(part: Stretch) -> str | None:
    return part.project_id if part.task_id else str(part.reason)


def _machine_of(part: Stretch) -> str:
    return part.machine_id or str(part.reason)


def _row(key: str | None, group: _Group) -> Row:
    parts = sorted(group.parts)
    return Row(
        key=key,
        example=group.example,
        waits=len(parts),
        lost_ms=sum(parts),
        median_ms=round(quantile(parts, 0.5)) if parts else 0,
        p90_ms=round(quantile(parts, 0.9)) if parts else 0,
        worst_ms=parts[-1] if parts else 0,
        share=round(group.waited_ms / group.lead_ms, 4) if group.lead_ms else None,
    )


def _weeks(stretch: Stretch) -> Iterator[tuple[str | None, int]]:
    begin = stretch.from_ms
    if stretch.to_ms <= _week_end(begin // _HOUR_MS):
        yield week_of(begin), stretch.to_ms - begin
        return
    while begin < stretch.to_ms:
        end = min(stretch.to_ms, _week_end(begin // _HOUR_MS))
        yield week_of(begin), end - begin
        begin = end


def week_of(at_ms: int) -> str:
    """The ISO week of a moment, e.g. ``2026-W47``."""
    return _week(at_ms // _HOUR_MS)


_HOUR_MS = 3_600_000


@lru_cache(maxsize=10_000)
def _week(hour: int) -> str:
    year, week, _ = datetime.fromtimestamp(hour * 3600, UTC).isocalendar()
    return f"{year}-W{week:02}"


@lru_cache(maxsize=10_000)
def _week_end(hour: int) -> int:
    moment = datetime.fromtimestamp(hour * 3600, UTC)
    monday = moment.replace(hour=0) - timedelta(days=moment.weekday())
    return int((monday + timedelta(days=7)).timestamp()) * 1000
