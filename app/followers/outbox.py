"""What people are to be told: read from the timeline up to a place, and kept until each target has taken it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.store.connection import Client
from app.store.keys import Keys
from app.store.scripts import translated

# What was told of, what is to be sent and how far the timeline has been read change in one step: whoever dies has done
# all of it or nothing, and of two at once the second is refused. Without a place (""), nothing is said of the timeline.
_PUT = """
local place, due, box, counter, told = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if ARGV[1] ~= '' then
    if redis.call('GET', place) ~= ARGV[1] then
        return 0
    end
    redis.call('SET', place, ARGV[2])
end
local targets = cjson.decode(ARGV[4])
for n = 5, #ARGV, 3 do
    if redis.call('SET', told .. ARGV[n], '1', 'NX', 'PX', ARGV[n + 1]) then
        local id = string.format('%012d', redis.call('INCR', counter))
        redis.call('HSET', box, id, ARGV[n + 2])
        for _, target in ipairs(targets) do
            redis.call('ZADD', due, ARGV[3], id .. ' ' .. target)
        end
    end
end
return 1
"""

# Who claims puts it off, so that nobody else sends it meanwhile, and somebody does if he dies.
_CLAIM = """
local due, box, tries = KEYS[1], KEYS[2], KEYS[3]
local member = redis.call('ZRANGEBYSCORE', due, '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
if not member then
    return false
end
redis.call('ZADD', due, ARGV[2], member)
return { member, redis.call('HGET', box, string.sub(member, 1, 12)) or '{}', redis.call('HINCRBY', tries, member, 1) }
"""

# The same of all that are due at one target, some at a time.
_CLAIM_OF = """
local due, box, tries, found = KEYS[1], KEYS[2], KEYS[3], {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', ARGV[1], 'LIMIT', 0, 1000)) do
    if string.sub(member, 14) == ARGV[3] then
        redis.call('ZADD', due, ARGV[2], member)
        local id = string.sub(member, 1, 12)
        found[#found + 1] = { member, redis.call('HGET', box, id) or '{}', redis.call('HINCRBY', tries, member, 1) }
    end
end
return found
"""

_SETTLE = """
local due, box, tries, member = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
redis.call('ZREM', due, member)
redis.call('HDEL', tries, member)
local id = string.sub(member, 1, 12)
for _, other in ipairs(redis.call('ZRANGE', due, 0, -1)) do
    if string.sub(other, 1, 12) == id then
        return 0
    end
end
redis.call('HDEL', box, id)
return 0
"""


@dataclass(frozen=True)
class Letter:
    """One notice to one target. *tries* counts this one."""

    member: str
    target: str
    notice: dict[str, Any]
    tries: int


class Outbox:
    """All methods raise `StoreError`. Times are milliseconds of the Redis server's clock."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._runs, self._lines = keys.runs, keys.lines
        self._place, self._due, self._box, self._counter, self._told, self._tries, self._since = (
            keys.named(f"notify-{name}") for name in ("place", "due", "box", "counter", "told:", "tries", "since")
        )
        self._put = client.register_script(_PUT)
        self._claim = client.register_script(_CLAIM)
        self._claim_of = client.register_script(_CLAIM_OF)
        self._settle = client.register_script(_SETTLE)

    def begin(self, last_id: str, now_ms: int) -> tuple[str, int]:
        """Where reading goes on, and since when people are told: at *last_id* and now, the first time."""
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._place, last_id, nx=True)
            pipe.set(self._since, now_ms, nx=True)
            pipe.mget(self._place, self._since)
            place, since = pipe.execute()[-1]
        return place.decode(), int(since)

    def end(self) -> None:
        """Tell nobody of anything any longer; whoever begins again begins with what happens then."""
        with translated():
            self._client.delete(self._place, self._since, self._due, self._box, self._tries)

    def is_idle(self, last_id: str, now_ms: int) -> bool:
        """Whether nothing was written since the last look, nothing is to be sent, and nobody waits."""
        with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.get(self._place)
            pipe.zcount(self._due, "-inf", now_ms)
            pipe.zcard(self._lines)
            place, due, waiting = pipe.execute()
        return bool(place == last_id.encode() and not due and not waiting)

    def put(
        self, notices: Iterable[tuple[str, timedelta, dict[str, Any]]], targets: Collection[str], now_ms: int,
        *, seen: str = "", to: str = "",
    ) -> bool:  # fmt: skip
        """Have *notices* sent to *targets*, each as cause, how long it is not told of again, and content.

        Args:
            seen: Where the timeline had been read up to; nothing is put if that has changed.
            to: Where it has been read up to now.
        """
        arguments: list[str | int] = [seen, to, now_ms, json.dumps(list(targets))]
        for cause, once_in, content in notices:
            arguments += [cause.lower(), once_in // timedelta(milliseconds=1), json.dumps(content)]
        keys = [self._place, self._due, self._box, self._counter, self._told]
        with translated():
            return bool(self._put(keys, arguments))

    def claim(self, now_ms: int, lease: timedelta) -> Letter | None:
        """The letter that is due for longest; nobody else gets it for as long as *lease*."""
        until_ms = now_ms + lease // timedelta(milliseconds=1)
        with translated():
            found: Any = self._claim([self._due, self._box, self._tries], [now_ms, until_ms])
        return _letter(*found) if found else None

    def claim_of(self, target: str, now_ms: int, lease: timedelta) -> list[Letter]:
        """The letters that are due at one target, which nobody else gets for as long as *lease*; perhaps not all."""
        until_ms = now_ms + lease // timedelta(milliseconds=1)
        with translated():
            found: Any = self._claim_of([self._due, self._box, self._tries], [now_ms, until_ms, target])
        return [_letter(*one) for one in found]

    def settle(self, letter: Letter) -> None:
        """Forget a letter that was taken, or given up."""
        with translated():
            self._settle([self._due, self._box, self._tries], [letter.member])

    def put_off(self, letter: Letter, until_ms: int) -> None:
        """Try again then."""
        with translated():
            self._client.zadd(self._due, {letter.member: until_ms}, xx=True)

    def untold(self, causes: Collection[str]) -> set[str]:
        """Those of *causes* that people may be told of: they were not, or so long ago that they are again."""
        with translated(), self._client.pipeline(transaction=False) as pipe:
            for cause in causes:
                pipe.exists(self._told + cause.lower())
            return {cause for cause, was_told in zip(causes, pipe.execute(), strict=True) if not was_told}

    def waiting_since(self, before_ms: int, after_ms: int) -> list[Mapping[str, Any]]:
        """The runs in line that asked before the one and after the other time, as lua/lib/runs.lua keeps them.

        Costs what there are waiters.
        """
        with translated():
            members: list[Any] = self._client.zrange(self._lines, 0, -1)
            tasks = list(dict.fromkeys(member.decode().rpartition("\0")[2] for member in members))
            found: list[Any] = self._client.hmget(self._runs, [task.lower() for task in tasks]) if tasks else []
        runs = [json.loads(raw) for raw in found if raw]
        return [run for run in runs if after_ms <= run.get("requested_at_ms", 0) <= before_ms]


def _letter(member: bytes, notice: bytes, tries: int) -> Letter:
    name = member.decode()
    return Letter(name, name[13:], json.loads(notice), tries)
