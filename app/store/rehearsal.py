"""A rehearsal: calls that are queued in a transaction which is dropped, so that the server says what it would refuse.

Redis looks at rights, memory, its role and its disk when a command is queued, so nothing is changed to find that out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from app.store.connection import Client
from app.store.rights import calls, missing_right
from app.store.scripts import redis_errors

#: The kind of a refusal by what the client makes of it.
_KINDS = {
    redis.exceptions.NoPermissionError: "right",
    redis.exceptions.OutOfMemoryError: "full",
    redis.exceptions.ReadOnlyError: "read_only",
}


@dataclass(frozen=True)
class StoreRefusal:
    """What a server that answers would refuse.

    *kind* is ``right``, ``full``, ``read_only`` or ``other``; *what* a rule that is missing, or the server's words.
    """

    kind: str
    what: str


def refusals(client: Client, process: str, namespace: str) -> tuple[StoreRefusal, ...]:
    """What the server would refuse of all that *process* calls, each once.

    Raises:
        StoreError: Redis does not answer, or does not even let the rehearsal begin.
    """
    refused: dict[StoreRefusal, None] = {}
    for call, error in _rehearse(client, calls(process, namespace)):
        kind = next((kind for of, kind in _KINDS.items() if isinstance(error, of)), "other")
        what = missing_right(call, str(error), process, namespace) if kind == "right" else str(error)
        if kind == "right" or not any(each.kind == kind for each in refused):
            refused[StoreRefusal(kind, what)] = None
    return tuple(refused)


def _rehearse(client: Client, planned: Sequence[Sequence[str]]) -> list[tuple[Sequence[str], redis.ResponseError]]:
    """The calls that were refused, with what was said of them."""
    pool = client.connection_pool
    with redis_errors():
        connection: Any = pool.get_connection()
        is_done = False
        try:
            # Alone and first: without it, what follows would be done.
            connection.send_command("MULTI")
            connection.read_response()
            connection.send_packed_command(connection.pack_commands([*planned, ("DISCARD",)]))
            *answers, discarded = [_answer(connection) for _ in (*planned, "DISCARD")]
            is_done = not isinstance(discarded, redis.ResponseError)
        finally:
            if not is_done:
                # It may have a transaction open, or answers that nobody has read.
                connection.disconnect()
            pool.release(connection)
    return [(call, answer) for call, answer in zip(planned, answers, strict=True)
            if isinstance(answer, redis.ResponseError)]  # fmt: skip


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
