"""From what the scripts keep in Redis, and answer, to values: nobody else reads these fields by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from app.domain.run import Rebuilt, Refusal, RunState, State
from app.domain.run_info import RunInfo
from app.domain.status import Holder, MachinePlace, RunStatus

_FIELDS = frozenset(field.name for field in fields(RunState))


def decode_run(raw: bytes | str) -> RunState:
    """A run from its record, as lua/lib/runs.lua lists its fields; those of a newer version are left out."""
    return run_state(json.loads(raw))


def run_state(record: Mapping[str, Any]) -> RunState:
    """The same from the record as JSON values."""
    known = {name: value for name, value in record.items() if name in _FIELDS and value is not None}
    known["state"] = State(record["state"])
    known["info"] = RunInfo.from_json(record.get("info"))
    for name in ("machines", "presumed", "planned"):
        # Lua writes an empty list as {}.
        known[name] = tuple(known.get(name) or ())
    if rebuilt := known.get("rebuilt"):
        known["rebuilt"] = Rebuilt(rebuilt["raised_ms"], rebuilt["has_terms"])
    if refusal := known.get("refusal"):
        known["refusal"] = Refusal(**{**refusal, "circle": tuple(refusal.get("circle") or ())})
    # Runs that joined before it was kept in the run have it among what people are shown.
    known.setdefault("on_behalf_of", known["info"].on_behalf_of)
    return RunState(**known)


def decode_holder(kind: str, raw: bytes | str) -> Holder:
    """A holder from the record of its run, of a reservation, or of the rebuilding."""
    if kind not in ("rebuilding", "reservation"):
        return holder_of(kind, decode_run(raw))
    record = json.loads(raw)
    return Holder(
        kind, None, record["since_ms"], note=record.get("note"), until_ms=record.get("until_ms"), by=record.get("by")
    )


def holder_of(kind: str, run: RunState) -> Holder:
    """The run as somebody who makes a machine busy: ``lease``, ``observed`` or ``provisional``."""
    since = run.granted_at_ms or run.observed_at_ms or 0
    if kind == "provisional":
        since = run.provisional_at_ms or 0
    return Holder(kind, run.id, since, run.info, paused=run.paused, family=run.family)


def decode_view(answer: Sequence[Any], *, is_new: bool = False) -> RunStatus:
    """A run as lua/lib/view.lua answers it, behind the word."""
    return RunStatus(
        run=decode_run(answer[0]),
        now_ms=answer[1],
        machines=tuple(_machine(entry) for entry in answer[2:]),
        is_new=is_new,
    )


def _machine(entry: Sequence[Any]) -> MachinePlace:
    machine_id, known, place, holders, ahead = entry
    pairs = zip(holders[::2], holders[1::2], strict=True)
    return MachinePlace(
        id=machine_id.decode(),
        name=json.loads(known).get("name") or machine_id.decode(),
        place=place,
        holders=tuple(decode_holder(kind.decode(), record) for kind, record in pairs),
        ahead=tuple(task.decode() for task in ahead),
    )
