"""Whether free means free: whom octowait let onto a machine where somebody works, and what it knew of that one.

A run is *told* once a webhook of its start was received, or a record of the timeline names its start: caught up,
listed by a reconcile, or it asked by itself. Its machines are *known* from the record that makes them busy, or from the
moment when it was told if an earlier run of the same process there has shown them: octowait remembers those.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from app.domain.records import Record
from tests.simulator.record import Run, name_of, overlaps, uses_gate

#: Start and end in ms; no end: it lasts.
Interval = Sequence[int | None]

#: Records that say where a run is, or is taken to be.
_PLACES = ("presumed", "observed", "joined", "granted")

#: Those of them that octowait remembers for the next run of the same process.
_LESSONS = ("observed", "joined")

_STARTS = ("Started", "Resumed")


@dataclass(frozen=True)
class Known:
    """What octowait knew of a run that has started, and since when; in ms, no moment: never.

    Attributes:
        machines: Since when each of its machines was known, by id in lower case.
        granted_ms: Its grants.
    """

    run: Run
    told_ms: int | None
    machines: Mapping[str, int]
    granted_ms: tuple[int, ...]

    @property
    def name(self) -> str:
        return name_of(self.run)

    @property
    def started_ms(self) -> int:
        return int(self.run["started_ms"])


@dataclass(frozen=True)
class Meeting:
    """Two runs on a machine, the *later* one granted while the *earlier* one was there or on its way."""

    machine: str
    earlier: Known
    later: str
    granted_ms: int

    @property
    def known_ms(self) -> int | None:
        return self.earlier.machines.get(self.machine.lower())

    @property
    def is_told(self) -> bool:
        """Whether octowait had been told that the earlier one has started."""
        return self.earlier.told_ms is not None and self.earlier.told_ms < self.granted_ms

    @property
    def is_fault(self) -> bool:
        """Whether octowait knew better."""
        return self.is_told and self.known_ms is not None and self.known_ms < self.granted_ms

    def __str__(self) -> str:
        since = self.earlier.started_ms
        return (f"{self.later} was granted {self.machine} {_after(self.granted_ms, since)} the start of "
                f"{self.earlier.name}, which was told {_after(self.earlier.told_ms, since)} it, "
                f"its machine known {_after(self.known_ms, since)} it")  # fmt: skip


def _after(moment_ms: int | None, since_ms: int) -> str:
    return "never after" if moment_ms is None else f"{moment_ms - since_ms} ms after"


@dataclass(frozen=True)
class Untold:
    """How long a run was at work and nobody had told of it, in one stretch in which everybody answered."""

    run: str
    ms: int


def knowledge(record: Mapping[str, Any], timeline: Sequence[Record]) -> list[Known]:
    """What octowait knew of each run that has started, in the order of their starts.

    Args:
        record: What ``/sim/record`` says.
    """
    records = _by_task(timeline)
    received = _received(record)
    learned: dict[tuple[Any, ...], dict[str, int]] = {}
    found = []
    for run in sorted((run for run in record["runs"] if run["started_ms"] is not None), key=lambda r: r["started_ms"]):
        own = [r for r in records.get(run["task_id"].lower(), ()) if _is_of(run, _moment(r))]
        told_ms = min([*_tellings(own), *received.get(name_of(run), ())], default=None)
        machines = _first(own, _PLACES)
        memory = learned.setdefault(_process(run), {})
        if told_ms is not None:
            for machine, since_ms in memory.items():
                if since_ms < told_ms:
                    machines[machine] = min(told_ms, machines.get(machine, told_ms))
        for machine, since_ms in _first(own, _LESSONS).items():
            memory[machine] = min(since_ms, memory.get(machine, since_ms))
        planned = {machine.lower() for machine in run["machines"]}
        grants = tuple(r.at_ms for r in own if r.kind == "granted")
        found.append(Known(run, told_ms, {m: ms for m, ms in machines.items() if m in planned}, grants))
    return found


def meetings(record: Mapping[str, Any], known: Iterable[Known]) -> list[Meeting]:
    """Of all pairs that overlapped, those of which the later one was granted after the earlier one had started.

    Where nobody of the two asked, or the one that did not began after the grant, octowait could do nothing.
    """
    by_name = {one.name: one for one in known}
    found = []
    for pair in overlaps(record):
        for earlier, later in ((pair.first, pair.second), (pair.second, pair.first)):
            granted_ms = _grant(by_name[later], pair.machine)
            first_ms = _grant(by_name[earlier], pair.machine) or by_name[earlier].started_ms
            if granted_ms is not None and first_ms < granted_ms:
                found.append(Meeting(pair.machine, by_name[earlier], later, granted_ms))
    return found


def untold(known: Iterable[Known], away: Sequence[Interval]) -> list[Untold]:
    """Of each run the longest stretch in which it ran, nobody had told of it, and nobody was *away*.

    Args:
        away: When Octopus or one of octowait's processes was not there. A stretch begins anew behind it: what was
            under way may be lost.
    """
    return [
        Untold(one.name, _longest(one.started_ms, _earliest(one.told_ms, one.run["ended_ms"]), away)) for one in known
    ]


def untold_until(meeting: Meeting, away: Sequence[Interval]) -> int:
    """The same of the earlier one of a meeting, until the later one was granted."""
    earlier = meeting.earlier
    return _longest(earlier.started_ms, _earliest(earlier.told_ms, meeting.granted_ms), away)


def false_alarms(record: Mapping[str, Any], timeline: Sequence[Record], *, expect_ms: int) -> list[str]:
    """Records of two runs at once of which one was about to ask, and did within *expect_ms* of its start."""
    records = _by_task(timeline)
    found = []
    for alarm in (r for r in timeline if r.kind == "overlapped"):
        for task_id in (alarm.task_id, alarm.detail.get("with")):
            for run in record["runs"]:
                if task_id and run["task_id"].lower() == task_id.lower() and _is_of(run, alarm.at_ms):
                    asked = [
                        r.at_ms for r in records.get(task_id.lower(), ()) if r.kind == "joined" and _is_of(run, r.at_ms)
                    ]
                    if asked and alarm.at_ms < min(asked) <= run["started_ms"] + expect_ms:
                        found.append(f"{name_of(run)} is told of as one of two at once (record {alarm.id}), and asked "
                                     f"{min(asked) - alarm.at_ms} ms later")  # fmt: skip
    return found


def busiest(calls: Mapping[str, int], seconds: int) -> int:
    """The most calls within *seconds* in a row, of the number in each second since the epoch."""
    counts = {int(second): number for second, number in calls.items()}
    return max((sum(counts.get(first + more, 0) for more in range(seconds)) for first in counts), default=0)


def _by_task(timeline: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for r in timeline:
        if r.task_id:
            found.setdefault(r.task_id.lower(), []).append(r)
    return found


def _moment(r: Record) -> int:
    """What a record is about: of an event when it occurred, since it may come when the task runs again."""
    return int(r.detail["occurred_ms"]) if r.kind == "event" else r.at_ms


def _is_of(run: Run, moment_ms: int) -> bool:
    """Whether *moment_ms* is one of this execution of its task."""
    return run["started_ms"] is not None and run["started_ms"] <= moment_ms <= (run["ended_ms"] or moment_ms)


def _is_start(category: str) -> bool:
    return category.endswith(_STARTS)


def _tellings(own: Iterable[Record]) -> Iterator[int]:
    for r in own:
        is_listed = r.detail.get("via") in ("reconcile", "rebuild")
        if r.kind == "joined" or (r.kind == "event" and (is_listed or _is_start(str(r.detail.get("category"))))):
            yield r.at_ms


def _received(record: Mapping[str, Any]) -> dict[str, list[int]]:
    """When octowait had answered webhooks of a run's start, by the run's name."""
    arrivals: dict[str, list[int]] = {}
    for delivery in record["deliveries"]:
        if delivery["status"] is not None and delivery["status"] < 300:
            arrivals.setdefault(delivery["event"], []).append(delivery["sent_ms"] + delivery["took_ms"])
    starts = [event for event in record["events"] if _is_start(event["Category"]) and event["Id"] in arrivals]
    found: dict[str, list[int]] = {}
    for run in record["runs"]:
        for event in starts:
            if run["task_id"] in event["RelatedDocumentIds"] and _is_of(run, event["occurred_ms"]):
                found.setdefault(name_of(run), []).extend(arrivals[event["Id"]])
    return found


def _first(own: Iterable[Record], kinds: Sequence[str]) -> dict[str, int]:
    """When a record of *kinds* first named each machine."""
    found: dict[str, int] = {}
    for r in own:
        for machine in r.machines if r.kind in kinds else ():
            found.setdefault(machine.lower(), r.at_ms)
    return found


def _process(run: Run) -> tuple[Any, ...]:
    """What octowait remembers machines by."""
    is_runbook = run["kind"] == "RunbookRun"
    return (run["space_id"], run["project_id"], run["environment_id"], run["tenant_id"], is_runbook)


def _grant(known: Known, machine: str) -> int | None:
    """The grant under which it worked on *machine*; None: it had none."""
    if not uses_gate(known.run):
        return None
    begun = min(work["started_ms"] for work in known.run["work"] if work["machine"] == machine)
    return max((at for at in known.granted_ms if at <= begun), default=None)


def _earliest(*moments: int | None) -> int | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _longest(from_ms: int, to_ms: int | None, away: Sequence[Interval]) -> int:
    """The longest stretch between the two without any of *away*."""
    if to_ms is None:
        raise ValueError(f"what began at {from_ms} has neither been told nor ended")
    cuts = [(from_ms, from_ms), (to_ms, to_ms)]
    for start, end in away:
        if (start or 0) < to_ms and (end is None or end > from_ms):
            cuts.append((max(from_ms, start or 0), min(to_ms, to_ms if end is None else end)))
    longest, covered = 0, from_ms
    for (_, one), (next_, _) in pairwise(sorted(cuts)):
        covered = max(covered, one)
        longest = max(longest, next_ - covered)
    return longest
