"""The evidence, sorted by task, and questions that several checks ask of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.evidence import Evidence
from tests.chaos.history import Kind, Op
from tests.chaos.records import Record


class Facts:
    """The evidence, by task."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.ops: dict[str, list[Op]] = defaultdict(list)
        for op in evidence.ops:
            self.ops[op.task].append(op)
        self.records: dict[str, list[Record]] = defaultdict(list)
        for record in self.all_records():
            self.records[record.task].append(record)
        #: Of each epoch and task, the grants that its Redis knew, oldest first.
        self.grants: dict[tuple[int, str], list[Record]] = defaultdict(list)
        for number, (before, epoch) in enumerate(evidence.lineages()):
            for record in (*before, *epoch):
                if record.kind == "granted":
                    self.grants[number, record.task].append(record)
        self.work = {task: list(stretches(ops)) for task, ops in self.ops.items()}

    def all_records(self) -> Iterator[Record]:
        for epoch in self.evidence.epochs:
            yield from epoch

    def is_disturbed(self, from_ms: float, to_ms: float) -> bool:
        return any(begin <= to_ms and from_ms <= end for begin, end in self.evidence.disturbed)


def stretches(ops: Sequence[Op]) -> Iterator[tuple[float, float]]:
    """From when to when the task worked."""
    since: float | None = None
    for op in ops:
        if op.kind is Kind.WORKS:
            since = op.at_ms
        elif op.kind is Kind.STOPS and since is not None:
            yield since, op.at_ms
            since = None
    if since is not None:
        yield since, float("inf")


def has_family(facts: Facts, task: str) -> bool:
    return any(r.detail.get("family") is not None for r in facts.records[task])


def has_claim(ops: Sequence[Op]) -> bool:
    return any(op.kind is Kind.ASKED and op.word == "claim" for op in ops)


def was_killed_confirming(ops: Sequence[Op], gone: Op) -> bool:
    """Whether its client was killed when it had asked once more, and not been answered: it may have collected."""
    told = [op for op in ops if op.kind in (Kind.ASKED, Kind.TOLD, Kind.BROKEN) and op.at_ms <= gone.at_ms]
    return bool(told) and told[-1].kind is Kind.ASKED and told[-1].verb == "confirm"


def is_of(facts: Facts, op: Op, end: Record) -> bool:
    """Whether the grant that a client was told of is the one that ended."""
    grants = [grant for grant in facts.grants[end.epoch, end.task] if grant.at_ms <= end.at_ms + end.late_ms]
    return bool(grants) and grants[-1].detail.get("token") == op.token


def is_collected_late(grant: Record) -> bool:
    """Whether the request that asked for it collected it at once; of one whose sender had given it up, nobody heard."""
    return grant.kind == "granted" and grant.detail.get("waited_ms") == 0
