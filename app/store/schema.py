"""The version of the data, and what a process is told that is too old to write them.

Source: lua/lib/schema.lua, which has the same number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.store.errors import NewerData

#: The version of the data that this octowait writes.
SCHEMA = 1

#: Fields of the counters: the oldest version that may still write, and the octowait that came with it.
FIELDS = ("oldest_writer", "oldest_release")


def needed_release(oldest: bytes | None, release: bytes | None) -> str | None:
    """The octowait that may write the data, as the `FIELDS` say it; None where this one may."""
    if oldest is None or (oldest.isdigit() and int(oldest) <= SCHEMA):
        return None
    return (release or b"").decode() or "a newer one"


def refuse_newer(oldest: bytes | None, release: bytes | None) -> None:
    """Raises: NewerData: where only a later octowait may write."""
    if needed := needed_release(oldest, release):
        raise NewerData(
            f"the data in Redis are of a newer octowait, and this one changes nothing: take octowait {needed} here, "
            "or a later one"
        )


def own_answer(answer: Sequence[Any]) -> Sequence[Any]:
    """The *answer* of a script that may have found that it is too old. Raises: NewerData."""
    if answer[0] == b"newer":
        refuse_newer(answer[1], answer[2])
    return answer
