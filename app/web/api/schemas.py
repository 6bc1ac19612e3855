"""The shapes of the HTTP contract: what validates the input also writes the OpenAPI document."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.domain.ids import ID_PATTERN, SPACE_PATTERN
from app.domain.run import MAX_PRIORITY
from app.web.long_poll import MOST_SECONDS


def _checked(pattern: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.match(pattern.replace("$", r"\Z"), value):
            raise PydanticCustomError("id", "expected an Octopus id such as {example}", {"example": example})
        return value

    return AfterValidator(check)


def _none_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Id = Annotated[
    str, Field(json_schema_extra={"pattern": ID_PATTERN}, examples=["Machines-7"]), _checked(ID_PATTERN, "Machines-7")
]
SpaceId = Annotated[
    str, Field(json_schema_extra={"pattern": SPACE_PATTERN}, examples=["Spaces-1"]), _checked(SPACE_PATTERN, "Spaces-1")
]
#: An id that may not be known; a step writes an empty text for a variable that Octopus does not have.
MaybeId = Annotated[Id | None, BeforeValidator(_none_if_blank)]
MaybeSpaceId = Annotated[SpaceId | None, BeforeValidator(_none_if_blank)]
Text = Annotated[str, Field(max_length=300)]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]
Priority = Annotated[int, Field(strict=True, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher is sooner.")]
Ms = Annotated[int, Field(ge=0, le=99_999_999_999_999, description="Milliseconds since the epoch.")]


class Input(BaseModel):
    """A field that nobody knows is a typing error, and said to be one."""

    model_config = ConfigDict(extra="forbid")


class Named(Input):
    """Something of Octopus with its id and the name people know it by."""

    id: MaybeId = None
    name: Text | None = None


class Release(Input):
    """A release with its id and version."""

    id: MaybeId = None
    version: Text | None = None


class WaitRequest(Input):
    """What a run asks for; all but *machines* is optional and shown to people."""

    machines: Annotated[list[Id], Field(min_length=1, max_length=1000)]
    space_id: MaybeSpaceId = None
    deployment_id: MaybeId = None
    runbook_run_id: MaybeId = None
    project: Named | None = None
    environment: Named | None = None
    release: Release | None = None
    tenant: Named | None = None
    url: Annotated[str, Field(max_length=2000, pattern=r"^https?://")] | None = None
    priority: Priority = 0
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=31_536_000)] | None = None
    on_behalf_of: Id | None = None
    parked: bool = False


class Holder(BaseModel):
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


class WaitMachine(BaseModel):
    """A run at one machine; *ahead* are at most 20 tasks, first in line first."""

    id: str
    name: str
    place: int | None
    holders: list[Holder]
    ahead: list[str]


class Eta(BaseModel):
    """Milliseconds until the grant that half, and nine in ten, of such waits did not exceed."""

    p50: int
    p90: int


class Wait(BaseModel):
    """A run as its step sees it."""

    task_id: str
    state: Literal["waiting", "granted", "released", "left", "expired", "timed_out", "refused"]
    place: int | None
    fencing_token: int | None
    requested_at_ms: int | None
    granted_at_ms: int | None
    waited_ms: int
    machines: list[WaitMachine]
    eta_ms: Eta | None
    reason: str | None
    wake_key: str
    message: str


class Waits(BaseModel):
    """Everyone waiting, in order."""

    waits: list[Wait]


class PollQuery(Input):
    block_seconds: Annotated[
        float, Field(ge=0, le=MOST_SECONDS, description="Answer when it waits no longer, or after this.")
    ] = 0


class ReleaseQuery(Input):
    reason: Annotated[str, Field(max_length=1000)] | None = None


class Outcome(BaseModel):
    outcome: Literal["released", "left", "nothing"]


class Delivered(BaseModel):
    event: str | None
    outcome: Literal["applied", "duplicate", "ignored", "kept"]


class ReservationRequest(Input):
    note: Reason
    until_ms: Annotated[Ms, Field(strict=True)] | None = None


class Reservation(BaseModel):
    id: str
    note: str
    by: str
    since_ms: int
    until_ms: int | None = None


class Unreserved(BaseModel):
    outcome: Literal["unreserved", "nothing"]


class ForceRelease(Input):
    reason: Reason
    confirm: bool = False


class Prioritize(Input):
    priority: Priority
    reason: Reason


class InLine(BaseModel):
    """A waiter of one machine."""

    task_id: str
    place: int
    priority: int
    requested_at_ms: int
    project: str | None
    release: str | None
    environment: str | None
    url: str | None


class Machine(BaseModel):
    id: str
    name: str
    status: Literal["busy", "reserved", "idle"]
    holders: list[Holder]
    line: list[InLine]
    reservation: Reservation | None


class OctopusUnreachable(BaseModel):
    """Since when Octopus does not answer, why, how often it was asked in vain, and when last."""

    since_ms: int
    why: str
    failures: int
    asked_ms: int


class UnseenRun(BaseModel):
    """A run that holds or waits, or is to be resolved, and of which Octopus says nothing: its end will not be seen."""

    task_id: str
    space_id: str | None
    why: Annotated[str, Field(examples=["Octopus answers 403 for Spaces-99"])]
    since_ms: int


class Machines(BaseModel):
    now_ms: int
    machines: list[Machine]
    unresolved: Annotated[list[str], Field(description="Running tasks whose machines are not known yet.")]
    unseen: list[UnseenRun]
    closed_since_ms: Annotated[int | None, Field(description="Nobody is granted since then; null: the board is open.")]
    octopus_unreachable: Annotated[OctopusUnreachable | None, Field(description="null: Octopus answers.")]


class Record(BaseModel):
    """One change. *at_ms* is octowait's clock; times of Octopus are in *detail*."""

    id: str
    at_ms: int
    kind: str
    task_id: str | None
    run: int | None
    machines: list[str]
    project_id: str | None
    environment_id: str | None
    cause: str | None
    detail: dict[str, Any]


