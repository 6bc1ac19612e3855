"""The header value of a subscription, which is the webhook secret, in all its shapes.

Source: text or null until 2025, since then an object that can hide its value: ``EventNotificationSubscription.cs`` of
OctopusClients, January 2026. What writes an object takes a text, too; an older server takes nothing but a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Versions are named after their years; those of this one and later write objects.
FIRST_YEAR = 2026


@dataclass(frozen=True)
class HeaderValue:
    """*value* is None where there is none, or the server keeps it to itself; *is_set* says which.

    *is_object* tells how this server writes such values; None where it shows nothing. *is_told* is False where its
    answer does not speak of header values at all.
    """

    value: str | None = field(default=None, repr=False)
    is_set: bool = False
    is_object: bool | None = None
    is_told: bool = True


def parse_header_value(resource: object) -> HeaderValue:
    """A header value as a server shows it; members that are missing, or not what they should be, say nothing.

    One that is marked sensitive without saying more counts as set: it is not shown, as others are not.
    """
    if isinstance(resource, str):
        return HeaderValue(resource or None, bool(resource), is_object=False if resource else None)
    if not isinstance(resource, Mapping):
        return HeaderValue()
    inner = resource.get("SensitiveValue", resource)
    inner = inner if isinstance(inner, Mapping) else {}
    text = resource.get("Value")
    if isinstance(text, str) and text:
        return HeaderValue(text, is_set=True, is_object=True)
    if isinstance(inner.get("HasValue"), bool):
        return HeaderValue(None, inner["HasValue"], is_object=True)
    is_hinted = any(isinstance(inner.get(name), str) and inner[name] for name in ("Hint", "NewValue"))
    is_marked = resource.get("IsSensitive") is True and resource.get("SensitiveValue", inner) is not None
    return HeaderValue(None, is_hinted or is_marked, is_object=True)


def uses_objects(values: Iterable[HeaderValue], version: str | None) -> bool:
    """Whether a server writes objects: as the *values* that it showed tell, else as its *version* does.

    A version that cannot be read counts as a new one: it says so if it takes no objects.
    """
    shapes = [each.is_object for each in values if each.is_object is not None]
    if shapes:
        return any(shapes)
    year = re.match(r"[0-9]+", version or "")
    return year is None or int(year[0]) >= FIRST_YEAR


def object_of(secret: str, before: object) -> Mapping[str, Any]:
    """*secret* as a new sensitive value; what else *before*, the object that was shown, has stays."""
    fields = dict(before) if isinstance(before, Mapping) else {}
    value = {"HasValue": True, "NewValue": secret, "Hint": None}
    if "HasValue" in fields and "SensitiveValue" not in fields:
        return {**fields, **value}
    # A value that could be read until now must not stay beside the new one.
    empty = {"Value": None} if "Value" in fields else {}
    return {**fields, **empty, "IsSensitive": True, "SensitiveValue": value}


def without(secret: str, text: str) -> str:
    """*text*, e.g. what a server complains of, without *secret* and without the beginnings of it."""
    for length in range(len(secret), min(4, len(secret)) - 1, -1):
        text = text.replace(secret[:length], "***")
    return text
