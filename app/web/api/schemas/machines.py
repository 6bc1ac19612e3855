"""The shapes of machines, their reservations and their runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.web.api.schemas.fields import MOST_LISTED, Id, Input, Ms, PageLimit, Reason
from app.web.api.schemas.timeline import RecordModel
from app.web.api.schemas.waits import HolderModel, WaitMachine


class ReservationRequest(Input):
    note: Reason
    until_ms: Annotated[Ms, Field(strict=True)] | None = None
    create: Annotated[bool, Field(strict=True, description="The machine may be one that nobody has used yet.")] = False


class ReservationModel(BaseModel):
    id: str
    note: str
    by: str
    since_ms: int
    until_ms: int | None = None


class Unreserved(BaseModel):
    outcome: Literal["unreserved", "nothing"]


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


class MachineModel(BaseModel):
    id: str
    name: str
    status: Literal["busy", "reserved", "idle"]
    holders: list[HolderModel]
    line: list[InLine]
    reservation: ReservationModel | None


class OctopusUnreachableModel(BaseModel):
    """Since when Octopus does not answer, why, how often it was asked in vain, and when last."""

    since_ms: int
    why: str
    failures: int
    asked_ms: int


class UnseenRunModel(BaseModel):
    """A run that holds or waits, or is to be resolved, and of which Octopus says nothing: its end will not be seen."""

    task_id: str
    space_id: str | None
    why: Annotated[str, Field(examples=["Octopus answers 403 for Spaces-99"])]
    since_ms: int


class FaultModel(BaseModel):
    """Something that needs a person: what is the matter, what to do, and since when, where that is known."""

    code: Annotated[str, Field(examples=["held_beyond_all"])]
    message: str
    do: str
    since_ms: int | None
    task_id: str | None


class OldStepModel(BaseModel):
    """A project whose step is a script of before claims: a late call of it may end another run of its task."""

    project_id: str
    project: str | None
    space_id: str | None
    at_ms: Annotated[int, Field(description="When its step asked for a place last.")]


class MachinesQuery(Input):
    limit: PageLimit = MOST_LISTED
    cursor: Annotated[Id, Field(description="`next_cursor` of the page before.")] | None = None


class Machines(BaseModel):
    """A page of the machines, by name. What is told of the whole board stands on the first page."""

    now_ms: int
    machines: list[MachineModel]
    machines_count: Annotated[int, Field(description="On all pages.")]
    next_cursor: str | None
    unresolved: Annotated[list[str], Field(description="Running tasks whose machines are not known yet.")]
    unseen: list[UnseenRunModel]
    faults: list[FaultModel]
    old_steps: Annotated[
        list[OldStepModel], Field(description="Projects whose step said no version of its script when it asked last.")
    ]
    closed_since_ms: Annotated[int | None, Field(description="Nobody is granted since then; null: the board is open.")]
    closed_why: Annotated[str | None, Field(description="Why, in words.")]
    octopus_unreachable: Annotated[OctopusUnreachableModel | None, Field(description="null: Octopus answers.")]


class RunFactsModel(BaseModel):
    """One run: its facts and its timeline, which goes on from earlier runs of the same task."""

    task_id: str
    run: int
    version: Annotated[int, Field(description="Grows with every change of the run.")]
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
    timeline: list[RecordModel]


class MachineDetail(MachineModel):
    last_runs: list[RunFactsModel]