class RunFacts(BaseModel):
    """One run: its facts and its timeline, which goes on from earlier runs of the same task."""

    task_id: str
    run: int
    state: str
    message: str
    machines: list[WaitMachine]
    info: dict[str, Any]
    priority: int
    requested_at_ms: int | None
    granted_at_ms: int | None
    ended_at_ms: int | None
    waited_ms: int | None
    held_ms: int | None
    started_oct_ms: int | None
    ended_oct_ms: int | None
    cause: str | None
    reason: str | None
    paused: bool
    unseen: Annotated[str | None, Field(description="Why its end will not be seen, where Octopus hides it.")] = None
    timeline: list[Record]


class MachineDetail(Machine):
    last_runs: list[RunFacts]


class TimelineQuery(Input):
    machine_id: Id | None = None
    task_id: Id | None = None
    project_id: Id | None = None
    environment_id: Id | None = None
    kind: Annotated[str, Field(pattern=r"^[a-z_]+$")] | None = None
    from_ms: Ms | None = None
    to_ms: Annotated[Ms | None, Field(description="Exclusive.")] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,15}-[0-9]{1,15}$")] | None = None
    format: Literal["json", "ndjson", "csv"] = "json"


class TimelinePage(BaseModel):
    records: list[Record]
    next_cursor: str | None


class KeptBody(BaseModel):
    id: str
    at_ms: int
    reason: str
    body: str
    event: str | None = None


class Kept(BaseModel):
    """Deliveries that could not be applied, newest first."""

    kept: list[KeptBody]


class Requested(BaseModel):
    outcome: Literal["requested"]


class ArchivedDay(BaseModel):
    """The records of one day (UTC) in one file; *hash* is that of its last line, and goes on in the next file."""

    day: str
    first_id: str
    last_id: str
    first_seq: int
    count: int
    previous: str
    hash: str


class ArchiveState(BaseModel):
    """The files that the web process sees, oldest first, and *head*, the last day that was archived."""

    days: list[ArchivedDay]
    head: ArchivedDay | None


class ArchiveRequest(Input):
    begin_anew: Annotated[bool, Field(description="Expect no earlier files: they are lost.")] = False


class RebuildRequest(Input):
    reason: Reason
    open: Annotated[bool, Field(description="Grant again at once, without asking Octopus.")] = False


class Rebuilt(BaseModel):
    outcome: Literal["closed", "was_closed", "opened", "was_open"]


class DeadLetter(BaseModel):
    id: str
    at_ms: int
    job: str
    error: str


class DeadLetters(BaseModel):
    """Jobs that failed, newest first."""

    dead_letters: list[DeadLetter]


class Forgotten(BaseModel):
    outcome: Literal["forgotten"]


class ProblemDetails(BaseModel):
    """RFC 9457."""

    status: int
    title: str
    detail: str
    code: str
