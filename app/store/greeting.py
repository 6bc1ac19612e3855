"""What a process says first on every new connection: what it has seen, and which server it has found (rule 24).

A connection breaks when the server behind it ends, and the next one may lead to another server: one that was started
with older data, or a replica that has taken over. What is sent again over it was made for the one before.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from app.store.errors import NewerData

if TYPE_CHECKING:
    from app.store.scripts import Scripts


class Greeting:
    """To be called with each new connection of a client, in the place of what the library does there."""

    def __init__(self) -> None:
        self._script: Scripts | None = None
        #: The run id of the server that has not taken the greeting: it could not write.
        self._owed: str | None = None

    def speak_for(self, scripts: Scripts) -> None:
        """Greet with the script of the board from now on."""
        self._script = scripts
        scripts.before = self._catch_up

    def __call__(self, connection: Any) -> None:
        """Raises:
        NewerData: only a later octowait may write there; the connection is closed.
        redis.RedisError: but for what a server refuses that answers.
        """
        connection.on_connect()
        if self._script is None:
            return
        server = ""
        try:
            self._script.check_connection(partial(_ask, connection))
            server = _run_id(_ask(connection, "INFO", "server"))
            if server:
                self._script.read(_ask(connection, *self._script.command(connection, "speak", server)))
        except NewerData:
            # The pool would take it for one that is ready.
            connection.disconnect()
            raise
        except redis.ResponseError:
            # A server that is full, or cannot write, answers those who only read. Scripts that write fail until then.
            self._owed = server or None

    def _catch_up(self) -> None:
        owed, self._owed = self._owed, None
        if owed and self._script:
            try:
                self._script("speak", owed)
            except BaseException:
                self._owed = owed
                raise


def _ask(connection: Any, *command: str | int) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _run_id(info: Any) -> str:
    """Of what INFO says; empty where a server hides it."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return lines.get("run_id", "").strip()
