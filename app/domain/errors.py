"""The errors of the gate.

GateError
├── InvalidId        an id is not of the form Octopus gives
├── NoMachines       a run asked for no machine
├── HoldsOthers      a run asked for more than it waits for or holds
├── ClosesCircle     a run would wait for itself
├── NotWaiting       only a waiting run can do this
├── UnknownRun       nobody has heard of this run
├── UnknownName      nothing that octowait knows has this id or name
├── AmbiguousName    several things have this name
├── RunChanged       a run is not any more what it was when somebody decided about it
├── AnotherOwner     a run belongs to another token than the one that asks
├── TooManyWaiting   as many runs of a token wait as may
├── QuotaReached     the runs of a token may add no more of something on this day
└── InThePast        a time that had to be in the future is not
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.domain.run import RunState


class GateError(Exception):
    """The base of errors of the gate; the message says what was asked and what was expected."""

    code = "invalid"


class InvalidId(GateError):
    """An id is not of the form Octopus gives."""


class NoMachines(GateError):
    """A run asked for no machine."""

    code = "no_machines"


class HoldsOthers(GateError):
    """A run asked for more machines than it waits for or holds."""

    code = "holds_others"


class ClosesCircle(GateError):
    """A run would wait for itself; the message names the circle."""

    code = "closes_circle"


class NotWaiting(GateError):
    """Only a waiting run can do this."""

    code = "not_waiting"


class UnknownRun(GateError):
    """Nobody has heard of this run."""

    code = "unknown_run"


class UnknownName(GateError):
    """Nothing that octowait knows has this id or name; the message has the nearest ones."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.code = f"unknown_{kind}"


class AmbiguousName(GateError):
    """Several things have this name; the message asks which is meant."""

    code = "ambiguous_name"


class InThePast(GateError):
    """A time that had to be in the future is not."""

    code = "in_the_past"


class RunChanged(GateError):
    """A run is not any more what it was when somebody decided about it.

    Args:
        state: Where it stands now.
    """

    code = "run_changed"

    def __init__(self, task_id: str, state: str) -> None:
        now = state.replace("_", " ")
        super().__init__(
            f"{task_id} has changed since this was decided, and is {now} now: look at it again, and repeat"
        )


class AnotherOwner(GateError):
    """A run belongs to another token than the one that asks.

    Args:
        run: As it stands at *now_ms*.
    """

    code = "another_owner"

    def __init__(self, message: str, run: RunState, now_ms: int) -> None:
        super().__init__(message)
        self.run = run
        self.now_ms = now_ms


class TooManyWaiting(GateError):
    """As many runs of a token wait as may."""

    code = "too_many_waiting"


class QuotaReached(GateError):
    """The runs of a token may add no more of something on this day.

    Args:
        limit: The one of the token that stands against it, e.g. ``max_new_machines``.
    """

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.code = f"{limit}_reached"
