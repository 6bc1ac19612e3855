"""Fields of resources, read into values: tolerant types, and `Value`, which dataclasses of those derive from.

A value has an annotation for each of its fields. Octopus's name of a field is its own in PascalCase, unless `at` says
another; with `WHOLE`, its validator gets the whole resource. A field of another shape than expected counts as missing,
where nothing else is said; fields come and go with the version, so only what nothing can be done without is demanded.

Source: the REST API reference of 2026.3, canned responses and models of OctopusClients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Self

from pydantic import AliasPath, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError
from pydantic.alias_generators import to_pascal

from app.domain.events import milliseconds
from app.domain.ids import is_id
from app.octopus.errors import OctopusUnreadable
from app.octopus.shapes import Resource, id_of, ids_of, machine_ids_of, mapping_of, shown_of, text_of, word_of


class Value:
    """What a dataclass derives from that is made of a resource."""

    __pydantic_config__ = ConfigDict(alias_generator=to_pascal)

    @classmethod
    def read(cls, resource: object, **context: Any) -> Self:
        """*resource* as a value; *context* is for its validators.

        Raises:
            OctopusUnreadable: it lacks what is demanded; the message names the kind of value and the field.
        """
        whole = mapping_of(resource)
        # Half a surrogate pair in the name of any field would make pydantic refuse all of them.
        fields = {name: field for name, field in whole.items() if name.isascii()}
        try:
            return cls._adapter().validate_python({**fields, _WHOLE: whole}, context=context)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
        kind = re.sub("(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
        name = ".".join(str(part) for part in first["loc"] if part != _WHOLE)
        reason = str(first.get("ctx", {}).get("error", _MISSING))
        raise OctopusUnreadable(": ".join(filter(None, [kind, name, reason])))

    @classmethod
    @cache
    def _adapter(cls) -> TypeAdapter[Self]:
        return TypeAdapter(cls)

    @classmethod
    def read_all(cls, resources: Iterable[object]) -> tuple[Self, ...]:
        """`read` each."""
        return tuple(cls.read(resource) for resource in resources)


_WHOLE = "*"
_MISSING = "missing, expected a text"

#: For a field that depends on several of the resource.
WHOLE = Field(validation_alias=_WHOLE)


def at(*path: str) -> Any:
    """Where a field stands in the resource, if not below its own name."""
    return Field(validation_alias=AliasPath(*path))


def is_word(word: str) -> PlainValidator:
    """For a field that is true where Octopus says this word."""
    return PlainValidator(lambda value: word_of(value) == word)


def first_text(*names: str, default: str = "") -> PlainValidator:
    """For a field that is `WHOLE`: the first of these fields that is a text, as it is shown."""
    return PlainValidator(lambda whole: next(filter(None, (shown_of(whole.get(name)) for name in names)), default))


def _demanded(value: object) -> str:
    text = text_of(value)
    if text is None:
        raise ValueError(_MISSING)
    return text


def _demanded_id(value: object) -> str:
    document_id = _demanded(value)
    if not is_id(document_id):
        raise ValueError(f"{document_id[:100]!r}: expected an id such as Machines-7")
    return document_id


Demanded = Annotated[str, PlainValidator(_demanded)]
Text = Annotated[str | None, PlainValidator(text_of)]
TextOrEmpty = Annotated[str, PlainValidator(lambda value: text_of(value) or "")]
Id = Annotated[str, PlainValidator(_demanded_id)]
MaybeId = Annotated[str | None, PlainValidator(id_of)]
MachineIds = Annotated[tuple[str, ...], PlainValidator(machine_ids_of)]
Ids = Annotated[tuple[str, ...], PlainValidator(ids_of)]
Flag = Annotated[bool, PlainValidator(lambda value: value is True)]
Number = Annotated[int | None, PlainValidator(lambda value: value if isinstance(value, int) and value > 0 else None)]
Milliseconds = Annotated[int | None, PlainValidator(milliseconds)]
Object = Annotated[Resource, PlainValidator(mapping_of)]
Whole = Annotated[Resource, PlainValidator(mapping_of), WHOLE]
Name = Annotated[str, first_text("Name", "Id"), WHOLE]
