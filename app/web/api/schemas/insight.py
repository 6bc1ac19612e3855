"""The shapes of what is derived from the timeline: ledger, explanations, the accuracy of ETAs."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from app.web.api.schemas.fields import Input, Ms, Reference
from app.web.api.schemas.waits import EtaModel, PlaceInLine

#: The values of `app.domain.analysis.ledger.By`.
GroupBy = Literal["machine", "project", "blocker", "environment", "week"]


class LedgerQuery(Input):
    """What to add up. Without *from_ms* the last 30 days."""

    by: GroupBy = "machine"
    machine_id: Annotated[
        Reference | None, Field(description="Only what was lost at this machine, an id or a name.")
    ] = None
    project_id: Annotated[
        Reference | None, Field(description="Only what runs of this project lost, an id or a name.")
    ] = None
    from_ms: Ms | None = None
    to_ms: Annotated[Ms | None, Field(description="Exclusive; now by default.")] = None
    format: Literal["json", "csv"] = "json"


class StretchModel(BaseModel):
    """A part of a wait and who was in its way then; the stretches of a wait add up to it exactly."""

    from_ms: int
    to_ms: int
    reason: Literal["holder", "ahead", "reservation", "rebuilding", "nobody"]
    machine_id: str | None
    machine: Annotated[str | None, Field(description="Its name.")]
    task_id: Annotated[str | None, Field(description="The run in the way.")]
    project_id: str | None
    environment_id: str | None
    label: str | None
    url: str | None
    note: str | None


class WaitStoryModel(BaseModel):
    """A wait that is over, or goes on (*outcome* is `waiting`). *lost_ms* is what of it lies in the range asked for."""

    task_id: str
    run: int
    label: str
    url: str | None
    machines: list[str]
    project_id: str | None
    environment_id: str | None
    from_ms: int
    to_ms: int
    waited_ms: int
    lost_ms: int
    outcome: str
    cause: str | None
    stretches: Annotated[list[StretchModel], Field(description="At most 200, the first ones.")]
    more_stretches: int
    story: list[str]


class LedgerRow(BaseModel):
    """One group. *share* is the part of the lead time (waiting and holding) of ended deployments that was waiting."""

    key: str | None
    name: str | None
    waits: int
    lost_ms: int
    median_ms: int
    p90_ms: int
    worst_ms: int
    share: float | None


class LedgerAnswer(BaseModel):
    """What was lost by waiting from *from_ms* until *to_ms*."""

    by: GroupBy
    from_ms: int
    to_ms: int
    known_from_ms: Annotated[
        int | None,
        Field(description="What was before is not on record, or in an archive that is not here."),
    ]
    total: LedgerRow
    rows: list[LedgerRow]
    longest: list[WaitStoryModel]


class Accuracy(BaseModel):
    """How often waits took no longer than was foretold when they began."""

    waits: int
    without_eta: Annotated[int, Field(description="Waits of which nothing was foretold: there was no history.")]
    within_p50: int
    within_p90: int
    share_within_p50: float | None
    share_within_p90: float | None
    mean_error_ms: int | None


class WeekAccuracy(Accuracy):
    week: str


class EtaReport(Accuracy):
    weeks: list[WeekAccuracy]


class LinkModel(BaseModel):
    """One who is in the way of the one before."""

    kind: Literal["working", "paused", "waiting", "reservation", "rebuilding"]
    task_id: str | None
    label: str
    machine_id: str
    machine: str
    since_ms: int
    url: str | None
    remedy: str
    place: int | None
    eta_ms: EtaModel | None
    note: str | None
    by: str | None
    until_ms: int | None


class AlternativeModel(BaseModel):
    """How the run would stand; *machine_id* is what it would do without, if anything."""

    machine_id: str | None
    machine: str | None
    place: int
    starts_now: bool
    blocked_by: list[str]
    passes: int
    refused: Annotated[bool, Field(description="It would wait for itself then, so it stays where it is.")]
    eta_ms: EtaModel | None


class Line(BaseModel):
    """Who is before the run at one machine; *more* are behind the first 20 of *ahead* and before it."""

    id: str
    name: str
    place: PlaceInLine
    holders: list[Annotated[str, BeforeValidator(attrgetter("label"))]]
    ahead: list[str]
    more: int


class WhatIf(BaseModel):
    first: Annotated[AlternativeModel, Field(description="With the highest priority.")]
    without: Annotated[
        list[AlternativeModel],
        Field(description="Without each of its machines; of more than 20, those at which it stands farthest behind."),
    ]


class ExplainAnswer(BaseModel):
    """Why a run stands where it does; of one that waits no longer, what it waited for."""

    task_id: str
    state: str
    message: str
    url: str | None
    now_ms: int
    sentences: list[str]
    eta_ms: EtaModel | None
    chain: list[LinkModel]
    chain_is_cut: bool
    machines: list[Line]
    what_if: WhatIf | None
    unresolved: Annotated[list[str], Field(description="Running tasks whose machines are not known yet, at most 20.")]
    waits: Annotated[
        list[WaitStoryModel], Field(description="The waits of this task, oldest first, at most the last 20.")
    ]
