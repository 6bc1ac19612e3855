"""How a field of any resource is read, and what every answer has.

A field of another shape than expected counts as missing, where nothing else is said.

Source: the REST API reference of 2026.3, canned responses and models of OctopusClients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.octopus.errors import OctopusUnreadable
from app.octopus.values import Page, Resource


def parse_page(resource: Resource) -> Page:
    """Raises: OctopusUnreadable: no list ``Items``."""
    items = resource.get("Items")
    if not isinstance(items, list):
        raise OctopusUnreadable("collection: Items is missing: expected a list")
    return Page(tuple(item for item in items if isinstance(item, dict)), "Page.Next" in mapping(resource, "Links"))


def parse_id(resource: Resource) -> str | None:
    """The id of any resource."""
    return text(resource, "Id")


def parse_complaint(resource: object) -> str:
    """What an error answer says was wrong, or nothing."""
    if not isinstance(resource, dict):
        return ""
    errors = [entry for entry in array(resource, "Errors") if isinstance(entry, str)]
    return " ".join(filter(None, [text(resource, "ErrorMessage"), *errors]))[:300]


def required(resource: object, name: str, what: str) -> str:
    """Raises: OctopusUnreadable: *what* is no object, or has no such text."""
    value = text(resource, name) if isinstance(resource, Mapping) else None
    if value is None:
        raise OctopusUnreadable(f"{what}: {name} is missing: expected a text")
    return value


def text(resource: Resource, name: str) -> str | None:
    """A text without the space around it; None where nothing is left."""
    value = resource.get(name)
    return value.strip() or None if isinstance(value, str) else None


def mapping(resource: Resource, name: str) -> Resource:
    """An object, empty where it is missing."""
    value = resource.get(name)
    return value if isinstance(value, dict) else {}


def array(resource: Resource, name: str) -> list[Any]:
    """A list, empty where it is missing; of anything."""
    value = resource.get(name)
    return value if isinstance(value, list) else []


def property_text(resource: Resource, name: str) -> str:
    """A property of a step or an action: text, or an object where it is sensitive."""
    return text(mapping(resource, "Properties"), name) or ""


def texts(value: object) -> Iterator[str]:
    """Every text in *value*, which came from JSON and so is no deeper than Python's stack."""
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def ids(resource: Resource, name: str) -> tuple[str, ...]:
    """A list of ids; a missing one is empty, a mangled one is not: fewer machines would be made busy than are."""
    value = resource.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise OctopusUnreadable(f"{name}: expected a list of ids")
    return tuple(value)
