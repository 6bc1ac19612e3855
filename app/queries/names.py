"""What people call the things whose ids the timeline has."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from app.coordination.board import info_of
from app.domain.narrative import Names
from app.domain.status import describe_info, name_of
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import translated


def names_of(client: Client, keys: Keys, *, tasks: Iterable[str], machines: Iterable[str]) -> Names:
    """The names of these tasks and machines, as far as they are still known.

    Raises:
        StoreError: Redis could not do it.
    """
    runs = _values(client, keys.runs, tasks)
    infos = {task: info_of(run) for task, run in runs.items()}
    return Names(
        runs={task: f"{runs[task]['id']}{describe_info(info)}" for task, info in infos.items()},
        machines={
            name: found.get("name") or found["id"] for name, found in _values(client, keys.machines, machines).items()
        },
        urls={task: str(info["url"]) for task, info in infos.items() if info.get("url")},
        projects={task: name for task, info in infos.items() if (name := name_of(info, "project"))},
        environments={task: name for task, info in infos.items() if (name := name_of(info, "environment"))},
    )


def machine_named(client: Client, keys: Keys, text: str) -> str | None:
    """The id of the machine whose id or whose name this is, whatever its case; None if there is none.

    Raises:
        StoreError: Redis could not do it.
    """
    with translated():
        raws: Any = client.hvals(keys.machines)
    wanted, machines = text.lower(), [json.loads(raw) for raw in raws]
    for field in ("id", "name"):
        for machine in machines:
            if str(machine.get(field) or "").lower() == wanted:
                return str(machine["id"])
    return None


def _values(client: Client, key: str, ids: Iterable[str]) -> dict[str, Any]:
    wanted = sorted({name.lower() for name in ids})
    with translated():
        raws: Any = client.hmget(key, wanted) if wanted else []
    return {name: json.loads(raw) for name, raw in zip(wanted, raws, strict=True) if raw}
