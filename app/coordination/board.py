"""The board: who waits for which machine, who holds it, and every change of that in one atomic step."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.coordination.connection import Client
from app.coordination.keys import Keys
from app.coordination.scripts import Scripts, translated
from app.domain.errors import GateError, HoldsOthers, InThePast, NoMachines, NotWaiting, UnknownRun
from app.domain.events import Event
from app.domain.ids import checked_id, distinct_ids
from app.domain.place import Holder, MachinePlace, Place, State
from app.domain.run import MAX_PRIORITY, Run


@dataclass(frozen=True)
class Policy:
    """How the gate behaves where a setting decides."""

    waiter_ttl: timedelta = timedelta(seconds=60)
    max_hold: timedelta | None = None
    paused_holds: bool = True
    clock_tolerance: timedelta = timedelta(seconds=5)
    retention: timedelta = timedelta(days=90)


class Board:
    """Joins, polls, releases, observes and ends runs.

    Every method is one script on Redis unless it says otherwise. All raise `StoreError` when Redis cannot do it.

    Args:
        client: For the scripts.
        blocking: A client without a time-out, for `wait`.
        offset_ms: What the clock is ahead of the server's; tests move it.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str = "default",
        policy: Policy | None = None,
        blocking: Client | None = None,
        offset_ms: int = 0,
    ) -> None:
        self.client = client
        self.keys = Keys(namespace)
        self.policy = policy or Policy()
        self._blocking = blocking or client
        self.script = Scripts(client, self.keys, offset_ms=offset_ms)

    def join(self, run: Run, machines: Collection[str], *, ttl: timedelta | None = None) -> Place:
        """Ask for a lease on all of *machines*, or a place in their lines; never for some of them.

        Asking again for the same run returns the same place and counts as a sign of life.

        Args:
            machines: At least one, e.g. ``{"Machines-7", "Machines-12"}``.
            ttl: How long the waiter stays in line without a further sign of life; the policy's by default.

        Raises:
            NoMachines: *machines* is empty.
            HoldsOthers: the run waits for or holds other machines; it must release first.
            InvalidId: an id is not of the form Octopus gives.

        Source: lua/join.lua.
        """
        if not machines:
            raise NoMachines(f"{run.task_id} asked for no machine: expected at least one, e.g. Machines-7")
        asked = distinct_ids([checked_id(machine, "machine") for machine in machines])
        request = {
            "machines": asked,
            "info": {name: value for name, value in run.info.items() if value is not None},
            "priority": _checked_priority(run.priority),
            "ttl_ms": _ms(ttl or self.policy.waiter_ttl),
            **({"timeout_ms": _ms(run.timeout)} if run.timeout else {}),
            **({"max_hold_ms": _ms(self.policy.max_hold)} if self.policy.max_hold else {}),
            **({"parked": True} if run.parked else {}),
        }
        word, *rest = self.script("join", checked_id(run.task_id, "task"), _json(request))
        if word == b"holds_others":
            held = json.loads(rest[1])
            verb = "holds" if held["state"] == "granted" else "waits for"
            raise HoldsOthers(
                f"{held['id']} {verb} {', '.join(held['machines'])}: release before asking for {rest[0].decode()}"
            )
        return _place(rest, is_new=word == b"joined")

    def poll(self, task_id: str) -> Place | None:
        """The run as it stands, asked by its own step: a sign of life, and a grant counts as collected."""
        return self._view(task_id, "poll")

    def place(self, task_id: str) -> Place | None:
        """The run as it stands, asked by anybody; None if nobody has heard of it. Source: lua/poll.lua."""
        return self._view(task_id, "look")

    def _view(self, task_id: str, who: str) -> Place | None:
        word, *rest = self.script("poll", task_id, who)
        return _place(rest) if word == b"run" else None

    def wait(self, task_id: str, *, timeout: timedelta) -> Place | None:
        """Block on Redis until the run waits no longer, at most *timeout*; the run as it stands then.

        A wake is a hint: what counts is what the script says after it. Many scripts, one at least every half TTL.
        """
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            place = self.poll(task_id)
            left = deadline - time.monotonic()
            if place is None or not place.is_waiting or left <= 0:
                return place
            slice_seconds = min(left, place.run["ttl_ms"] / 2000, 45.0)
            with translated():
                self._blocking.blpop([self.keys.wake(place.task_id)], timeout=max(0.01, slice_seconds))

    def release(
        self,
        task_id: str,
        *,
        cause: str = "step",
        by: str | None = None,
        reason: str | None = None,
        seen: Place | None = None,
    ) -> str:
        """Give back what the run holds, or take it out of its lines: ``released``, ``left`` or ``nothing``.

        Args:
            cause: ``step``, ``forced`` or ``reconciled``.
            seen: The run as it was when this was decided; if it has moved on since, nothing happens.

        Source: lua/release.lua.
        """
        detail = {**({"by": by} if by else {}), **({"reason": reason} if reason else {})}
        asked = seen and f"{seen.state} {seen.run['run']} {seen.run.get('asked_at_ms', 0)}"
        return str(self.script("release", task_id, cause, _json(detail), asked or "")[0], "ascii")

    def deliver(self, event: Event) -> str:
        """Apply one event of Octopus.

        Returns:
            ``applied``, ``unresolved`` (applied, and its machines are to be found out), ``ignored``, ``duplicate``, or
            ``unlinked``: only Octopus can say which task it is about, or ``implausible``: it says that it occurred more
            than a day from now; neither was remembered.

        Source: lua/deliver.lua.
        """
        tolerance = _ms(self.policy.clock_tolerance)
        return str(self.script("deliver", event.key, event.as_json(), tolerance, self._paused_holds)[0], "ascii")

    def observe(self, task_id: str, machines: Iterable[Mapping[str, str]], *, info: Mapping[str, Any]) -> str:
        """Make the machines of a started run busy: ``observed``, or ``late`` when that is no longer to be done.

        Args:
            machines: ``{"id": …, "name": …}`` each.

        Source: lua/observe.lua.
        """
        answer = self.script("observe", task_id, _json(list(machines)), _json(dict(info)), self._paused_holds)
        return str(answer[0], "ascii")

    @property
    def _paused_holds(self) -> str:
        return "1" if self.policy.paused_holds else "0"

    def reserve(self, machine_id: str, *, note: str, by: str, until_ms: int | None = None) -> Mapping[str, Any]:
        """Grant the machine to nobody new until *until_ms*, or until `unreserve`: the reservation.

        Raises:
            InThePast: *until_ms* has passed.

        Source: lua/reserve.lua.
        """
        wish = {"note": note, "by": by, **({"until_ms": until_ms} if until_ms is not None else {})}
        word, answer = self.script("reserve", checked_id(machine_id, "machine"), _json(wish))
        if word == b"past":
            raise InThePast(f"until_ms {until_ms} has passed: it is {answer} now")
        reservation: Mapping[str, Any] = json.loads(answer)
        return reservation

    def unreserve(self, machine_id: str, *, by: str) -> bool:
        """End the machine's reservation; False if there was none. Source: lua/unreserve.lua."""
        return bool(self.script("unreserve", machine_id, by)[0] == b"unreserved")

    def prioritize(self, task_id: str, priority: int, *, by: str, reason: str) -> Place:
        """Move a waiting run; among equals it keeps its arrival.

        Raises:
            UnknownRun: nobody has heard of it.
            NotWaiting: it waits no longer.

        Source: lua/prioritize.lua.
        """
        why = _json({"by": by, "reason": reason})
        word, *rest = self.script("prioritize", task_id, _checked_priority(priority), why)
        if word == b"unknown":
            raise UnknownRun(f"{task_id} is unknown: expected a run that waits")
        if word == b"not_waiting":
            raise NotWaiting(f"{task_id} is {rest[0].decode()}: expected a run that waits")
        return _place(rest)

    def sweep(self, *, serving: bool = False) -> bool:
        """End what is due and forget what is older than the retention; whether more is due.

        Args:
            serving: This is the sweep of a process that serves waiters, so a long gap since the last was an outage.

        Source: lua/sweep.lua.
        """
        retention = _ms(self.policy.retention)
        return bool(self.script("sweep", int(serving), retention)[1] > 0)

    def keep(self, body: str, reason: str) -> None:
        """Keep the body of a delivery that could not be applied, for an operator; the last 1,000 stay."""
        with translated():
            self.client.xadd(self.keys.kept, {"reason": reason, "body": body}, maxlen=1000, approximate=False)

    def forget_kept(self, kept_id: str) -> bool:
        """Keep that delivery no longer; False if it was not kept."""
        with translated():
            return bool(self.client.xdel(self.keys.kept, kept_id))

    def kept(self) -> list[dict[str, Any]]:
        """What `keep` kept, newest first: ``{"id", "at_ms", "reason", "body"}``."""
        with translated():
            entries: Any = self.client.xrevrange(self.keys.kept)
        return [
            {"id": i.decode(), "at_ms": int(i.split(b"-")[0]), **{k.decode(): v.decode() for k, v in fields.items()}}
            for i, fields in entries
        ]


