"""What a run asks of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

#: The farthest a priority can be from 0; the order in a line has ten digits for it.
MAX_PRIORITY = 1_000_000


@dataclass(frozen=True)
class Run:
    """One execution of a server task. *info* is shown to people: space_id, project, environment, release, tenant, url,
    deployment_id, runbook_run_id; the first four are ``{"id": …, "name": …}``, the release ``{"id": …, "version": …}``.
    machines_note says what Octopus does not tell of its machines, so that more of them are busy than perhaps need be.
    """

    task_id: str
    info: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    timeout: timedelta | None = None
    parked: bool = False
    #: The task id of the run that started this one; if that holds, this one shares its lease.
    on_behalf_of: str | None = None
    #: It waited before all was lost, and is put back in line.
    rebuilt: Rebuilt | None = None


@dataclass(frozen=True)
class Rebuilt:
    """What Octopus knows of a parked wait that was lost."""

    #: When its intervention was raised, by Octopus's clock.
    raised_ms: int
    #: Whether that says its time-out, priority and whom it runs for.
    has_terms: bool


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended, ``succeeded``, ``failed``, ``canceled`` or ``timedout``, and when by Octopus's clock."""

    outcome: str
    at_ms: int | None = None
