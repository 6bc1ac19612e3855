"""What happened on one machine, with the records of the other machines that decided who waited here for whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from app.domain.intervals import Told, scenes
from app.domain.records import Filter, RecordLike, order_of
from app.domain.replay import BEGIN_WITHOUT_LEASE, WITHOUT_LEASE, Replay
from app.history.intervals import Past
from app.history.timeline import Timeline
from app.store.fairness import in_turns

#: Other machines whose records are read, too. Of a wait for more, some stretches say that nobody is known.
MOST_OTHERS = 20


class MachinePast:
    """Reads what charts show; all methods raise `StoreError`."""

    def __init__(self, past: Past, timeline: Timeline) -> None:
        self._past = past
        self._timeline = timeline

    def of_machine(self, machine_id: str, *, from_ms: int, to_ms: int, least_ms: int = 0) -> list[Told]:
        """What *machine_id* saw in the range, in order of its end, then what goes on at *to_ms*.

        Waits that were over within *least_ms* are told without their stretches, which saves a fifth of the time.
        Costs the records of the machine in the range, those back to the last checkpoint before it, and the same of
        `MOST_OTHERS` machines at most.
        """
        at = self._past.checkpoint(from_ms)
        replay = Replay(at.state, from_ms=from_ms, least_ms=least_ms)
        found = {record.id: record for record in self._records(Filter(machine_id=machine_id), at.id, to_ms)}
        machines = {machine_id.lower(), *self._others(machine_id, replay, found.values())}
        for other in machines - {machine_id.lower()}:
            found |= {record.id: record for record in self._records(Filter(machine_id=other), at.id, to_ms)}
        for task in _observed(machines, replay, found.values()):
            found |= {record.id: record for record in self._records(Filter(task_id=task), at.id, to_ms)}
        changes: dict[str, Any] = {**found, **{c.id: c for c in self._past.of_the_board(at.id, to_ms)}}
        in_order = in_turns(changes[stamp] for stamp in sorted(changes, key=order_of))
        own = machine_id.lower()
        return [told for told in scenes(in_order, replay, to_ms) if _is_at(told, own)]

    def of_all(self, *, from_ms: int, to_ms: int) -> Iterator[Told]:
        """The same of all machines; it costs the records of the whole board in that time, and reads on as it goes."""
        at = self._past.checkpoint(from_ms)
        records = self._timeline.changes(Filter(to_ms=to_ms), after=at.id)
        return scenes(records, Replay(at.state, from_ms=from_ms), to_ms)

    def _records(self, wanted: Filter, after: str, to_ms: int) -> Iterator[RecordLike]:
        return self._timeline.changes(replace(wanted, to_ms=to_ms), after=after)

    def _others(self, machine_id: str, replay: Replay, records: Iterable[RecordLike]) -> list[str]:
        """The machines that runs wanted together with this one, as many as may be read."""
        own = machine_id.lower()
        others: dict[str, None] = {}
        wishes: list[Sequence[str]] = [run.machines for run in replay.present.values() if run.kind == "waiting"]
        wishes += [record.machines for record in records if record.kind == "joined"]
        for machines in wishes:
            names = [name.lower() for name in machines]
            if own in names:
                others |= dict.fromkeys(name for name in names if name != own)
            if len(others) >= MOST_OTHERS:
                break
        return list(others)[:MOST_OTHERS]


def _is_at(told: Told, machine: str) -> bool:
    return not told.machines or machine in map(str.lower, told.machines)


def _observed(machines: set[str], replay: Replay, records: Iterable[RecordLike]) -> set[str]:
    """Tasks that ran without a lease: they give machines up when they join, and that record may name other ones."""
    there = [run for run in replay.present.values() if run.kind in WITHOUT_LEASE]
    tasks = {run.task_id for run in there if machines & set(map(str.lower, run.machines))}
    return tasks | {record.task_id for record in records if record.kind in BEGIN_WITHOUT_LEASE and record.task_id}
