"""The shapes of the timeline."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from app.domain.records import KINDS
from app.web.api.schemas.fields import Id, Input, Ms, Reference


def _known_kind(text: str) -> str:
    if text not in KINDS:
        raise PydanticCustomError("kind", "expected one of {kinds}", {"kinds": ", ".join(KINDS)})
    return text


Kind = Annotated[str, AfterValidator(_known_kind), Field(json_schema_extra={"enum": list(KINDS)})]


class RecordModel(BaseModel):
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


class TimelineQuery(Input):
    machine_id: Reference | None = None
    task_id: Id | None = None
    project_id: Reference | None = None
    environment_id: Reference | None = None
    kind: Kind | None = None
    from_ms: Ms | None = None
    to_ms: Annotated[Ms | None, Field(description="Exclusive.")] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,15}-[0-9]{1,15}$")] | None = None
    format: Literal["json", "ndjson", "csv"] = "json"


class TimelinePage(BaseModel):
    records: list[RecordModel]
    machine_names: Annotated[
        dict[str, str], Field(description="Of the machines in *records*, by their ids in lower case, 2000 at most.")
    ]
    next_cursor: str | None
