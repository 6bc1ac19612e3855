"""When the board was read, and whether it was open then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """When the board was read, and whether it was open.

    Args:
        closed_cause: Why it is not, as the timeline names causes.
        unrecorded: How many changes had no record in the timeline.
        unrecorded_run: The run of the last of them.
    """

    now_ms: int
    closed_since_ms: int | None
    closed_cause: str | None
    unrecorded: int
    unrecorded_run: str

    @classmethod
    def of(cls, time: tuple[int, int], door: Sequence[bytes | None], offset_ms: int) -> Moment:
        opened, closed, cause, shift_ms, unrecorded, run = door
        now_ms = time[0] * 1000 + time[1] // 1000 + int(shift_ms or 0) + offset_ms
        closed_since_ms = None if opened else int(closed or now_ms)
        closed_cause = cause.decode() if closed_since_ms and cause else None
        return cls(now_ms, closed_since_ms, closed_cause, int(unrecorded or 0), (run or b"").decode())
