"""Projects whose step scripts are of before claims: nobody can tell whether a call of theirs is late."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: How long a project is told of whose steps have not asked since.
TOLD_FOR = timedelta(days=30)


@dataclass(frozen=True)
class OldStep:
    """A project whose last step that asked was of before claims, and when that was."""

    project_id: str
    project: str | None
    space_id: str | None
    at_ms: int


class OldSteps:
    """Reads what ``lua/join.lua`` notes of each project."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def projects(self, now_ms: int) -> list[OldStep]:
        """Those that asked last with an old script, the latest first; forgets who has not asked for long."""
        with redis_errors():
            noted: Any = self._client.hgetall(self._keys.old_steps)
        first_ms = now_ms - TOLD_FOR // timedelta(milliseconds=1)
        steps, over = [], []
        for field, raw in noted.items():
            record = json.loads(raw)
            if record["at_ms"] < first_ms:
                over.append(field)
            else:
                project = record["project"]
                steps.append(OldStep(project["id"], project.get("name"), record.get("space_id"), record["at_ms"]))
        if over:
            with redis_errors():
                self._client.hdel(self._keys.old_steps, *over)
        return sorted(steps, key=lambda step: -step.at_ms)
