"""The first step of a process: whether it is octowait's own step or gate, so that its run is about to ask."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.octopus.processes import Action, Step

#: How our scripts begin, whatever language.
SCRIPT_HEADER = re.compile(r"^# (wait|claim|release)\.(?:sh|py|ps1): ", re.MULTILINE)

#: The parameter that every template of ours has.
PARAMETER = "Octowait.Url"

#: The instructions of a gate, or the line in those of a claim's intervention that is for octowait.
_INSTRUCTIONS = re.compile(r"\A\s*octowait: gate |^octowait: on behalf of \[[^\n]*\] min\s*$", re.MULTILINE)

#: The type of a manual intervention.
MANUAL = "Octopus.Manual"


@dataclass(frozen=True)
class FirstAction:
    """The first action of a process that runs. *asks*: it is ours, and runs before all others wherever it is not
    skipped.
    """

    id: str | None
    asks: bool

    def is_expected(self, skipped: Collection[str]) -> bool:
        """Whether a run that skips these actions asks octowait first."""
        if self.id is None:
            return self.asks and not skipped
        return self.asks and self.id.lower() not in {each.lower() for each in skipped}


def first_action(steps: Sequence[Step]) -> FirstAction:
    """How the process begins. What is not certain counts as not ours."""
    enabled = [(step, action) for step in steps for action in step.actions if not action.is_disabled]
    if not enabled:
        return FirstAction(None, asks=False)
    (step, action), rest = enabled[0], [other for other, _ in enabled[1:]]
    is_certain = not step.is_conditional and not action.is_scoped
    is_alone = all(other is not step for other in rest) and not (rest and rest[0].starts_beside)
    return FirstAction(action.id, asks=is_certain and is_alone and _is_ours(action))


def _is_ours(action: Action) -> bool:
    if action.type == MANUAL:
        return _INSTRUCTIONS.search(action.instructions) is not None
    header = SCRIPT_HEADER.search(action.script)
    if header:
        return header[1] != "release"
    return not action.script and PARAMETER in action.parameters
