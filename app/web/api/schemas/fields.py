"""Fields that the shapes of the HTTP contract share, and the shape of its errors."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.domain.ids import ID_PATTERN, SPACE_PATTERN
from app.domain.run import MAX_PRIORITY
from app.domain.shortening import shortened

_HALF = re.compile(r"[\ud800-\udfff]")


def _checked(pattern: str, example: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.match(pattern.replace("$", r"\Z"), value):
            raise PydanticCustomError("id", "expected an Octopus id such as {example}", {"example": example})
        return value

    return AfterValidator(check)


def _readable(name: str) -> str:
    """*name* of at most 300 characters, without halves of surrogate pairs, which no encoding can write."""
    return shortened(_HALF.sub("\N{REPLACEMENT CHARACTER}", name), 300)


def _none_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _or_blank(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string", "pattern": r"^\s*$", "description": "As null."})


Id = Annotated[
    str, Field(json_schema_extra={"pattern": ID_PATTERN}, examples=["Machines-7"]), _checked(ID_PATTERN, "Machines-7")
]
SpaceId = Annotated[
    str, Field(json_schema_extra={"pattern": SPACE_PATTERN}, examples=["Spaces-1"]), _checked(SPACE_PATTERN, "Spaces-1")
]
#: An id, or the name that people know it by.
Reference = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$",
               description="An id or a name.", examples=["web-01", "Machines-7"]),
]  # fmt: skip
#: A yes or no, and no word or number that could be taken for one.
Flag = Annotated[bool, Field(strict=True)]
#: An id that may not be known; a step writes an empty text for a variable that Octopus does not have.
MaybeId = Annotated[Id | None, BeforeValidator(_none_if_blank), Field(json_schema_extra=_or_blank)]
MaybeSpaceId = Annotated[SpaceId | None, BeforeValidator(_none_if_blank), Field(json_schema_extra=_or_blank)]
#: A name that is only shown: Octopus allows more characters than people can read.
Text = Annotated[str, AfterValidator(_readable), Field(description="Shortened to 300 characters.")]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]
Priority = Annotated[int, Field(strict=True, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher is sooner.")]
Ms = Annotated[int, Field(ge=0, le=99_999_999_999_999, description="Milliseconds since the epoch.")]

#: Machines or waits of one answer.
MOST_LISTED = 500
PageLimit = Annotated[int, Field(ge=1, le=MOST_LISTED)]


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


class ProblemDetails(BaseModel):
    """RFC 9457."""

    status: int
    title: str
    detail: str
    code: str
