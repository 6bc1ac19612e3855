"""The lines of a manual intervention's instructions by which octowait knows that of a parked wait as its own.

The claim line names the claim that left its place to the intervention. The terms line says what that asked for; alone
it is what interventions have whose claim step is of before claims.

They stand in the process as `CLAIM_LINE` and `TERMS_LINE`, with expressions that Octopus fills in when it raises the
intervention. Only who may edit a process writes there. What a release note or a variable brings into the instructions
is told from it by looking at the instructions of the process, which nothing has been filled into.

Source: docs/how-to/wait-without-a-task-slot.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from app.domain.run import MAX_PRIORITY

#: The line as it stands in a process, word for word.
TERMS_LINE = (
    "octowait: on behalf of [#{Octowait.OnBehalfOf}], priority [#{Octowait.Priority}], "
    "time-out [#{Octowait.TimeoutMinutes}] min"
)

#: The other line as it stands there, where the claim step is named ``Claim``.
CLAIM_LINE = "octowait: claim #{Octopus.Action[Claim].Output.Octowait.Claim}"

#: The same with any name of the step.
_CLAIM_LINE = re.compile(r"octowait: claim #\{Octopus\.Action\[[^\[\]{}]+\]\.Output\.Octowait\.Claim\}")

_FILLED_CLAIM = re.compile(r"octowait: claim ([A-Za-z0-9_-]{16,64})")

#: ``Octowait.TimeoutMinutes`` where it is not set.
DEFAULT_MINUTES = 120

_FILLED = re.compile(
    r"octowait: on behalf of \[(?P<parent>[^\]]*)\], priority \[(?P<priority>[^\]]*)\], "
    r"time-out \[(?P<minutes>[^\]]*)\] min"
)

#: What begins and ends a part of the instructions that Octopus leaves out or repeats.
_BLOCK = re.compile(r"#\{\s*(/?)\s*(?:if|unless|each)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Terms:
    """What a parked run asked for besides its machines. *is_complete*: what is not here it had not asked for.

    *on_behalf_of* is what the step gave, perhaps with the word of a family: `app.domain.run.parse_parent` reads it.
    """

    on_behalf_of: str | None = None
    priority: int = 0
    timeout: timedelta | None = None
    is_complete: bool = False


def has_terms_line(instructions: str) -> bool:
    """Whether instructions as they stand in a process have the terms line, whole, and always.

    Between ``#{if …}`` and ``#{/if}`` it does not count: the same step may ask for somebody's approval otherwise.
    """
    return TERMS_LINE in _constant_lines(instructions)


def has_claim_line(instructions: str) -> bool:
    """The same of the claim line."""
    return any(map(_CLAIM_LINE.fullmatch, _constant_lines(instructions)))


def has_own_line(instructions: str) -> bool:
    """Whether instructions as they stand in a process have one of the lines by which octowait knows its own."""
    return has_claim_line(instructions) or has_terms_line(instructions)


def _constant_lines(instructions: str) -> Iterator[str]:
    """The lines that are always there."""
    depth = 0
    for line in _lines(instructions):
        if depth == 0:
            yield line
        depth += sum(-1 if block[1] else 1 for block in _BLOCK.finditer(line))


def claims_in(instructions: str) -> frozenset[str]:
    """The claims that the instructions of an intervention name, each in a line of its own; one is what is expected."""
    return frozenset(line[1] for line in map(_FILLED_CLAIM.fullmatch, _lines(instructions)) if line)


def shows_own_line(instructions: str) -> bool:
    """Whether the instructions of an intervention, which Octopus has filled in, have one of the lines.

    It proves nothing: a release note can have one too. Without it the intervention is certainly not octowait's.
    """
    return bool(claims_in(instructions)) or shows_terms(instructions)


def shows_terms(instructions: str) -> bool:
    """Whether the instructions of an intervention have a terms line, filled in."""
    return any(True for _ in _filled(instructions))


def parse_terms(instructions: str) -> Terms:
    """The terms that the instructions of an intervention say; none where two lines say different ones.

    An expression that Octopus could not resolve stands there as it is, and is a parameter that was not set.
    """
    lines = {line.groups(): line for line in _filled(instructions)}
    if len(lines) != 1:
        # One of them came with a variable, and nobody knows which.
        return Terms()
    (line,) = lines.values()
    parent = re.fullmatch(r"ServerTasks-[0-9]+(\.[A-Za-z0-9_-]{16,64})?", line["parent"], re.IGNORECASE)
    priority = re.fullmatch(r"-?[0-9]{1,7}", line["priority"])
    minutes = re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", line["minutes"])
    return Terms(
        on_behalf_of=parent[0] if parent else None,
        priority=max(-MAX_PRIORITY, min(MAX_PRIORITY, int(priority[0]))) if priority else 0,
        timeout=timedelta(minutes=float(minutes[0]) if minutes else DEFAULT_MINUTES),
        is_complete=True,
    )


def _filled(instructions: str) -> Iterator[re.Match[str]]:
    return filter(None, map(_FILLED.fullmatch, _lines(instructions)))


def _lines(text: str) -> Iterator[str]:
    # Not `str.splitlines`: to Octopus and to people only these end a line.
    return (line.strip(" \t\r") for line in text.replace("\r", "\n").split("\n"))
