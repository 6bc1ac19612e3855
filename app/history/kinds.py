"""The kinds of runs, by which they are compared with earlier ones, with the cache of one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from app.domain.eta import Kind
from app.domain.run import RunState

#: Seconds after which what a run wants is read again.
KIND_SECONDS = 60.0

#: Entries of the cache of runs (0.3 KB each); a full one is emptied.
MOST_KINDS = 20_000


class Kinds:
    """The kinds of runs.

    Args:
        runs: The runs of those task ids that are known, by task id in lower case.
    """

    def __init__(self, runs: Callable[[Iterable[str]], Mapping[str, RunState]]) -> None:
        self._runs = runs
        self._kinds: dict[str, tuple[float, Kind]] = {}

    def of(self, tasks: Iterable[str]) -> list[Kind]:
        """The kinds of these runs. Raises: StoreError."""
        task_ids = list(tasks)
        now = time.monotonic()
        # Others who ask empty the cache while the missing ones are read.
        kinds = {t: seen[1] for t in task_ids if (seen := self._kinds.get(t)) and now - seen[0] <= KIND_SECONDS}
        missing = [task for task in task_ids if task not in kinds]
        if missing:
            if len(self._kinds) >= MOST_KINDS:
                self._kinds.clear()
            runs = self._runs(missing)
            for task in missing:
                kinds[task] = Kind.of(runs.get(task.lower()))
                self._kinds[task] = (now, kinds[task])
        return [kinds[task] for task in task_ids]
