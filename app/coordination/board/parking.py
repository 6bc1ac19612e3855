"""The parked waits of the board: their interventions, answered or put off."""

from __future__ import annotations

from datetime import timedelta

from app.coordination.board.base import BoardScripts, milliseconds, version_of
from app.coordination.encode import compact_json
from app.domain.status import RunStatus


class ParkingVerbs(BoardScripts):
    """Keeps what became of the interventions of parked runs."""

    def answered(self, task_id: str, cause: str, *, seen: RunStatus | None = None, **detail: str | None) -> str:
        """Note that the intervention of a parked run has been answered, or will not be any more.

        Args:
            cause: ``octowait``, ``by_hand`` or ``task_ended``.
            detail: *result* (``Proceed`` or ``Abort``; not where the task has ended), *interruption*, *by*.

        Returns:
            ``answered``, ``overridden`` when it was let go on without a lease: it is observed now, or ``late``.

        Source: lua/answered.lua.
        """
        known_detail = {name: value for name, value in detail.items() if value is not None}
        return self._word("answered", task_id, cause, compact_json(known_detail), version_of(seen))

    def put_off(self, task_id: str, pause: timedelta, *, why: str = "", refused: bool = False) -> str:
        """Try later to answer the intervention of a parked run: ``put_off`` or ``late``.

        Args:
            why: For the timeline; empty where it was said before.
            refused: It is not octowait's to answer: a person is needed.

        Source: lua/put_off.lua.
        """
        return self._word("put_off", task_id, milliseconds(pause), why, "refused" if refused else "")

    def remind(self, seen: RunStatus) -> str:
        """Have the intervention of a granted parked run answered, which is still pending: ``reminded`` or ``late``.

        Source: lua/remind.lua.
        """
        return self._word("remind", seen.task_id, version_of(seen))

    def give_way(self, seen: RunStatus, *, interruption: str) -> str:
        """Take back the machines of a run that is paused for *interruption*: ``gave_way`` or ``late``.

        Source: lua/give_way.lua.
        """
        return self._word("give_way", seen.task_id, version_of(seen), compact_json({"interruption": interruption}))
