"""Shapes of JSON values: a value of another shape than expected counts as missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.domain.ids import is_id

Resource = Mapping[str, Any]


#: Characters of a name that are kept: it is only shown.
MOST_SHOWN = 200


def text_of(value: object) -> str | None:
    """A text without the space around it; None where nothing is left.

    JSON can spell half a character, which nobody can write, and a NUL, which separates what keys are made of.
    """
    if not isinstance(value, str):
        return None
    if not value.isascii() or "\0" in value:
        value = value.encode("utf-8", "replace").decode().replace("\0", " ")
    return value.strip() or None


def id_of(value: object) -> str | None:
    """An id as Octopus makes them; None where it is none."""
    text = text_of(value)
    return text if text and is_id(text) else None


def shown_of(value: object) -> str | None:
    """A `text_of` a name or version, shortened."""
    text = text_of(value)
    return text and text[:MOST_SHOWN]


def word_of(value: object) -> str:
    """One of Octopus's words, in lower case; empty where there is none."""
    return (text_of(value) or "").lower()


def mapping_of(value: object) -> Resource:
    """An object, empty where it is none."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """A list of anything, empty where it is none."""
    return value if isinstance(value, list) else []


def ids_of(value: object) -> tuple[str, ...]:
    """A list of ids; a missing one is empty, a mangled one is not: fewer machines would be made busy than are.

    Raises:
        ValueError: it is no list of texts.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("expected a list of ids")
    return tuple(value)


def machine_ids_of(value: object) -> tuple[str, ...]:
    """The same of machines, whose ids become keys.

    Raises:
        ValueError: one is no id.
    """
    ids = ids_of(value)
    if wrong := next((each for each in ids if not is_id(each)), None):
        raise ValueError(f"{wrong[:100]!r}: expected the id of a machine")
    return ids


def text(resource: Resource, name: str) -> str | None:
    """`text_of` a field."""
    return text_of(resource.get(name))


def texts(value: object) -> Iterator[str]:
    """Every text in *value*, which came from JSON and so is no deeper than Python's stack."""
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)
