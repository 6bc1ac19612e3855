"""Scripts that write keys beside those of the board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import redis

from app.store.connection import Client
from app.store.keys import Keys
from app.store.schema import own_answer
from app.store.scripts import source
from app.store.wrong_types import named_wrong_type


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
