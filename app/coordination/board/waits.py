"""The waits of the board: who asks for machines, shows life, and gives them back."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from app.coordination.board.base import (
    BoardScripts,
    milliseconds,
    refuse_others,
    status_of_the_over,
    version_of,
)
from app.coordination.board.polls import Poll, StillWaits
from app.coordination.decode import decode_run, decode_view
from app.coordination.encode import compact_json, identity_fields
from app.domain.access.identity import Limits
from app.domain.errors import (
    AnotherOwner,
    ClosesCircle,
    GateError,
    HoldsOthers,
    NoMachines,
    NotWaiting,
    QuotaReached,
    RunChanged,
    TooManyWaiting,
    UnknownRun,
)
from app.domain.ids import checked_id, distinct_ids
from app.domain.run import MAX_PRIORITY, RunRequest, State, TaskEnd
from app.domain.status import RunStatus
from app.domain.wording import circle_words
from app.store.errors import StoreError
from app.store.scripts import redis_errors
from app.store.witness import speaking_for


class WaitVerbs(BoardScripts):
    """Joins, polls, releases and moves waiters."""

    def join(self, run: RunRequest, machines: Collection[str], *, ttl: timedelta | None = None) -> RunStatus:
        """Ask for a lease on all of *machines*, or a place in their lines; never for some of them.

        Asking again for the same run returns the same place and counts as a sign of life. The answer to a run without a
        claim collects its grant; one with a claim collects it by `poll`.

        Returns:
            The status of the run; ``left``, and nothing changed, where its claim is over, or another has followed it.

        Args:
            machines: At least one, e.g. ``{"Machines-7", "Machines-12"}``.
            ttl: How long the waiter stays in line without a further sign of life; the policy's by default.

        Raises:
            NoMachines: *machines* is empty.
            HoldsOthers: the run waits for or holds other machines; it must release first.
            InvalidId: an id is not of the form Octopus gives.
            AnotherOwner: the run is not its token's, and there is no verdict.
            TooManyWaiting: as many runs of its owner wait as may.
            QuotaReached: its owner may add no more machines or data today.

        Source: lua/join.lua.
        """
        if not machines:
            raise NoMachines(f"{run.task_id} asked for no machine: expected at least one, e.g. Machines-7")
        machine_ids = distinct_ids([checked_id(machine, "machine") for machine in machines])
        request = {
            "machines": machine_ids,
            "info": {name: value for name, value in run.info.items() if value is not None},
            "priority": _checked_priority(run.priority),
            "ttl_ms": milliseconds(ttl or self.policy.waiter_ttl),
            **({"timeout_ms": milliseconds(run.timeout)} if run.timeout else {}),
            **({"max_hold_ms": milliseconds(self.policy.max_hold)} if self.policy.max_hold else {}),
            **({"parked": True} if run.parked else {}),
            **({"on_behalf_of": run.on_behalf_of} if run.on_behalf_of else {}),
            **({"parent_word": run.parent_word} if run.parent_word else {}),
            **({"step": "old" if run.is_old_step else "new"} if run.is_old_step is not None else {}),
            **({"claim": run.claim, "family_word": secrets.token_hex(16)} if run.claim else {}),
            **({"rebuilt": asdict(run.rebuilt)} if run.rebuilt else {}),
            **identity_fields(run),
            **self._cap,
            **self._presumption,
        }
        word, *rest = self.script("join", checked_id(run.task_id, "task"), compact_json(request))
        refuse_others(word, rest)
        if word == b"full":
            raise TooManyWaiting(f"{rest[0]} runs of {run.identity.owner if run.identity else 'it'} wait already")
        if word == b"spent":
            raise _quota_reached(run, *rest)
        if word == b"holds_others":
            held = decode_run(rest[1])
            verb = "holds" if held.state is State.GRANTED else "waits for"
            raise HoldsOthers(
                f"{held.id} {verb} {', '.join(held.machines)}: release before asking for {rest[0].decode()}"
            )
        if word == b"left":
            return status_of_the_over(run.task_id, run.claim, rest[0])
        place = decode_view(rest, is_new=word == b"joined")
        # Once its grant is copied it is as if it had asked only now.
        who = "block" if run.claim else "poll"
        answer = self._answer_of(place, lambda: self._view(run.task_id, who, run.claim), asks=True)
        return replace(answer or place.while_copied(), is_new=place.is_new)

    def poll(
        self, task_id: str, *, claim: str | None = None, blocks: bool = False, owner: str | None = None
    ) -> RunStatus | None:  # fmt: skip
        """The run as it stands, asked by its own step: a sign of life, and a grant counts as collected.

        Args:
            claim: The id of the execution of the step that asks, if it has one. Then a grant counts as collected only
                by what it asks after it was told of the grant.
            blocks: It may be gone when the answer comes; so with a claim nothing is collected.
            owner: Whose token asks; None of who may do everything.

        Raises:
            AnotherOwner: the run is not that owner's.

        Returns:
            The status of the run; ``left``, and nothing changed, where the claim is over, or another has followed it;
            None where nobody has heard of the run, or it is not that claim's.

        Source: lua/poll.lua.
        """
        who = Poll(task_id, claim, blocks, owner).who
        return self._answer_of(self._view(task_id, who, claim, owner), lambda: self._view(task_id, who, claim, owner))

    def poll_many(self, polls: Sequence[Poll]) -> list[RunStatus | StillWaits | None | Exception]:
        """As `poll` for the first of them, at least one, as many as one script answers for; an error that is about one
        is its answer.

        Raises:
            StoreError: as `redis_errors` says; nobody was answered.

        Source: lua/poll_many.lua.
        """
        with speaking_for(*(seen for poll in polls for seen in poll.seen)):
            _, *words = self.script("poll_many", compact_json([poll.arguments for poll in polls]))
        return [*map(self._answer_to, polls, words)]

    def _answer_to(self, poll: Poll, answer: Sequence[Any]) -> RunStatus | StillWaits | None | Exception:
        try:
            if answer[0] == b"failed":
                # What it was told it may not have heard: alone it collects nothing.
                who = "block" if poll.who == "poll" else poll.who
                answer = self.script("poll", poll.task_id, who, *poll.arguments[2:])
            if answer[0] == b"waits":
                return StillWaits(answer[1] / 2000)
            place = self._status(poll.task_id, poll.claim, answer)
            return self._answer_of(place, lambda: self._view(poll.task_id, poll.who, poll.claim, poll.owner))
        except (AnotherOwner, StoreError) as error:
            return error

    def place(self, task_id: str) -> RunStatus | None:
        """The run as it stands, asked by anybody; None if nobody has heard of it. Source: lua/poll.lua."""
        return self._view(task_id, "look")

    def look(self, task_id: str) -> RunStatus | None:
        """The run as its step is told of it, without a sign of life; None if nobody has heard of it."""
        place = self.place(task_id)
        return place if place is None or not place.is_granted or self.has_copied_grant(place) else place.while_copied()

    def wait(self, task_id: str, *, timeout: timedelta, claim: str | None = None) -> RunStatus | None:
        """Block on Redis until the run waits no longer, at most *timeout*; the run as it stands then.

        A wake is a hint: what counts is what the script says after it. Many scripts, one at least every half TTL.

        Args:
            claim: As in `poll`; then nothing is collected.
        """
        deadline = time.monotonic() + timeout.total_seconds()
        while (left := deadline - time.monotonic()) > 0:
            # Of a run that waits no more is read, and nothing is written where it was answered just now.
            answer = self.script("poll", task_id, "sleep", claim or "", "", "")
            if answer[0] == b"waits":
                slice_seconds, known_as = answer[1] / 2000, str(answer[2], "utf-8")
            else:
                place = self._status(task_id, claim, answer)
                place = self._answer_of(place, lambda: self._view(task_id, "block", claim))
                if place is None or not place.is_waiting:
                    return place
                slice_seconds, known_as = place.slice_seconds, place.task_id
            with redis_errors():
                self._blocking.blpop([self._keys.wake(known_as)], timeout=max(0.01, min(left, slice_seconds, 45.0)))
        return self.poll(task_id, claim=claim, blocks=True)

    def release(
        self,
        task_id: str,
        *,
        cause: str = "step",
        by: str | None = None,
        reason: str | None = None,
        seen: RunStatus | None = None,
        ended: TaskEnd | None = None,
        claim: str | None = None,
        owner: str | None = None,
    ) -> str:
        """Give back what the run holds, or take it out of its lines.

        Args:
            cause: ``step``, ``forced`` or ``reconciled``.
            seen: The run as it was when this was decided; if it has moved on since, nothing happens.
            ended: How its task ended, for ``reconciled``.
            claim: The id of the execution of the step that asks, if it has one: only a run of that ends, and the claim
                in any case.
            owner: Whose token asks; None of who may do everything.

        Raises:
            AnotherOwner: the run is not that owner's.
            RunChanged: a run that is to be ended by force has moved on.

        Returns:
            ``released``, ``left`` (also where another claim has followed it), ``nothing``, or ``grace``: it will be
            released when the time for abandoned tasks is over.

        Source: lua/release.lua.
        """
        detail: dict[str, object] = {**({"by": by} if by else {}), **({"reason": reason} if reason else {})}
        if ended:
            detail |= {"outcome": ended.outcome, **({"ended_oct_ms": ended.at_ms} if ended.at_ms else {})}
        grace = milliseconds(self.policy.abandoned_grace)
        word, *rest = self.script(
            "release", task_id, cause, compact_json(detail), version_of(seen), grace, claim or "", owner or ""
        )
        refuse_others(word, rest)
        if word == b"changed" and cause == "forced":
            raise RunChanged(task_id, rest[0].decode())
        return "nothing" if word == b"changed" else str(word, "ascii")

    def prioritize(self, task_id: str, priority: int, *, by: str, reason: str) -> RunStatus:
        """Move a waiting run; among equals it keeps its arrival.

        Raises:
            UnknownRun: nobody has heard of it.
            NotWaiting: it waits no longer.
            ClosesCircle: it would then wait for itself.

        Source: lua/prioritize.lua.
        """
        why = compact_json({"by": by, "reason": reason})
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

    def waiting_children(self, family: int) -> list[str]:
        """The runs of a family that wait for more than it holds. Not a script."""
        begin = f"{family:016d}\0"
        with redis_errors():
            members: Any = self._client.zrangebylex(self._keys.children, f"[{begin}", f"({begin[:-1]}\1")
        return [member.decode()[len(begin) :] for member in members]

    def watched(self, *, most: int = 10_000) -> list[str]:
        """The runs that hold a machine somebody waits for; of at most *most* machines. Source: lua/watched.lua."""
        return [task.decode() for task in self.script("watched", most)[1:]]


def _quota_reached(run: RunRequest, limit: bytes, before: int, more: int, machine: bytes) -> QuotaReached:
    limits, owner = (run.identity.limits, run.identity.owner) if run.identity else (Limits(), "it")
    if limit == b"max_new_machines":
        most = f"{limits.max_new_machines} such machines a day"
        what = f"named {before} machines today that octowait had not known, and this one names {more} more"
        advice = f"look whether its machines are right, such as {machine.decode()}"
    else:
        most = f"{limits.max_new_mb} MB a day"
        what = f"added {before / 1e6:.1f} MB to Redis today, and this one would add {more / 1e6:.1f} MB"
        advice = "look what it asks for"
    reached = str(limit, "ascii")
    return QuotaReached(reached, (
        f"runs of the token {owner} have {what}, of {most} ({reached} of the token): {advice}; whoever runs octowait "
        "can raise the limit, and a new day begins at 00:00 UTC"
    ))  # fmt: skip


def _checked_priority(priority: int) -> int:
    # Its digits are part of the order in a line: one more of them and nobody could read that line again.
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        raise GateError(f"priority {priority}: expected {-MAX_PRIORITY} to {MAX_PRIORITY}")
    return priority
