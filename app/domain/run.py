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
    """

    task_id: str
    info: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    timeout: timedelta | None = None
    parked: bool = False
