"""The board: who waits for which machine, who holds it, and every change of that in one atomic step."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from app.coordination.decode import decode_run, decode_view
from app.coordination.encode import batch_member, event_json
from app.domain.errors import ClosesCircle, GateError, HoldsOthers, InThePast, NoMachines, NotWaiting, UnknownRun
from app.domain.events import Event
from app.domain.ids import checked_id, distinct_ids
from app.domain.run import MAX_PRIORITY, RunRequest, State, TaskEnd
from app.domain.status import RunStatus, circle_words
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import Scripts, redis_errors


@dataclass(frozen=True)
class Policy:
    """How the gate behaves where a setting decides."""

    waiter_ttl: timedelta = timedelta(seconds=60)
    max_hold: timedelta | None = None
    paused_holds: bool = True
    clock_tolerance: timedelta = timedelta(seconds=5)
    retention: timedelta = timedelta(days=90)
    #: Tasks that Octopus runs at once; None if unknown.
    task_cap: int | None = None
    #: Of these, how many blocking waiters must leave to others.
    task_cap_reserve: int = 2
    #: How long the machines of an abandoned task stay busy: its script may still run.
    abandoned_grace: timedelta = timedelta()
    #: An API key is set, so that a worker finds out which machines a run uses.
    has_key: bool = False
    #: How long machines are presumed busy with a run of which nobody will know (rule 19).
    provisional: timedelta = timedelta(seconds=60)
    #: How long a run whose process comes with a step or a gate of ours is expected to ask.
    expect_step: timedelta = timedelta(seconds=120)


@dataclass(frozen=True)
class Swept:
    """What a sweep found."""

    #: More is due than one sweep ends.
    more: bool
    #: Parked runs wait for their intervention to be answered.
    resumes: bool
    #: The board is closed: nobody is granted (rule 15).
    is_closed: bool
    #: This sweep is the first after a time in which nobody served.
    had_outage: bool


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
        self._client = client
        self._keys = Keys(namespace)
        self.policy = policy or Policy()
        self._blocking = blocking or client
        self.script = Scripts(client, self._keys, offset_ms=offset_ms)

    def join(self, run: RunRequest, machines: Collection[str], *, ttl: timedelta | None = None) -> RunStatus:
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
            **({"on_behalf_of": run.on_behalf_of} if run.on_behalf_of else {}),
            **({"rebuilt": asdict(run.rebuilt)} if run.rebuilt else {}),
            **self._cap,
            **self._presumption,
        }
        word, *rest = self.script("join", checked_id(run.task_id, "task"), _json(request))
        if word == b"holds_others":
            held = decode_run(rest[1])
            verb = "holds" if held.state is State.GRANTED else "waits for"
            raise HoldsOthers(
                f"{held.id} {verb} {', '.join(held.machines)}: release before asking for {rest[0].decode()}"
            )
        return decode_view(rest, is_new=word == b"joined")

    @property
    def _cap(self) -> dict[str, int]:
        policy = self.policy
        return {"cap": policy.task_cap, "reserve": policy.task_cap_reserve} if policy.task_cap else {}

    @property
    def _presumption(self) -> dict[str, Any]:
        """How long machines are presumed busy; with an API key that is until the truth is known."""
        return {"has_key": True} if self.policy.has_key else {"hold_ms": _ms(self.policy.provisional)}

    def poll(self, task_id: str) -> RunStatus | None:
        """The run as it stands, asked by its own step: a sign of life, and a grant counts as collected."""
        return self._view(task_id, "poll")

    def place(self, task_id: str) -> RunStatus | None:
        """The run as it stands, asked by anybody; None if nobody has heard of it. Source: lua/poll.lua."""
        return self._view(task_id, "look")

    def _view(self, task_id: str, who: str) -> RunStatus | None:
        word, *rest = self.script("poll", task_id, who)
        return decode_view(rest) if word == b"run" else None

    def wait(self, task_id: str, *, timeout: timedelta) -> RunStatus | None:
        """Block on Redis until the run waits no longer, at most *timeout*; the run as it stands then.

        A wake is a hint: what counts is what the script says after it. Many scripts, one at least every half TTL.
        """
        deadline = time.monotonic() + timeout.total_seconds()
        while True:
            place = self.poll(task_id)
            left = deadline - time.monotonic()
            if place is None or not place.is_waiting or left <= 0:
                return place
            slice_seconds = min(left, place.run.ttl_ms / 2000, 45.0)
            with redis_errors():
                self._blocking.blpop([self._keys.wake(place.task_id)], timeout=max(0.01, slice_seconds))

    def release(
        self,
        task_id: str,
        *,
        cause: str = "step",
        by: str | None = None,
        reason: str | None = None,
        seen: RunStatus | None = None,
        ended: TaskEnd | None = None,
    ) -> str:
        """Give back what the run holds, or take it out of its lines.

        Args:
            cause: ``step``, ``forced`` or ``reconciled``.
            seen: The run as it was when this was decided; if it has moved on since, nothing happens.
            ended: How its task ended, for ``reconciled``.

        Returns:
            ``released``, ``left``, ``nothing``, or ``grace``: it will be released when the time for abandoned tasks is
            over.

        Source: lua/release.lua.
        """
        detail: dict[str, object] = {**({"by": by} if by else {}), **({"reason": reason} if reason else {})}
        if ended:
            detail |= {"outcome": ended.outcome, **({"ended_oct_ms": ended.at_ms} if ended.at_ms else {})}
        return self._word("release", task_id, cause, _json(detail), _version(seen), _ms(self.policy.abandoned_grace))

    def deliver(self, event: Event, *, via: str = "webhook") -> str:
        """Apply one event of Octopus.

        Args:
            via: Who brings it: ``webhook``, ``catch_up``, ``reconcile`` or ``rebuild``; all but the first are repairs.

        Returns:
            ``applied``, ``unresolved`` (applied, and its machines are to be found out), ``ignored``, ``duplicate``, or
            ``unlinked``: only Octopus can say which task it is about, or ``implausible``: it says that it occurred more
            than a day from now; neither was remembered.

        Source: lua/deliver.lua.
        """
        tolerance, grace = _ms(self.policy.clock_tolerance), _ms(self.policy.abandoned_grace)
        batch = batch_member(event.batch)
        start = {**self._presumption, "expect_ms": _ms(self.policy.expect_step)}
        return self._word(
            "deliver", event.key, event_json(event), tolerance, self._paused_holds, via, batch, grace, _json(start)
        )  # fmt: skip

    def observe(
        self, task_id: str, machines: Iterable[Mapping[str, str]], *, info: Mapping[str, Any], is_full: bool = True,
        expects_step: bool = False,
    ) -> str:  # fmt: skip
        """Make the machines of a started run busy (rule 8), or of one that works on after its wait was over.

        Args:
            machines: ``{"id": …, "name": …}`` each.
            is_full: They are all of its process there; the next run of that is presumed to use the same (rule 19).
            expects_step: A step or gate of ours comes first in its process, so it is about to ask.

        Returns:
            ``observed``; ``expected``: it holds nothing until `Policy.expect_step` is over; or ``late`` when it has
            ended, waits or holds a lease by now.

        Source: lua/observe.lua.
        """
        plan = {"is_full": is_full, "expects_step": expects_step, "expect_ms": _ms(self.policy.expect_step)}
        return self._word(
            "observe", task_id, _json(list(machines)), _json(dict(info)), self._paused_holds, _json(plan)
        )  # fmt: skip

    def presume(self, task_id: str, machine_ids: Iterable[str]) -> str:
        """Make machines busy that a run certainly uses, while it is not known whether it uses more.

        Returns:
            ``presumed``; ``known``: they are already; or ``late``: all its machines are known by now.

        Source: lua/presume.lua.
        """
        return self._word("presume", task_id, _json(distinct_ids(list(machine_ids))))

    def refuse_plan(self, task_id: str) -> str:
        """Octopus will never say which machines a run uses: presume that no longer than `Policy.provisional`.

        Returns:
            ``noted``, or ``late`` when nothing is presumed of it, or that has its end already.

        Source: lua/refuse_plan.lua.
        """
        return self._word("refuse_plan", task_id, _ms(self.policy.provisional))

    def name(self, task_id: str, info: Mapping[str, Any], machines: Iterable[Mapping[str, str]]) -> str:
        """Remember what people call the things of a run whose ids are known already: ``named`` or ``unknown``.

        Args:
            info: Those of `RunRequest.info` that have a name or version by now, with their ids.
            machines: ``{"id": …, "name": …}`` each.

        Source: lua/name.lua.
        """
        return self._word("name", task_id, _json(dict(info)), _json(list(machines)))

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

    def prioritize(self, task_id: str, priority: int, *, by: str, reason: str) -> RunStatus:
        """Move a waiting run; among equals it keeps its arrival.

        Raises:
            UnknownRun: nobody has heard of it.
            NotWaiting: it waits no longer.
            ClosesCircle: it would then wait for itself.

        Source: lua/prioritize.lua.
        """
        why = _json({"by": by, "reason": reason})
        word, *rest = self.script("prioritize", task_id, _checked_priority(priority), why)
        if word == b"unknown":
            raise UnknownRun(f"{task_id} is unknown: expected a run that waits")
        if word == b"not_waiting":
            raise NotWaiting(f"{task_id} is {rest[0].decode()}: expected a run that waits")
        if word == b"circle":
            raise ClosesCircle(
                f"{task_id} with priority {priority} would wait for itself: {circle_words(json.loads(rest[0]))}"
            )
        return decode_view(rest)

    def open(
        self, cause: str, *, by: str | None = None, reason: str | None = None, found: int | None = None,
        closed_ms: int | None = None,
    ) -> bool:  # fmt: skip
        """Grant again, those who came since it was closed in the order in which Octopus started them (rule 15).

        Args:
            cause: ``rebuilt``, ``no_api_key``, ``operator`` or ``test``.
            found: Runs that the rebuild found.
            closed_ms: `closed_since_ms` before the rebuild began; if it was closed anew since, nothing happens.

        Returns:
            False if it was open, or has been closed anew.

        Source: lua/open.lua.
        """
        detail = {k: v for k, v in (("by", by), ("reason", reason), ("found", found)) if v is not None}
        return self._word("open", cause, _json(detail), "" if closed_ms is None else closed_ms) == "opened"

    def close(self, *, by: str, reason: str | None = None) -> bool:
        """Grant nobody until `open`; False if it was closed. Source: lua/close.lua."""
        return self._word("close", _json({"by": by, **({"reason": reason} if reason else {})})) == "closed"

    def answered(self, task_id: str, cause: str, *, seen: RunStatus | None = None, **detail: str | None) -> str:
        """Note that the intervention of a parked run has been answered, or will not be any more.

        Args:
            cause: ``octowait``, ``by_hand`` or ``task_ended``.
            detail: *result* (``Proceed`` or ``Abort``; not where the task has ended), *interruption*, *by*.

        Returns:
            ``answered``, ``overridden`` when it was let go on without a lease: it is observed now, or ``late``.

        Source: lua/answered.lua.
        """
        said = {name: value for name, value in detail.items() if value is not None}
        return self._word("answered", task_id, cause, _json(said), _version(seen))

    def put_off(self, task_id: str, pause: timedelta, *, why: str = "", refused: bool = False) -> str:
        """Try later to answer the intervention of a parked run: ``put_off`` or ``late``.

        Args:
            why: For the timeline; empty where it was said before.
            refused: It is not octowait's to answer: a person is needed.

        Source: lua/put_off.lua.
        """
        return self._word("put_off", task_id, _ms(pause), why, "refused" if refused else "")

    def remind(self, seen: RunStatus) -> str:
        """Have the intervention of a granted parked run answered, which is still pending: ``reminded`` or ``late``.

        Source: lua/remind.lua.
        """
        return self._word("remind", seen.task_id, _version(seen))

    def give_way(self, seen: RunStatus, *, interruption: str) -> str:
        """Take back the machines of a run that is paused for *interruption*: ``gave_way`` or ``late``.

        Source: lua/give_way.lua.
        """
        return self._word("give_way", seen.task_id, _version(seen), _json({"interruption": interruption}))

    def now_ms(self) -> int:
        """The clock of the gate: the Redis server's."""
        with redis_errors():
            seconds, micros = self._client.time()
        return int(seconds * 1000 + micros // 1000 + self.script.offset_ms)

    def last_webhook_ms(self) -> int | None:
        """When the last event came by webhook; None if none ever did."""
        with redis_errors():
            at_ms: Any = self._client.hget(self._keys.counters, "event_at")
        return int(at_ms) if at_ms else None

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

    def recover(self, task_id: str, *, paused: bool) -> str:
        """Make the machines of a run busy that is under way in Octopus, and was taken for a waiter here, or for ended.

        Only while the board is closed, and after every step that waits had time to show life.

        Returns:
            ``observed``, ``unresolved`` when its machines are to be found out, ``kept`` or ``unknown``.

        Source: lua/recover.lua.
        """
        return self._word("recover", task_id, "paused" if paused else "")

    def note(self, kind: str, cause: str = "", **detail: object) -> None:
        """Write a record of something that changed nothing here. Source: lua/note.lua."""
        self.script("note", kind, cause, _json(detail))

    def note_cancelling(self, seen: RunStatus) -> None:
        """Remember since when Octopus tries to cancel the run's task. Source: lua/cancelling.lua."""
        self.script("cancelling", seen.task_id, _version(seen))

    def watched(self, *, most: int = 10_000) -> list[str]:
        """The runs that hold a machine somebody waits for; of at most *most* machines. Source: lua/watched.lua."""
        return [task.decode() for task in self.script("watched", most)[1:]]

    def waiting_children(self, family: int) -> list[str]:
        """The runs of a family that wait for more than it holds. Not a script."""
        begin = f"{family:016d}\0"
        with redis_errors():
            members: Any = self._client.zrangebylex(self._keys.children, f"[{begin}", f"({begin[:-1]}\1")
        return [member.decode()[len(begin) :] for member in members]

    def _word(self, name: str, *args: str | int) -> str:
        return str(self.script(name, *args)[0], "ascii")

    def sweep(self, *, serving: bool = False) -> Swept:
        """End what is due and forget what is older than the retention.

        Args:
            serving: This is the sweep of a process that serves waiters, so a long gap since the last was an outage.

        Source: lua/sweep.lua.
        """
        retention = _ms(self.policy.retention)
        _, due, resumes, door, outage = self.script("sweep", int(serving), retention)
        return Swept(due > 0, resumes > 0, door == b"closed", outage == b"outage")


def _checked_priority(priority: int) -> int:
    # Its digits are part of the order in a line: one more of them and nobody could read that line again.
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise GateError(f"priority {priority}: expected {-MAX_PRIORITY} to {MAX_PRIORITY}")
    return priority


def _version(seen: RunStatus | None) -> str:
    return str(seen.run.v) if seen else ""


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
