"""The shapes of what an operator asks of the workers, of deliveries, and of what failed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.web.api.schemas.fields import Flag, Input, Reason


class Delivered(BaseModel):
    event: str | None
    outcome: Literal["applied", "duplicate", "ignored", "kept"]


class KeptBody(BaseModel):
    id: str
    at_ms: int
    reason: str
    body: str
    event: str | None = None


class KeptDeliveries(BaseModel):
    """Deliveries that could not be applied, newest first."""

    kept: list[KeptBody]


class SignInCode(BaseModel):
    """A link ends with ``/sign-in#code=`` and this; it signs in once, within ten minutes."""

    code: str


class RefusedCall(BaseModel):
    """What was refused in the last day: *who* is a token's name and role, or what is known."""

    who: str
    address: str
    why: str
    count: int
    first_ms: int
    last_ms: int


class RefusedCalls(BaseModel):
    """The latest first."""

    refusals: list[RefusedCall]


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
    begin_anew: Annotated[Flag, Field(description="Expect no earlier files: they are lost.")] = False


class RebuildRequest(Input):
    reason: Reason
    open: Annotated[Flag, Field(description="Grant again at once, without asking Octopus.")] = False


class RebuiltModel(BaseModel):
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


class ProcessStatus(BaseModel):
    status: Literal["alive", "ready"]
