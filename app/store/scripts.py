"""The Lua scripts, called by their SHA-1.

A script with the part `WORK` leaves what takes too long, in Redis, and says so; `Scripts` has it carried on at once:
before the caller goes on, or, where many are answered, beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import redis
from redis.commands.core import Script

from app.store.clock import BoardClock
from app.store.connection import Client
from app.store.errors import NewerData, StoreError, StoreUnreachable
from app.store.exchange import Command, Exchange
from app.store.fair_queue import DearTurns
from app.store.keys import Keys
from app.store.schema import FIELDS, own_answer, refuse_newer
from app.store.script_text import source
from app.store.witness import Witness
from app.store.wrong_types import fixed_keys, named_wrong_type

#: How often a script is called whose caller expects another time than it finds, until it is called without any.
TRIES = 3

#: Shares of left work that one call does at most, some 10 ms each: the sweep does the others.
MOST_SHARES = 20

#: Seconds in which no script is asked first whether something is due, after something was: there is more of it, as a
#: rule, and the question takes as long as an answer.
DUE_SECONDS = 0.05

#: Of the answer of a script: its own part, three of the last change, whether work is left, µs.
_PARTS = 6


def load(client: Client, room: str, verb: str) -> Script:
    """A script to be called with its own keys and arguments, as the header of its file lists them.

    It answers a list that starts with a word, text as bytes.
    """
    return client.register_script(source(room, verb))


@contextmanager
def redis_errors() -> Iterator[None]:
    """Redis errors as ours.

    Raises:
        StoreUnreachable: no answer, or the server is loading, a replica, or does not let the user in.
        StoreError: any other error of the server; the message is its own.
    """
    try:
        yield
    except redis.AuthenticationError as error:
        raise StoreUnreachable(f"Redis does not let its user in: {error}") from error
    except redis.ReadOnlyError as error:
        raise StoreUnreachable(f"Redis is a replica and refuses changes: {error}") from error
    except (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, OSError) as error:
        raise StoreUnreachable(f"Redis does not answer: {error}") from error
    except redis.RedisError as error:
        raise StoreError(f"Redis: {error}") from error


class Scripts:
    """Calls the scripts of the board with the prefix of one namespace, of which they make the names of its keys.

    Args:
        offset_ms: What the clock is ahead of the server's; tests move it.
        witness: What this process has seen; one of its own by default.
        clock: Notices when the server's clock jumps.
    """

    def __init__(
        self, client: Client, keys: Keys, *, offset_ms: int = 0, witness: Witness | None = None,
        clock: BoardClock | None = None,
    ) -> None:  # fmt: skip
        self._client = client
        self._exchange = Exchange(client)
        #: Who has to wait until others that take long are done.
        self.dear: DearTurns = getattr(client.connection_pool, "dear", None) or DearTurns()
        self._clock = clock or BoardClock(client, keys)
        self.witness = witness or Witness()
        self._prefix = keys.prefix
        self._counters, self._fixed_keys = keys.counters, fixed_keys(keys)
        #: Until then something is due, most likely (`time.monotonic`).
        self._due_until = 0.0
        self._scripts: dict[tuple[str, bool], Script] = {}
        self.offset_ms = offset_ms
        #: Called before each script.
        self.before: Callable[[], None] | None = None
        #: Called after a script that left work, its own or that of others, before its caller has the answer.
        self.on_left: Callable[[], object] = self.carry_on

    def command(self, connection: Any, name: str, *args: str | int) -> tuple[str | int, ...]:
        """The call of a script as a command for *connection*, whose server knows the script from now on.

        Raises:
            redis.RedisError: the server does not take it.
        """
        connection.send_command("SCRIPT", "LOAD", source("coordination", name, witnessed=True))
        return self._command(connection.read_response(), self._arguments(args))

    def _command(self, sha: str, arguments: Sequence[str | int]) -> tuple[str | int, ...]:
        return ("EVALSHA", sha, 1, self._prefix, *arguments)

    def __call__(self, name: str, *args: str | int) -> Sequence[Any]:
        """The answer of ``coordination/lua/<name>.lua``: a list that starts with a word, text as bytes.

        Raises:
            NewerData: only a later octowait may write; nothing was changed.
            StoreError: as `redis_errors` says.
        """
        if self.before:
            self.before()
        return self._accepted(self._timely_answer(name, args))

    def check_version(self) -> None:
        """Raises: NewerData: only a later octowait may write."""
        with redis_errors():
            fields: Any = self._client.hmget(self._counters, FIELDS)
        refuse_newer(*fields)

    def check_connection(self, ask: Callable[..., Any]) -> None:
        """The same over one connection, which *ask* sends a command. Raises Redis's own errors as well."""
        refuse_newer(*ask("HMGET", self._counters, *FIELDS))

    def _accepted(self, answer: Sequence[Any]) -> Sequence[Any]:
        """The script's own part of an answer, once somebody knows of what it has left."""
        own = self.read(answer)
        if answer[4]:
            # What was asked is done, whatever comes now; and others find what is left in Redis.
            with suppress(StoreError):
                self.on_left()
        return own

    def _timely_answer(self, name: str, args: Sequence[str | int]) -> Sequence[Any]:
        if self._clock.is_stale():
            self._compare_clocks()
        for _ in range(TRIES):
            answer = self._call_due(name, args, expects=True)
            if answer[0] != b"clock":
                return answer
            self._compare_clocks()
        # Redis is so far away that no call comes in time; its clock was looked at just now.
        return self._call_due(name, args)

    def carry_on(self) -> bool:
        """Do what scripts have left, in shares, so that others get their turn; whether there may be more."""
        for _ in range(MOST_SHARES):
            if self.read(self._execute("carry_on", (), with_expiry=True))[0] == b"done":
                return False
        return True

    def _compare_clocks(self) -> None:
        """Undo a jump of the server's clock before any script acts on it. Source: lua/shift.lua."""
        with redis_errors():
            jump_ms, shift_ms = self._clock.look()
            if jump_ms:
                self.read(self._execute("shift", (shift_ms, jump_ms)))
                self._clock.look()

    def _call_due(self, name: str, args: Sequence[str | int], *, expects: bool = False) -> Sequence[Any]:
        if time.monotonic() > self._due_until:
            answer = self._execute(name, args, expects=expects)
            if answer[0] != b"due":
                return answer
            self._due_until = time.monotonic() + DUE_SECONDS
        return self._execute(name, args, expects=expects, with_expiry=True)

    def queue(self, pipe: Any, name: str, *args: str | int) -> None:
        """Put a call into a pipeline, of a script that does not end what is due; its answer is to be `read`."""
        self._script(name)([self._prefix], self._arguments(args), client=pipe)

    def read(self, answer: Sequence[Any]) -> Sequence[Any]:
        """The script's own part of an answer; the last change, which stands beside it, is seen from now on."""
        try:
            own, *last_change = own_answer(answer)[:4]
        except NewerData:
            # Nobody here goes on over connections that were made before: the next ones are asked (greeting.py).
            self._client.connection_pool.disconnect(inuse_connections=False)
            raise
        self.witness.see(*last_change)
        return cast(Sequence[Any], own)

    def _execute(
        self, name: str, args: Sequence[str | int], *, expects: bool = False, with_expiry: bool = False
    ) -> Sequence[Any]:  # fmt: skip
        script = self._script(name, with_expiry=with_expiry)

        def commands() -> Sequence[Command]:
            # Only now: the time that a call waits for its connection is none by which a clock has jumped.
            return [self._command(script.sha, self._arguments(args, expects=expects))]

        with redis_errors():
            answer = self._answer(commands)
            if isinstance(answer, redis.exceptions.NoScriptError):
                self._client.script_load(script.script)
                answer = self._answer(commands)
            if isinstance(answer, Exception):
                raise named_wrong_type(self._client, self._fixed_keys, answer)
        return cast(Sequence[Any], answer)

    def _answer(self, commands: Callable[[], Sequence[Command]]) -> Any:
        [answer] = self._exchange(commands)
        if isinstance(answer, list) and len(answer) == _PARTS:
            self.dear.note(answer[-1] / 1000, len(answer[0]) - 1)
        return answer

    def _arguments(self, args: Sequence[str | int], *, expects: bool = False) -> list[str | int]:
        """What a script is given; *expects*: with the time that it should find, as lua/lib/clock.lua reads it."""
        first = f"{self.offset_ms} {self._clock.expectation()}".rstrip() if expects else self.offset_ms
        return [first, *args, self.witness.testimony()]

    def _script(self, name: str, *, with_expiry: bool = False) -> Script:
        script = self._scripts.get((name, with_expiry))
        if script is None:
            script = self._client.register_script(self.text(name, with_expiry=with_expiry))
            self._scripts[name, with_expiry] = script
        return script

    def prepare(self, name: str) -> Iterator[None]:
        """Assemble the texts of a script, which takes some ms each, so that its first call need not; one a step."""
        for with_expiry in (False, True):
            self._script(name, with_expiry=with_expiry)
            yield

    def text(self, name: str, *, with_expiry: bool) -> str:
        return source("coordination", name, with_expiry=with_expiry, witnessed=True)


class SideScript:
    """A script that writes keys beside those of the board, which looks at the version of the data first.

    Called with its own keys and arguments, as the header of its file lists them, it answers a list that starts with a
    word, text as bytes; it raises NewerData, and errors of the library.
    """

    def __init__(self, client: Client, keys: Keys, room: str, verb: str) -> None:
        self._client = client
        self._script = client.register_script(source(room, verb, is_beside=True))
        self._counters = keys.counters

    def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Sequence[Any]:
        try:
            answer = cast(Sequence[Any], self._script([*keys, self._counters], args))
        except redis.ResponseError as error:
            raise named_wrong_type(self._client, [*keys, self._counters], error) from error
        return own_answer(answer)
