"""Records of the timeline: their kinds, their order, one record, and the filter that selects some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

#: The kinds of records, as docs/reference/timeline.md explains them: of runs, then of octowait itself.
KINDS = (
    "joined", "granted", "released", "left", "expired", "timed_out", "refused", "observed", "ended", "overlapped",
    "presumed", "dropped", "expected", "claimless", "disputed",
    "prioritized", "reserved", "unreserved", "event", "resumed", "not_resumed", "abandoned", "closed", "opened",
    "repaired", "outage_ended", "clock_jumped", "caught_up", "gap", "job_failed", "archive_lost",
    "octopus_unreachable", "octopus_reachable",
)  # fmt: skip

#: A moment in the timeline: the milliseconds of an id and its number. ``(ms, -1)`` is before everything of that ms.
Order = tuple[int, int]


class RecordLike(Protocol):
    """A record in whatever form it is stored: what a replay and a filter read of it."""

    @property
    def id(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def task_id(self) -> str | None: ...
    @property
    def run(self) -> int | None: ...
    @property
    def machines(self) -> Sequence[str]: ...
    @property
    def project_id(self) -> str | None: ...
    @property
    def environment_id(self) -> str | None: ...
    @property
    def cause(self) -> str | None: ...
    @property
    def detail(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Record:
    """One change. *id* is ``<ms>-<number>``, *at_ms* its first part: the Redis server's clock."""

    id: str
    at_ms: int
    kind: str
    task_id: str | None = None
    run: int | None = None
    machines: tuple[str, ...] = ()
    project_id: str | None = None
    environment_id: str | None = None
    cause: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lag_ms(self) -> int:
        """Of an event that came by webhook: how long after it occurred, at least. Records of before the clocks were
        compared take that of Octopus for ours.
        """
        return int(self.detail.get("lag_ms", max(0, self.at_ms - int(self.detail["occurred_ms"]))))


@dataclass(frozen=True)
class Filter:
    """Which records: all that are set must agree; ids compare without regard to letter case; *to_ms* is exclusive."""

    machine_id: str | None = None
    task_id: str | None = None
    project_id: str | None = None
    environment_id: str | None = None
    kind: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """What a record must say, its time aside."""
        return tuple(filter(None, (self.machine_id, self.task_id, self.project_id, self.environment_id, self.kind)))

    def accepts(self, record: RecordLike) -> bool:
        """Whether the record is one of those, its time aside."""
        return (
            (self.machine_id is None or self.machine_id.lower() in {m.lower() for m in record.machines})
            and (self.task_id is None or (record.task_id or "").lower() == self.task_id.lower())
            and (self.project_id is None or (record.project_id or "").lower() == self.project_id.lower())
            and (self.environment_id is None or (record.environment_id or "").lower() == self.environment_id.lower())
            and (self.kind is None or record.kind == self.kind)
        )


def order_of(stamp: str) -> Order:
    """The order of the id ``<ms>-<number>`` among all."""
    ms, _, number = stamp.partition("-")
    return int(ms), int(number)
