"""Calls of scripts over the connections of a client's pool, at a third of what the library takes for them.

The library asks the operating system before each call whether an answer lies unread on the connection, or whether the
server has closed it. Here the first is known, and the second is noticed by the call, which is tried again then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis

from app.store.connection import Client, Pool

#: A command with its arguments.
Command = Sequence[str | int]


class Exchange:
    """Sends commands that may be sent again, and reads their answers."""

    def __init__(self, client: Client) -> None:
        pool = client.connection_pool
        self._take = pool.take if isinstance(pool, Pool) else pool.get_connection
        self._give_back = pool.give_back if isinstance(pool, Pool) else pool.release

    def __call__(self, commands: Sequence[Command] | Callable[[], Sequence[Command]]) -> list[Any]:
        """The answer to each of *commands*, in order, with one way to Redis for all; an error of one is its answer.

        Args:
            commands: Or what makes them, called once, when there is a connection: where thousands ask, seconds after
                they did.

        Raises:
            redis.RedisError: no answer, after as many tries as the client makes.
        """
        connection: Any = self._take()
        try:
            due = commands() if callable(commands) else commands
            answers: list[Any] = connection.retry.call_with_retry(
                lambda: _answers(connection, due), lambda _: connection.disconnect()
            )
        except BaseException:
            # Whatever has come between, such as the time-out of a job: an answer that is still on its way must never be
            # read as that of the next call.
            connection.disconnect()
            raise
        else:
            connection.is_settled = True
            return answers
        finally:
            self._give_back(connection)


def _answers(connection: Any, commands: Sequence[Command]) -> list[Any]:
    if len(commands) == 1:
        packed = connection.pack_command(*commands[0])
    else:
        packed = connection.pack_commands(commands)
    connection.send_packed_command(packed)
    return [_answer(connection) for _ in commands]


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
