"""Octopus ids: compared without regard to letter case, shown as Octopus writes them."""

from __future__ import annotations

import re

from app.domain.errors import InvalidId

#: What Octopus ids are made of, with room for slugs; excludes the NUL and the slash that keys and addresses use.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$"

#: Ids of spaces, which are parts of addresses.
SPACE_PATTERN = r"^[Ss][Pp][Aa][Cc][Ee][Ss]-[A-Za-z0-9-]{1,80}$"

_ID = re.compile(ID_PATTERN.replace("$", r"\Z"))
_SPACE = re.compile(SPACE_PATTERN.replace("$", r"\Z"))


def is_id(value: str) -> bool:
    """Whether *value* is 1 to 100 letters, digits, dots, dashes, underscores or tildes, as Octopus's ids are."""
    return _ID.match(value) is not None


def checked_id(value: str, what: str) -> str:
    """*value* as it is.

    Raises:
        InvalidId: it is not 1 to 100 letters, digits, dots, dashes, underscores or tildes.
    """
    if not is_id(value):
        raise InvalidId(f"{what} {value[:100]!r}: expected an Octopus id such as ServerTasks-4711 or Machines-7")
    return value


def distinct_ids(values: list[str] | tuple[str, ...] | frozenset[str] | set[str]) -> list[str]:
    """*values* sorted, each once; of spellings that differ in letter case only, the first stays."""
    seen: dict[str, str] = {}
    for value in values:
        seen.setdefault(value.lower(), value)
    return [seen[key] for key in sorted(seen)]


def space_id_of(value: object) -> str | None:
    """*value* where it is the id of a space, e.g. ``Spaces-1``; else None, as if nobody had said which space it is."""
    return value if isinstance(value, str) and _SPACE.match(value) else None
