"""The audit: whether all that is kept of runs and machines agrees, and what was put right of what did not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, zip_longest
from typing import Any

from app.domain.wording import CAUSES
from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import Scripts, redis_errors

#: Members that one script looks at, but of one run all: some milliseconds.
MEMBERS_AT_ONCE = 300

#: Reserved machines, and members that name nothing, that one script looks at besides: some milliseconds.
RESERVATIONS_AT_ONCE = 200

#: Members that one command reads.
READ_AT_ONCE = 5_000

#: Runs of the past that one repair looks at, and that are read with one command.
PAST_A_PASS, PAST_AT_ONCE = 2000, 500

#: Machines of one flaw that are said.
MACHINES_SAID = 5

#: The members of a key as lua/lib/keys.lua builds them, with what names the run, or the machine of a reservation. One
#: of another form names nothing.
_MEMBERS = {
    "lines": re.compile(rb"[^\0]+\0\d{26}\0(?P<task>[^\0]+)", re.S),
    "holders": re.compile(
        rb"[^\0]+\0(?:lease|observed|provisional)\0(?P<task>[^\0]+)|(?P<machine>[^\0]+)\0reservation\0", re.S
    ),
    "deadlines": re.compile(
        rb"(?:life|timeout|hold|grace|provisional|expect)\0(?P<task>[^\0]+)|reservation\0(?P<machine>[^\0]+)"
        rb"|(?:heads?|lines|families|children|circles?)\0.*", re.S
    ),
    "children": re.compile(rb"\d{16}\0(?P<task>[^\0]+)", re.S),
    "owned": re.compile(rb"[^\0]*\0(?P<task>[^\0]+)", re.S),
}  # fmt: skip


@dataclass(frozen=True)
class Flaw:
    """Something that does not agree.

    *code* is one stable word, of `app.domain.wording.CAUSES`; *what* the key, or the kind of deadline.
    """

    code: str
    task_id: str | None = None
    machines: tuple[str, ...] = ()
    what: str | None = None

    def __str__(self) -> str:
        """``ServerTasks-7, Machines-1: free, and a run has got it``."""
        subject = ", ".join(filter(None, (self.task_id, *self.machines[:MACHINES_SAID])))
        more = len(self.machines) - MACHINES_SAID
        words = CAUSES[self.code] + (f" ({self.what})" if self.what else "")
        return f"{subject}{f' and {more} more' if more > 0 else ''}: {words}" if subject else words


@dataclass
class _Named:
    """What is named by the members of all keys."""

    #: By task id in lower case: the id as the members have it, and the members of each key.
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    machines: set[str] = field(default_factory=set)
    malformed: list[tuple[str, str]] = field(default_factory=list)

    def run(self, task: bytes) -> dict[str, Any]:
        text = task.decode(errors="replace")
        return self.runs.setdefault(text.lower(), {"task": text})

    def add(self, key: str, member: bytes) -> None:
        match, text = _MEMBERS[key].fullmatch(member), member.decode(errors="replace")
        if match is None:
            self.malformed.append((key, text))
        elif task := match.groupdict().get("task"):
            self.run(task).setdefault(key, []).append(text)
        elif machine := match.groupdict().get("machine"):
            self.machines.add(machine.decode(errors="replace"))


class Audit:
    """Holds what the scripts keep against each other. All methods raise `StoreError`.

    There are no flaws to it while the board is closed, or where a later octowait writes as well. Source: lua/audit.lua.
    """

    def __init__(self, script: Scripts, client: Client, keys: Keys) -> None:
        self._script = script
        self._client = client
        self._keys = keys
        #: Where the next repair goes on with the runs of the past.
        self._cursor = 0

    def look(self) -> list[Flaw]:
        """What does not agree, of all runs that there are; nothing is changed."""
        named = self._named()
        cursor = 0
        while True:
            cursor = self._add_past(named, cursor)
            if not cursor:
                return list(self._audit("look", named))

    def repair(self) -> list[Flaw]:
        """What did not agree, of all who wait and hold and of a share of the others, and was put right."""
        named = self._named()
        for _ in range(PAST_A_PASS // PAST_AT_ONCE):
            self._cursor = self._add_past(named, self._cursor)
            if not self._cursor:
                break
        return list(self._audit("repair", named))

    def _named(self) -> _Named:
        """All that is named by somebody who waits or holds, or by what is kept for them."""
        keys, named = self._keys, _Named()
        for key in _MEMBERS:
            for member in self._members(keys.named(key)):
                named.add(key, member)
        with redis_errors(), self._client.pipeline(transaction=False) as pipe:
            pipe.hkeys(keys.reservations)
            pipe.hkeys(keys.wants)
            pipe.hkeys(keys.delays)
            pipe.smembers(keys.blocking)
            for key in ("unchecked", "unresolved", "resumes"):
                pipe.zrange(keys.named(key), 0, -1)
            reservations, *tasks = pipe.execute()
        for task in chain(*tasks):
            named.run(task)
        named.machines |= {machine.decode(errors="replace") for machine in reservations}
        return named

    def _members(self, key: str) -> Iterator[bytes]:
        """The members of a sorted set, of which there can be a million: some at a time, so that others have their turn.

        One that comes or goes meanwhile can be missing here, or twice: the script looks again whether it is there, and
        for those that ought to be.
        """
        for start in count(0, READ_AT_ONCE):
            with redis_errors():
                some: Any = self._client.zrange(key, start, start + READ_AT_ONCE - 1)
            yield from some
            if len(some) < READ_AT_ONCE:
                return

    def _add_past(self, named: _Named, cursor: int) -> int:
        """Add some runs to *named*, of those that nobody names: those that are not over, and are not kept as such."""
        with redis_errors():
            answer: Any = self._client.hscan(self._keys.runs, cursor, count=PAST_AT_ONCE)
            tasks: list[Any] = list(answer[1])
            ends: Any = self._client.zmscore(self._keys.ended, tasks) if tasks else []
        for task, ended_at in zip(tasks, ends, strict=True):
            if ended_at is None:
                named.run(task)
        return int(answer[0])

    def _audit(self, mode: str, named: _Named) -> Iterator[Flaw]:
        runs = _batches(named.runs.values()) or [[]]
        machines, malformed = _shares(sorted(named.machines)), _shares(named.malformed)
        for share in zip_longest(runs, machines, malformed, fillvalue=()):
            answer = self._script("audit", mode, *map(_json, share))
            if answer[0] != b"audited":
                return
            for code, task, where, what in json.loads(answer[1]) or ():
                yield Flaw(code, task or None, tuple(where or ()), what or None)


def _shares(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[at : at + RESERVATIONS_AT_ONCE] for at in range(0, len(items), RESERVATIONS_AT_ONCE)]


def _batches(runs: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    batches: list[list[Mapping[str, Any]]] = []
    left = 0
    for run in runs:
        size = 1 + sum(len(members) for key, members in run.items() if key != "task")
        if not batches or size > left:
            batches.append([])
            left = MEMBERS_AT_ONCE
        batches[-1].append(run)
        left -= size
    return batches


def _json(value: Sequence[Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
