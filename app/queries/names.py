"""What people call the things whose ids the timeline has."""

from __future__ import annotations

from collections.abc import Iterable

from app.coordination.board import info_of
from app.domain.status import describe_info, name_of
from app.domain.wording import Names
from app.services import Services


def names_of(services: Services, *, tasks: Iterable[str], machines: Iterable[str]) -> Names:
    """The names of these tasks and machines, as far as they are still known.

    Raises:
        StoreError: Redis could not do it.
    """
    runs = services.registry.runs(tasks)
    infos = {task: info_of(run) for task, run in runs.items()}
    return Names(
        runs={task: f"{runs[task]['id']}{describe_info(info)}" for task, info in infos.items()},
        machines=services.registry.machine_names(machines),
        urls={task: str(info["url"]) for task, info in infos.items() if info.get("url")},
        projects={task: name for task, info in infos.items() if (name := name_of(info, "project"))},
        environments={task: name for task, info in infos.items() if (name := name_of(info, "environment"))},
    )
