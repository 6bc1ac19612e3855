"""Routes of the API, and a call as their handlers see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug import Request

from tests.simulator.model import Denied, Invalid, Missing, Space, User

if TYPE_CHECKING:
    from tests.simulator.octopus import Octopus


@dataclass(frozen=True)
class Call:
    """One authenticated call. *space* None: not scoped to one by its path."""

    octopus: Octopus
    request: Request
    user: User
    space: Space | None
    ids: Mapping[str, str]

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent. Raises: Invalid."""
        if not self.request.data:
            return {}
        try:
            value = json.loads(self.request.data)
        except ValueError as error:
            raise Invalid(f"The body is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise Invalid("The body is no JSON object.")
        return value

    def texts(self, name: str) -> list[str]:
        """A list parameter, repeated or separated by commas; letter case of its name does not matter."""
        values = [v for key, value in self.request.args.items(multi=True) if key.lower() == name.lower()
                  for v in value.split(",")]  # fmt: skip
        return [value for value in values if value]

    def text(self, name: str) -> str:
        return next(iter(self.texts(name)), "")

    def flag(self, name: str) -> bool | None:
        """A yes-or-no parameter, None when it is not there."""
        value = self.text(name).lower()
        return value == "true" if value else None

    def number(self, name: str, default: int) -> int:
        """Raises: Invalid."""
        value = self.text(name)
        if not value:
            return default
        if not value.isdigit():
            raise Invalid(f"{name} is {value!r}: expected a number.")
        return int(value)

    @property
    def space_ids(self) -> set[str]:
        """The spaces that the path or ``spaces=`` asks for; none of them: all.

        Raises:
            Missing: there is no such space.
            Denied: one of them is hidden from who asks, and so the whole call fails.
        """
        if self.space is not None:
            return {self.space.id}
        named = [space_id for space_id in self.texts("spaces") if space_id.lower() != "all"]
        found = {self.octopus.store.get("Spaces", space_id).id for space_id in named}
        if found & self.user.hidden:
            raise Denied("You do not have permission to perform this action in one of the spaces.")
        return found

    @property
    def home(self) -> Space:
        """The space of the path, or the default one."""
        return self.space or next(space for space in self.octopus.store.all("Spaces") if space.is_default)

    def in_space(self, documents: Iterable[Any]) -> list[Any]:
        """Those of *documents* that belong to the spaces asked for."""
        spaces, hidden = self.space_ids, self.user.hidden
        return [document for document in documents
                if document.space_id in spaces or not (spaces or document.space_id in hidden)]  # fmt: skip

    def get(self, kind: str, document_id: str) -> Any:
        """Raises: Missing: there is none, or in another space than the path says."""
        document = self.octopus.store.get(kind, document_id)
        is_elsewhere = self.space is not None and document.space_id != self.space.id
        if is_elsewhere or document.space_id in self.user.hidden:
            raise Missing(f"The resource '{document_id}' was not found.")
        return document


#: Instead of a permission: whoever has a key may, or whoever asks.
ANYBODY, OPEN = "anybody", "open"

Answer = Any
Handler = Callable[[Call], Answer]


@dataclass(frozen=True)
class Route:
    """*parts* in lower case; one in braces is an id."""

    method: str
    parts: tuple[str, ...]
    permission: str
    handler: Handler

    @property
    def shown(self) -> str:
        return f"{self.method} {'/'.join(self.parts) or '(root)'}"

    def match(self, method: str, parts: Sequence[str]) -> dict[str, str] | None:
        if method != self.method or len(parts) != len(self.parts):
            return None
        ids = {}
        for own, given in zip(self.parts, parts, strict=True):
            if own.startswith("{"):
                ids[own[1:-1]] = given
            elif own != given.lower():
                return None
        return ids


class Routes:
    """Collected by decorators; the first that matches is taken, so literal parts come before ids."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def __call__(self, method: str, path: str, permission: str = ANYBODY) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            self.all.append(Route(method, tuple(path.split("/")) if path else (), permission, handler))
            return handler

        return add


class Text(str):
    """An answer that is no JSON."""


class Created(dict[str, Any]):
    """An answer with status 201."""


def find(routes: Sequence[Route], method: str, parts: Sequence[str]) -> tuple[Route | None, dict[str, str]]:
    for route in routes:
        if (ids := route.match(method, parts)) is not None:
            return route, ids
    return None, {}
