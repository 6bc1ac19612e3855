"""Decoding of what scripts keep and answer into values: nobody else reads these fields by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import Any

from app.domain.run import Rebuilt, Refusal, RunState, State
from app.domain.run_info import RunInfo
from app.domain.status import Holder, MachinePlace, RunStatus

#: The values of the fields that a record does not have.
_DEFAULTS = {field.name: field.default for field in fields(RunState) if field.default is not MISSING}


def decode_run(raw: bytes | str) -> RunState:
    """A run from its record, as lua/lib/runs.lua lists its fields; those of a newer version are left out."""
    return run_state(json.loads(raw))


def run_state(record: Mapping[str, Any]) -> RunState:
    """The same from the record as JSON values."""
    known = {name: value for name, value in record.items() if name in _DEFAULTS and value is not None}
    known["id"], known["state"] = record["id"], State(record["state"])
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
    # The initializer of a frozen dataclass of so many fields takes longer than all the rest of this.
    run = object.__new__(RunState)
    vars(run).update(_DEFAULTS, **known)
    return run


@lru_cache(maxsize=512)
def decode_holder(kind: str, raw: bytes | str) -> Holder:
    """A holder from the record of its run, of a reservation, or of the rebuilding.

    One run often holds many of the machines that another one wants, so the last few are kept.
    """
    record = json.loads(raw)
    if kind in ("rebuilding", "reservation"):
        return Holder(
            kind, None, record["since_ms"], note=record.get("note"), until_ms=record.get("until_ms"),
            by=record.get("by"),
        )  # fmt: skip
    return _holder(kind, record, RunInfo.from_json(record.get("info")))


def holder_of(kind: str, run: RunState) -> Holder:
    """The run as somebody who makes a machine busy: ``lease``, ``observed`` or ``provisional``."""
    return _holder(kind, vars(run), run.info)


def _holder(kind: str, run: Mapping[str, Any], info: RunInfo) -> Holder:
    since = run.get("granted_at_ms") or run.get("observed_at_ms") or 0
    if kind == "provisional":
        since = run.get("provisional_at_ms") or 0
    return Holder(kind, run["id"], since, info, paused=bool(run.get("paused")), family=run.get("family"))


def decode_view(answer: Sequence[Any], *, is_new: bool = False) -> RunStatus:
    """A run as lua/lib/view.lua answers it, behind the word."""
    run, now_ms, records, *entries = answer
    return RunStatus(
        run=decode_run(run),
        now_ms=now_ms,
        machines=tuple(_machine(entry, records) for entry in entries),
        is_new=is_new,
    )


@lru_cache(maxsize=2048)
def _name_in(record: bytes) -> str | None:
    """The name in the record of a machine, of which those that many wait for are kept."""
    name: str | None = json.loads(record).get("name")
    return name


def _machine(entry: Sequence[Any], records: Sequence[bytes]) -> MachinePlace:
    machine_id, known, place, holders_count, holders, ahead = entry
    pairs = zip(holders[::2], holders[1::2], strict=True)
    return MachinePlace(
        id=machine_id.decode(),
        name=_name_in(known) or machine_id.decode(),
        place=place,
        holders=tuple(decode_holder(kind.decode(), records[number - 1]) for kind, number in pairs),
        ahead=tuple(task.decode() for task in ahead),
        holders_in_all=holders_count,
    )
