"""Keeps the answers to steps below 32 KB: lists are cut, and counted, and texts are shortened.

A step reads an answer of a run with 10,000 machines as fast as one of a run with two; a shell cannot read a megabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from app.domain.neutral import neutral
from app.domain.shortening import shortened_bytes
from app.domain.status import Holder, MachinePlace, in_the_way
from app.queries.views import WaitAnswer
from app.web.api.schemas.waits import WaitModel

#: Bytes of an answer in JSON, at most, without the blanks that may be written between its values.
MOST_BYTES = 30_000

#: Machines of a run, and those who make one of them busy, that are told one by one.
MOST_MACHINES, MOST_HOLDERS = 50, 5

#: Bytes of a text that people named, or that names such things, by its field.
TEXT_BYTES = {
    "message": 4000, "reason": 2000,
    **dict.fromkeys(("name", "project", "release", "environment", "note", "by"), 200),
}  # fmt: skip

#: Bytes of an address; a longer one is left out, since a part of it leads nowhere.
URL_BYTES = 1000

_Model = TypeVar("_Model", bound=BaseModel)


def step_model(answer: WaitAnswer) -> WaitModel:
    """The JSON answer to a step, cut to fit."""
    model = _short(WaitModel.model_validate(_Cut(answer), from_attributes=True))
    while len(model.machines) > 1 and len(model.model_dump_json(ensure_ascii=True)) > MOST_BYTES:
        model = model.model_copy(update={"machines": model.machines[: len(model.machines) // 2]})
    return model


def step_message(answer: WaitAnswer) -> str:
    """The message of a text answer, in one line."""
    return shortened_bytes(neutral(" ".join(answer.message.split())), TEXT_BYTES["message"])


@dataclass(frozen=True)
class _Cut:
    """An answer with few of its machines; all else is the answer's."""

    answer: WaitAnswer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.answer, name)

    @property
    def machines(self) -> list[_CutMachine]:
        """Those of which the message speaks, then the others in their order."""
        run = self.answer
        spoken = in_the_way(run) if run.is_waiting and len(run.machines) > MOST_MACHINES else ()
        first = {machine.id: machine for machine in (*spoken, *run.machines[:MOST_MACHINES]) if machine}
        return [_CutMachine(machine) for machine in list(first.values())[:MOST_MACHINES]]


@dataclass(frozen=True)
class _CutMachine:
    """A run at one machine, with few of those who make it busy; all else is the machine's."""

    machine: MachinePlace

    def __getattr__(self, name: str) -> Any:
        return getattr(self.machine, name)

    @property
    def holders(self) -> tuple[Holder, ...]:
        return self.machine.holders[:MOST_HOLDERS]


def _short(model: _Model) -> _Model:
    """The model with its texts shortened, and safe to print: that can make them longer, and so comes first."""
    update: dict[str, Any] = {}
    for name, value in model:
        if name in TEXT_BYTES and value is not None:
            update[name] = shortened_bytes(neutral(value), TEXT_BYTES[name])
        elif name in ("url", "details") and value is not None and len(value) > URL_BYTES:
            update[name] = None
        elif name in ("machines", "holders"):
            update[name] = [_short(each) for each in value]
    return model.model_copy(update=update)
