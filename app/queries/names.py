"""Display names of the things whose ids the timeline has."""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.wording import Names
from app.services import Services


def names_of(services: Services, *, tasks: Iterable[str], machines: Iterable[str]) -> Names:
    """The names of these tasks and machines, as far as they are still known.

    Raises:
        StoreError: Redis could not do it.
    """
    runs = services.registry.runs(tasks)
    return Names(
        runs={task: run.info.of(run.id) for task, run in runs.items()},
        machines=services.registry.machine_names(machines),
        urls={task: run.info.url for task, run in runs.items() if run.info.url},
        projects={task: name for task, run in runs.items() if (name := run.info.project_name)},
        environments={task: name for task, run in runs.items() if (name := run.info.environment_name)},
    )
