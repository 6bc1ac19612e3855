"""The shapes of a wait: what a step asks for, what it is answered, and what an operator does to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, FailFast, Field

from app.domain.shortening import shortened
from app.web.api.schemas.fields import (
    MOST_LISTED,
    Flag,
    Id,
    Input,
    MaybeId,
    MaybeSpaceId,
    Named,
    PageLimit,
    Priority,
    Reason,
    Release,
)
from app.web.polls.long_poll import MOST_SECONDS

#: Machines of one run.
MOST_MACHINES = 10_000

#: Characters of an address that is kept.
_URL_LENGTH = 2000


def _none_if_too_long(value: object) -> object:
    return None if isinstance(value, str) and len(value) > _URL_LENGTH else value


class WaitRequest(Input):
    """What a run asks for; all but *machines* is optional and shown to people."""

    # Only the first wrong one is told of: ten thousand take longer than all else.
    machines: Annotated[list[Id], Field(min_length=1, max_length=MOST_MACHINES), FailFast()]
    space_id: MaybeSpaceId = None
    deployment_id: MaybeId = None
    runbook_run_id: MaybeId = None
    project: Named | None = None
    environment: Named | None = None
    release: Release | None = None
    tenant: Named | None = None
    runbook: Named | None = None
    url: Annotated[
        Annotated[str, Field(pattern=r"^https?://")] | None, BeforeValidator(_none_if_too_long),
        Field(description="One of more than 2000 characters is left out."),
    ] = None  # fmt: skip
    priority: Priority = 0
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=31_536_000)] | None = None
    on_behalf_of: Id | None = None
    parked: Flag = False


class HolderModel(BaseModel):
    """Who makes a machine busy. A reservation has a note, who made it and perhaps an end, but no task."""

    task_id: str | None
    kind: Literal["lease", "observed", "provisional", "reservation", "rebuilding"]
    project: str | None
    release: str | None
    environment: str | None
    since_ms: int
    url: str | None
    note: str | None
    until_ms: int | None
    by: str | None
    paused: bool


#: A place, which is 0 where a run does not wait.
PlaceInLine = Annotated[int | None, BeforeValidator(lambda place: place or None)]


class WaitMachine(BaseModel):
    """A run at one machine; *ahead* are at most 20 tasks, first in line first."""

    id: str
    name: str
    place: PlaceInLine
    holders: list[HolderModel]
    holders_count: Annotated[int, Field(description="A step is told of 5 at most.")]
    ahead: list[str]


class EtaModel(BaseModel):
    """Milliseconds until the grant that half, and nine in ten, of such waits did not exceed."""

    p50: int
    p90: int


class WaitModel(BaseModel):
    """A run as its step sees it."""

    task_id: str
    state: Literal["waiting", "granted", "released", "left", "expired", "timed_out", "refused"]
    place: int | None
    fencing_token: int | None
    requested_at_ms: int | None
    granted_at_ms: int | None
    waited_ms: int
    machines: list[WaitMachine]
    machines_count: Annotated[int, Field(description="A step is told of 50 at most, in an answer of at most 32 KB.")]
    eta_ms: EtaModel | None
    reason: str | None
    wake_key: str
    message: str
    news: Annotated[str, Field(description="Another word when `message` says something new, not when time passes.")]
    claim: Annotated[str | None, Field(description="The execution of a step that the run belongs to.")] = None
    family: Annotated[
        str | None, Field(description="For `on_behalf_of` of its children: `<task id>.<this word>`. A secret.")
    ] = None
    details: Annotated[str | None, Field(description="The address of the run's page.")] = None
    seen: Annotated[str | None, Field(description="For the header X-Octowait-Seen of the next call.")] = None


class WaitsQuery(Input):
    limit: PageLimit = MOST_LISTED
    cursor: Annotated[
        str, Field(pattern=r"^[0-9]{26}$", description="`next_cursor` of the page before.")
    ] | None = None  # fmt: skip


class Waits(BaseModel):
    """A page of those who wait, in order."""

    waits: list[WaitModel]
    waits_count: Annotated[int, Field(description="On all pages.")]
    next_cursor: str | None


class PollQuery(Input):
    block_seconds: Annotated[
        float, Field(ge=0, le=MOST_SECONDS, description="Answer when it waits no longer, or after this.")
    ] = 0
    look: Annotated[
        bool, Field(description="Only look: no sign of life, nothing is collected, and `block_seconds` does not count.")
    ] = False


class ReleaseQuery(Input):
    reason: Annotated[str, AfterValidator(lambda reason: shortened(reason, 1000))] | None = None


class Outcome(BaseModel):
    outcome: Literal["released", "left", "nothing"]


class ReleaseOutcome(Outcome):
    claim: Annotated[str | None, Field(description="The claim that asked for it.")] = None


class ForceRelease(Input):
    reason: Reason
    confirm: Flag = False
    version: Annotated[
        int | None,
        Field(strict=True, ge=0, description="That of the run which was decided about; where it is another now, 409."),
    ] = None


class Prioritize(Input):
    priority: Priority
    reason: Reason