def holder(kind: str, record: Mapping[str, Any]) -> Holder:
    """A holder from a run's record or a reservation's, as lua/lib.lua keeps them."""
    if kind == "reservation":
        return Holder(kind, None, record["since_ms"], {}, record["note"], record.get("until_ms"), record["by"])
    since = record.get("granted_at_ms") or record.get("observed_at_ms") or 0
    return Holder(kind, record["id"], since, info_of(record), paused=bool(record.get("paused")))


def info_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A run's info; Lua writes an empty table as ``{}`` whether it was a list or not."""
    info: Mapping[str, Any] = record.get("info") or {}
    return info


def _place(answer: list[Any], *, is_new: bool = False) -> Place:
    record = json.loads(answer[0])
    return Place(
        task_id=record["id"],
        state=State(record["state"]),
        run=record,
        now_ms=answer[1],
        machines=tuple(_machine(entry) for entry in answer[2:]),
        is_new=is_new,
    )


def _machine(entry: list[Any]) -> MachinePlace:
    machine_id, known, place, holders, ahead = entry
    pairs = zip(holders[::2], holders[1::2], strict=True)
    return MachinePlace(
        id=machine_id.decode(),
        name=json.loads(known).get("name") or machine_id.decode(),
        place=place,
        holders=tuple(holder(kind.decode(), json.loads(record)) for kind, record in pairs),
        ahead=tuple(task.decode() for task in ahead),
    )


def _checked_priority(priority: int) -> int:
    # Its digits are part of the order in a line: one more of them and nobody could read that line again.
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise GateError(f"priority {priority}: expected {-MAX_PRIORITY} to {MAX_PRIORITY}")
    return priority


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
