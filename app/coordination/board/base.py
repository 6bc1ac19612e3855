"""The base of the board: its policy, and how its parts call a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.coordination.audit import Audit
from app.coordination.board.clock_offset import ClockOffset
from app.coordination.board.polls import newest_number
from app.coordination.decode import decode_run, decode_view
from app.coordination.encode import compact_json
from app.domain.errors import AnotherOwner
from app.domain.run import RunState, State
from app.domain.status import RunStatus
from app.domain.wording import CLAIM_IS_OVER
from app.store.clock import read_now_ms
from app.store.connection import Client
from app.store.keys import Keys
from app.store.replication import Copier, Replicas
from app.store.scripts import Scripts, redis_errors
from app.store.witness import Witness, seen_by_speakers


@dataclass(frozen=True)
class Policy:
    """How the gate behaves where a setting decides."""

    waiter_ttl: timedelta = timedelta(seconds=120)
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
    #: How many replicas must have a grant before anybody is told of it.
    replicas: int = 0
    #: How long a run whose process comes with a step or a gate of ours is expected to ask.
    expect_step: timedelta = timedelta(seconds=120)


class BoardScripts:
    """The scripts of one namespace, called under one policy.

    Args:
        client: For the scripts.
        blocking: A client without a time-out, for `wait`.
        replicas: What must have a grant before anybody is told of it; None: nobody needs it.
        offset_ms: What the clock is ahead of the server's; tests move it.
        witness: What this process has seen; one that has seen nothing by default.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str = "default",
        policy: Policy | None = None,
        blocking: Client | None = None,
        replicas: Replicas | None = None,
        offset_ms: int = 0,
        witness: Witness | None = None,
    ) -> None:
        self._client = client
        self._keys = Keys(namespace)
        self.policy = policy or Policy()
        self._blocking = blocking or client
        self.script = Scripts(client, self._keys, offset_ms=offset_ms, witness=witness)
        #: Whether all that is kept agrees.
        self.audit = Audit(self.script, client, self._keys)
        self._copier = Copier(replicas, self._write_grants) if replicas else None

    def _write_grants(self, pipe: Any, grants: list[tuple[str, int]]) -> None:
        self.script.queue(pipe, "copying", compact_json(grants))

    def has_copies(self) -> bool:
        """Whether enough replicas have all that was written up to now; True where nobody needs it."""
        return self._copier is None or self._copier.copy()[1]

    def has_copied_grant(self, place: RunStatus, *, asks: bool = False) -> bool:
        """Whether the grant of a run may be told, since enough replicas have it; True where nobody needs it.

        Args:
            asks: The step of the run hears of it in the answer to its request for a place.

        Source: lua/copying.lua, lua/copied.lua.
        """
        run = place.run
        if self._copier is None or run.copied or not run.token:
            return True
        answer, is_copied = self._copier.copy((run.id, run.token))
        if not is_copied or run.id.encode() not in self.script.read(answer):
            return False
        return self._word("copied", run.id, run.token, "asks" if asks else "") != "gone"

    def _answer_of(
        self, place: RunStatus | None, again: Callable[[], RunStatus | None], *, asks: bool = False
    ) -> RunStatus | None:
        """What a step is told: of a grant only when it is copied, and then as the board has it *again* after that."""
        if place is None or not place.is_granted or place.run.copied or self._copier is None:
            return place
        return again() if self.has_copied_grant(place, asks=asks) else place.while_copied()

    @property
    def _cap(self) -> dict[str, int]:
        policy = self.policy
        return {"cap": policy.task_cap, "reserve": policy.task_cap_reserve} if policy.task_cap else {}

    @property
    def _presumption(self) -> dict[str, Any]:
        """How long machines are presumed busy; with an API key that is until the truth is known."""
        return {"has_key": True} if self.policy.has_key else {"hold_ms": milliseconds(self.policy.provisional)}

    @property
    def _paused_holds(self) -> str:
        return "1" if self.policy.paused_holds else "0"

    def _view(
        self, task_id: str, who: str, claim: str | None = None, owner: str | None = None
    ) -> RunStatus | None:  # fmt: skip
        seen = newest_number(seen_by_speakers())
        return self._status(task_id, claim, self.script("poll", task_id, who, claim or "", owner or "", seen))

    def _status(self, task_id: str, claim: str | None, answer: Sequence[Any]) -> RunStatus | None:
        """The status of a run as ``lua/poll.lua`` answers it."""
        word, *rest = answer
        refuse_others(word, rest)
        if word == b"left":
            return status_of_the_over(task_id, claim, rest[0])
        return decode_view(rest) if word == b"run" else None

    def _word(self, name: str, *args: str | int) -> str:
        return str(self.script(name, *args)[0], "ascii")

    def now_ms(self) -> int:
        """The time of the board: the Redis server's clock, without its jumps."""
        with redis_errors():
            return read_now_ms(self._client, self._keys) + self.script.offset_ms

    def octopus_offset(self) -> ClockOffset:
        """What Octopus's clock is ahead of the board's time, as far as it is known. Source: lua/offset.lua."""
        _, least, most, source = self.script("offset")
        return ClockOffset(int(least), int(most), source.decode())

    def note(self, kind: str, cause: str = "", **detail: object) -> None:
        """Write a record of something that changed nothing here. Source: lua/note.lua."""
        self.script("note", kind, cause, compact_json(detail))


def refuse_others(word: bytes, rest: Sequence[Any]) -> None:
    """Raise `AnotherOwner` where a script says so."""
    if word == b"others":
        run = decode_run(rest[0])
        raise AnotherOwner(f"{run.id} belongs to another token than the one that asks", run, rest[1])


def status_of_the_over(task_id: str, claim: str | None, now_ms: int) -> RunStatus:
    """What a claim is told that is over: of the run that is there now it learns nothing."""
    return RunStatus(RunState(task_id, State.LEFT, claim=claim, reason=CLAIM_IS_OVER), now_ms)


def version_of(seen: RunStatus | None) -> str:
    return str(seen.run.v) if seen else ""


def milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
