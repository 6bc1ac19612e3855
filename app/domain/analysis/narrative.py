"""The narrative of a wait, in sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from app.domain.analysis.fronts import Stretch
from app.domain.analysis.replay import Wait
from app.domain.durations import format_duration
from app.domain.phrases import several
from app.domain.wording import Names, blocker

#: Stretches that a story tells one by one, the longest ones; and machines that it names, the first ones.
MOST_TOLD = 20


def at(moment_ms: int) -> str:
    """``2026-11-23 18:00:05 UTC``."""
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def story(wait: Wait, names: Names) -> list[str]:
    """The narrative of a wait from its request to its end, a sentence for each event."""
    more = len(wait.machines) - MOST_TOLD
    first = [names.machine(machine) for machine in wait.machines[:MOST_TOLD]]
    machines = listed([*first, f"{more} more"] if more > 0 else first)
    sentences = [f"It asked for {machines} at {at(wait.from_ms)}."]
    parts = sorted(sorted(wait.stretches, key=_length, reverse=True)[:MOST_TOLD], key=lambda part: part.from_ms)
    sentences += [f"For {format_duration(_length(part))} {blocker(part, names)}." for part in parts]
    left_out = len(wait.stretches) - len(parts)
    if left_out:
        rest = wait.lost_ms - sum(map(_length, parts))
        shorter = several(left_out, "shorter stretch", "shorter stretches")
        sentences.append(f"{shorter} took another {format_duration(rest)} in all.")
    return [
        *sentences,
        _ENDS.get(wait.outcome, _ELSE).format(waited=format_duration(wait.waited_ms), at=at(wait.to_ms)),
    ]


_ENDS = {
    "granted": "After {waited} it was granted them all, at {at}.",
    "waiting": "It has waited for {waited} so far.",
    "observed": "After {waited} somebody let it go on before its turn, at {at}.",
}

_ELSE = "After {waited} it left the line without a grant, at {at}."


def _length(part: Stretch) -> int:
    return part.to_ms - part.from_ms


def mentioned(waits: Sequence[Wait]) -> Iterator[str]:
    """The tasks that the stories of *waits* name, perhaps more than once."""
    for wait in waits:
        yield wait.task_id
        yield from (part.task_id for part in wait.stretches if part.task_id)
