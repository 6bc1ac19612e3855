"""Admission: whether the board grants at all, reservations, and the sweep that ends what is due."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.coordination.board.base import BoardScripts, milliseconds
from app.coordination.encode import compact_json
from app.domain.durations import format_moment
from app.domain.errors import InThePast
from app.domain.ids import checked_id
from app.store.scripts import redis_errors

#: Machines that are looked at in one script.
MACHINES_AT_ONCE = 500


@dataclass(frozen=True)
class Swept:
    """What a sweep found."""

    #: More is due than one sweep ends.
    more: bool
    #: Parked runs wait for their intervention to be answered.
    resumes: bool
    #: Why the board is closed, so that nobody is granted (rules 15 and 24); None while it is open.
    closed_cause: str | None
    closed_ms: int
    closed_for: timedelta
    #: Changes that Redis has lost, at least; 0 where it is not older, or that is not known.
    lost: int
    #: In a roll call, those who serve and have not spoken yet.
    missing: int
    #: This sweep is the first after a time in which nobody served.
    had_outage: bool

    @property
    def is_closed(self) -> bool:
        return self.closed_cause is not None


class AdmissionVerbs(BoardScripts):
    """Closes the board, reserves machines, and sweeps."""

    def close(self, *, by: str, reason: str | None = None) -> bool:
        """Grant nobody until `open`; False if it was closed. Source: lua/close.lua."""
        detail = compact_json({"by": by, **({"reason": reason} if reason else {})})
        return self._word("close", detail, "operator", "") == "closed"

    def closed_since_ms(self) -> int | None:
        """Since when nobody is granted (rule 15); None while the board is open."""
        with redis_errors():
            opened, closed = self._client.hmget(self._keys.counters, ["opened_at", "closed_at"])
        return None if opened else int(closed or self.now_ms())

    def settling_since_ms(self) -> int | None:
        """Since when steps that wait have been able to show life to a closed board: it was closed then, or octowait was
        away until then; None while the board is open.
        """
        closed_ms = self.closed_since_ms()
        with redis_errors():
            outage: Any = self._client.hget(self._keys.counters, "outage_at")
        return closed_ms and max(closed_ms, int(outage or 0))

    def leave(self) -> None:
        """Serve no longer: what this process has seen is kept, and no roll call waits for it. Not a script."""
        self.script.witness.keep()
        with redis_errors():
            self._client.zrem(self._keys.processes, self.script.witness.process)

    def reserve(self, machine_id: str, *, note: str, by: str, until_ms: int | None = None) -> Mapping[str, Any]:
        """Grant the machine to nobody new until *until_ms*, or until `unreserve`: the reservation.

        Raises:
            InThePast: *until_ms* has passed.

        Source: lua/reserve.lua.
        """
        wish = {"note": note, "by": by, **({"until_ms": until_ms} if until_ms is not None else {})}
        word, answer = self.script("reserve", checked_id(machine_id, "machine"), compact_json(wish))
        if word == b"past":
            raise InThePast(
                f"the end of the reservation, {format_moment(until_ms or 0)} UTC, has passed: it is "
                f"{format_moment(int(answer))} UTC now"
            )
        reservation: Mapping[str, Any] = json.loads(answer)
        return reservation

    def unreserve(self, machine_id: str, *, by: str) -> bool:
        """End the machine's reservation; False if there was none. Source: lua/unreserve.lua."""
        return bool(self.script("unreserve", machine_id, by)[0] == b"unreserved")

    def sweep(self, *, serving: bool = False) -> Swept:
        """End what is due and forget what is older than the retention.

        Args:
            serving: This is the sweep of a process that serves waiters, so a long gap since the last was an outage.

        Source: lua/sweep.lua.
        """
        retention = milliseconds(self.policy.retention)
        answer = self.script("sweep", int(serving), retention, self.policy.replicas, self.script.witness.process)
        _, due, resumes, door, closed_ms, closed_for, lost, missing, outage = answer
        cause = None if door == b"open" else door.decode()
        for_so_long = timedelta(milliseconds=closed_for)
        return Swept(due > 0, resumes > 0, cause, closed_ms, for_so_long, lost, missing, outage == b"outage")

    def forget_machines(self) -> int:
        """Forget the machines that nobody holds, wants or has reserved, and no record has named within the retention.

        Returns:
            How many there were. It reads all machines, a share of them at a time.

        Source: lua/forget_machines.lua.
        """
        forgotten, retention = 0, milliseconds(self.policy.retention)
        with redis_errors():
            machines = list(self._client.hscan_iter(self._keys.machines, count=MACHINES_AT_ONCE))
        for at in range(0, len(machines), MACHINES_AT_ONCE):
            batch = [machine.decode() for machine, _ in machines[at : at + MACHINES_AT_ONCE]]
            forgotten += self.script("forget_machines", compact_json(batch), retention)[1]
        return forgotten
