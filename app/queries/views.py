"""What the API and the pages show, built from a snapshot or a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.coordination.board import info_of
from app.coordination.snapshot import Machine, Snapshot, Waiter
from app.domain.records import Filter, Record
from app.domain.status import MachinePlace, Place, State, name_of
from app.services import Services

#: Records of its timeline that a run's page and its API answer show, the newest ones.
RUN_RECORDS = 500

#: Runs that a machine's answer shows as its last.
LAST_RUNS = 20

#: What a parked run is told where only a person can let it go on.
NOBODY_RESUMES = (
    "octowait has no API key of Octopus and cannot resume it: when it is granted, answer its intervention by hand, or "
    "set OCTOWAIT_OCTOPUS_URL and OCTOWAIT_OCTOPUS_API_KEY."
)


def wait_json(gate: Services, place: Place) -> dict[str, Any]:
    """The answer about a wait."""
    foreseen = gate.foresight.with_eta(place)
    return {**foreseen.as_json(gate.keys.wake(place.task_id)), "message": message_of(gate, foreseen)}


def message_of(gate: Services, place: Place) -> str:
    """The sentence for the person who reads the deployment log; and what octowait cannot do for a parked run."""
    return f"{place.message} {NOBODY_RESUMES}" if needs_a_person(gate, place) else place.message


def needs_a_person(gate: Services, place: Place) -> bool:
    """Whether nobody but a person can let a parked run go on when its turn has come."""
    return place.is_waiting and bool(place.run.get("parked")) and not gate.knows_octopus


def waiting_places(snapshot: Snapshot) -> Iterator[Place]:
    """Everyone waiting, in order, as the steps see it."""
    at: dict[str, list[MachinePlace]] = {}
    records: dict[str, Mapping[str, Any]] = {}
    for machine in snapshot.machines:
        for waiter in machine.line:
            records[waiter.task_id] = waiter.record
            at.setdefault(waiter.task_id, []).append(_place_at(machine, waiter))
    for task in snapshot.waiting:
        if task in records:
            yield Place(task, State.WAITING, records[task], snapshot.now_ms, tuple(at[task]))


def _place_at(machine: Machine, waiter: Waiter) -> MachinePlace:
    """As ``lua/lib/view.lua`` shows it: a child waits no longer for what its family holds."""
    runs = [held for held in machine.holders if held.task_id]
    if runs and waiter.record.get("family") and all(held.family == waiter.record["family"] for held in runs):
        return MachinePlace(machine.id, machine.name, 0, (), ())
    ahead = tuple(other.task_id for other in machine.line[: min(waiter.place - 1, 20)])
    return MachinePlace(machine.id, machine.name, waiter.place, machine.holders, ahead)


def waiter_json(waiter: Waiter) -> dict[str, Any]:
    return {
        "task_id": waiter.task_id,
        "place": waiter.place,
        "priority": waiter.record["priority"],
        "requested_at_ms": waiter.record["requested_at_ms"],
        "project": name_of(waiter.info, "project"),
        "release": (waiter.info.get("release") or {}).get("version"),
        "environment": name_of(waiter.info, "environment"),
        "url": waiter.info.get("url"),
    }


def machine_json(machine: Machine) -> dict[str, Any]:
    """A machine with its holders and its line."""
    reserved = next((held for held in machine.holders if held.kind == "reservation"), None)
    return {
        "id": machine.id,
        "name": machine.name,
        "status": machine.status,
        "holders": [held.as_json() for held in machine.holders],
        "line": [waiter_json(waiter) for waiter in machine.line],
        "reservation": reserved
        and {
            "id": machine.id,
            "note": reserved.note,
            "by": reserved.by,
            "since_ms": reserved.since_ms,
            "until_ms": reserved.until_ms,
        },
    }


def run_json(place: Place, records: list[Record]) -> dict[str, Any]:
    """One run: its facts and its timeline."""
    run = place.run
    granted, ended = run.get("granted_at_ms"), run.get("ended_at_ms")
    began = granted or run.get("observed_at_ms")
    return {
        "task_id": place.task_id,
        "run": run["run"],
        "state": str(place.state),
        "message": place.message,
        "machines": [machine.as_json() for machine in place.machines],
        "info": dict(info_of(run)),
        "priority": run.get("priority", 0),
        "requested_at_ms": run.get("requested_at_ms"),
        "granted_at_ms": granted,
        "ended_at_ms": ended,
        "waited_ms": place.waited_ms if run.get("requested_at_ms") else None,
        "held_ms": (ended or place.now_ms) - began if began else None,
        "started_oct_ms": run.get("started_oct_ms"),
        "ended_oct_ms": run.get("ended_oct_ms"),
        "cause": run.get("cause"),
        "reason": place.reason,
        "paused": bool(run.get("paused")),
        "timeline": records,
    }


def run_of(gate: Services, task_id: str) -> dict[str, Any] | None:
    """One run by its task, None if nobody has heard of it."""
    place = gate.board.place(task_id)
    if place is None:
        return None
    found = run_json(place, gate.timeline.newest(Filter(task_id=place.task_id), limit=RUN_RECORDS))
    return {**found, "unseen": gate.unseen.why(place.task_id)}


def last_runs(gate: Services, machine_id: str) -> list[dict[str, Any]]:
    """The last runs of a machine, newest first, each without its timeline."""
    tasks: dict[str, None] = {}
    for record in reversed(gate.timeline.newest(Filter(machine_id=machine_id), limit=20 * LAST_RUNS)):
        if record.task_id and len(tasks) < LAST_RUNS:
            tasks.setdefault(record.task_id)
    places = (gate.board.place(task) for task in tasks)
    return [run_json(place, []) for place in places if place]
