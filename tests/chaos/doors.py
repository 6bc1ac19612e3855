"""The ways to octowait, and a client that tries the next one when one does not answer."""

from __future__ import annotations

import random
import weakref
from typing import Any

from tests.chaos.processes import SECRET, TOKENS
from tests.chaos.wire import Answer, Broken, Connection

#: Seconds for a call that does not block, before its client gives it up.
PATIENCE = 4.0


class Doors:
    """Ports at which octowait answers: its own, and those of proxies before them."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self._callers: weakref.WeakSet[Caller] = weakref.WeakSet()

    def add(self, caller: Caller) -> None:
        self._callers.add(caller)

    def close(self) -> None:
        """Have everybody hang up."""
        for caller in list(self._callers):
            caller.drop()


class Caller:
    """Somebody with a token; one call at a time. After a call that broke it goes to another door."""

    def __init__(self, doors: Doors, role: str, dice: random.Random) -> None:
        self._doors = doors
        self._at = dice.randrange(len(doors.ports))
        self._headers = (
            f"X-Octowait-Secret: {SECRET}\r\n" if role == "webhook" else f"Authorization: Bearer {TOKENS[role]}\r\n"
        )
        self._connection: Connection | None = None
        doors.add(self)

    async def call(
        self, method: str, path: str, body: Any = None, *, seconds: float = PATIENCE, headers: str = ""
    ) -> Answer:  # fmt: skip
        """One call. Raises: Broken: no answer, or one of a server that cannot serve now."""
        port = self._doors.ports[self._at % len(self._doors.ports)]
        if self._connection is None or self._connection.port != port:
            self.drop()
            self._connection = Connection(port, self._headers)
        try:
            answer = await self._connection.call(method, path, body, seconds=seconds, headers=headers)
        except Broken:
            self._at += 1
            raise
        if answer.status >= 500:
            self._at += 1
            raise Broken(f"{method} {path}: {answer.status} {answer.body}")
        return answer

    def drop(self) -> None:
        if self._connection:
            self._connection.drop()
