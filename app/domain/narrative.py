"""A wait told in sentences, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.domain.attribution import Reason, Stretch
from app.domain.durations import format_duration
from app.domain.replay import Wait

#: Stretches that a story tells one by one, the longest ones.
MOST_TOLD = 20


@dataclass(frozen=True)
class Names:
    """What people call things, by lower-case id: ``ServerTasks-4700 (Api 2.0.1 to Production)``, ``web-01``.

    Args:
        urls: Where Octopus shows a task.
        projects: The project of a task, as people call it.
    """

    runs: Mapping[str, str] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, str] = field(default_factory=dict)

    def run(self, task_id: str) -> str:
        return self.runs.get(task_id.lower(), task_id)

    def label(self, task_id: str | None) -> str | None:
        """``Api 2.0.1 to Production``: a run's name without its task, if it has any."""
        return self.runs.get((task_id or "").lower(), "").partition(" (")[2][:-1] or None

    def machine(self, machine_id: str | None) -> str:
        return self.machines.get((machine_id or "").lower(), machine_id or "its machines")


def at(moment_ms: int) -> str:
    """``2026-11-23 18:00:05 UTC``."""
    return f"{datetime.fromtimestamp(moment_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def story(wait: Wait, names: Names) -> list[str]:
    """What happened from the request to the end of the wait, one sentence each."""
    machines = listed([names.machine(machine) for machine in wait.machines])
    sentences = [f"It asked for {machines} at {at(wait.from_ms)}."]
    told = sorted(sorted(wait.stretches, key=_length, reverse=True)[:MOST_TOLD], key=lambda part: part.from_ms)
    sentences += [_sentence(part, names) for part in told]
    left_out = len(wait.stretches) - len(told)
    if left_out:
        rest = wait.lost_ms - sum(map(_length, told))
        sentences.append(f"{left_out} shorter stretches took another {format_duration(rest)} in all.")
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


def _sentence(part: Stretch, names: Names) -> str:
    took, where = format_duration(_length(part)), names.machine(part.machine_id)
    match part.reason:
        case Reason.HOLDER:
            return f"For {took} {names.run(part.task_id or '')} held {where}."
        case Reason.AHEAD:
            return (
                f"For {took} {names.run(part.task_id or '')} stood before it at {where} and waited for another machine."
            )
        case Reason.RESERVATION:
            return f"For {took} {where} was reserved ({part.note})."
        case Reason.REBUILDING:
            return f"For {took} octowait granted nothing until it knew again who runs where."
    return f"For {took} it is not on record who was in its way."


def mentioned(waits: Sequence[Wait]) -> Iterator[str]:
    """The tasks that the stories of *waits* name, perhaps more than once."""
    for wait in waits:
        yield wait.task_id
        yield from (part.task_id for part in wait.stretches if part.task_id)
