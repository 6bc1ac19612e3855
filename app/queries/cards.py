"""A machine as the pages show it: what the API says of it, and what only people want to see."""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.coordination.snapshot import Machine
from app.queries.views import machine_json


def card(machine: Machine) -> dict[str, Any]:
    """``shares`` of a holder: others of its family hold it, too; ``parked`` of a waiter: it uses no task slot."""
    found = machine_json(machine)
    families = Counter(held.family for held in machine.holders)
    holders = [
        {**shown, "shares": bool(held.family) and families[held.family] > 1}
        for shown, held in zip(found["holders"], machine.holders, strict=True)
    ]
    line = [
        {**shown, "parked": bool(waiter.record.get("parked"))}
        for shown, waiter in zip(found["line"], machine.line, strict=True)
    ]
    return {**found, "holders": holders, "line": line}
