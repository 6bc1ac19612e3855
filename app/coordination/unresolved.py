"""Which observed runs have machines that nobody knows yet, and when to ask for each of them again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.coordination.connection import Client
from app.coordination.keys import Keys
from app.coordination.scripts import translated

#: How long the number of failures of a run is remembered.
_MEMORY = timedelta(days=1)


class Unresolved:
    """The runs to resolve. A run is claimed before Octopus is asked, so that two workers do not ask twice.

    All methods raise `StoreError`.
    """

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def tasks(self) -> list[str]:
        """Their task ids, oldest first."""
        with translated():
            members: list[Any] = self._client.zrange(self._keys.unresolved, 0, -1)
        return [member.decode() for member in members]

    def any(self) -> bool:
        with translated():
            return bool(self._client.zcard(self._keys.unresolved))

    def claim(self, task_id: str, lease: timedelta) -> bool:
        """Whether it is this caller's turn for the run: nobody has claimed it, and it does not back off."""
        with translated():
            return bool(self._client.set(self._claim(task_id), 1, nx=True, px=lease))

    def give_back(self, task_id: str) -> None:
        """End the claim on a run that is resolved, or no longer to be."""
        with translated():
            self._client.delete(self._claim(task_id), self._failures(task_id))

    def failed(self, task_id: str) -> int:
        """How often in a row the run could not be resolved, this time included."""
        with translated():
            with self._client.pipeline(transaction=True) as pipe:
                pipe.incr(self._failures(task_id))
                pipe.pexpire(self._failures(task_id), _MEMORY)
                return int(pipe.execute()[0])

    def put_off(self, task_id: str, pause: timedelta) -> None:
        """Let nobody claim the run for *pause*."""
        with translated():
            self._client.set(self._claim(task_id), 1, px=pause)

    def _claim(self, task_id: str) -> str:
        return self._keys.named("resolving:") + task_id.lower()

    def _failures(self, task_id: str) -> str:
        return self._keys.named("resolve-failures:") + task_id.lower()
