"""Resources of Octopus by their addresses, which every call is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

from app.domain.errors import InvalidId
from app.domain.ids import checked_id, distinct_ids, space_id_of
from app.octopus import answers
from app.octopus.errors import OctopusUnaskable, OctopusUnreadable
from app.octopus.shapes import Resource, mapping_of, text
from app.octopus.transport import Call, RequestPolicy, Transport

T = TypeVar("T")

#: Ids in one request, so that its address stays far below the 2,048 characters some proxies allow.
IDS_A_PAGE = 50

#: Items in one page of a list.
ITEMS_A_PAGE = 100

#: Items that two pages of a list share where it gets shorter while it is read, so that none slips through.
OVERLAP = 20

#: What asks for all spaces that the key may see. Source: MixedScopeBaseRepository of OctopusClients.
ALL_SPACES = "all"


class Resources:
    """Reads and writes resources. *space* is a space id; without one Octopus takes its default space."""

    def __init__(self, transport: Transport, policy: RequestPolicy) -> None:
        self._transport = transport
        self._policy = policy

    def _get(
        self, space: str | None, *path: str, query: Mapping[str, str] | None = None, attempts: int | None = None
    ) -> Resource:
        call = Call("GET", _path(space, path), path[0], query or {})
        return answers.resource(self._transport.send(call, self._policy, attempts=attempts), str(call))

    def _list(self, space: str | None, *path: str, query: Mapping[str, str] | None = None) -> list[Resource]:
        """The objects of an answer that is a list without pages, or of the page it is in a version that has them."""
        call = Call("GET", _path(space, path), path[0], query or {})
        document: Any = answers.json_of(self._transport.send(call, self._policy), str(call))
        if isinstance(document, list):
            return [item for item in document if isinstance(item, dict)]
        return list(_page(mapping_of(document))[0])

    def _write(self, method: str, space: str | None, *path: str, body: Resource | None = None) -> Resource:
        """The resource in the answer, empty where there is none."""
        call = Call(method, _path(space, path), path[0], body=body)
        answer = self._transport.send(call, self._policy)
        return mapping_of(answers.json_of(answer, str(call))) if answer.content else {}

    def _post_for_list(self, space: str | None, *path: str, body: Resource) -> Any:
        """The JSON that a question answers which is too large for an address."""
        call = Call("POST", _path(space, path), path[0], body=body)
        return answers.json_of(self._transport.send(call, self._policy), str(call))

    def _items(
        self, space: str | None, *path: str, query: Mapping[str, str] | None = None, take: int = ITEMS_A_PAGE,
        overlap: int = 0,
    ) -> Iterator[Resource]:  # fmt: skip
        """All items of a collection, page by page as they are consumed; each once where pages overlap."""
        skip, seen = 0, set[str]()
        while True:
            parameters = {**(query or {}), "skip": str(skip), "take": str(take)}
            items, has_next = _page(self._get(space, *path, query=parameters))
            for item in items:
                item_id = _id(item)
                if not overlap or item_id not in seen:
                    yield item
                if overlap:
                    seen.add(item_id)
            # An empty page that promises another would go on for ever.
            if not has_next or not items:
                return
            skip += max(1, len(items) - overlap)

    def _by_ids(
        self, ids: Collection[str], space: str | None, kind: str, *, query: Mapping[str, str] | None = None
    ) -> Iterator[Resource]:
        """The resources of *ids*, some at a time. No ids: no request, since Octopus would list all."""
        distinct = distinct_ids(list(ids))
        keys = {document_id.lower() for document_id in distinct}
        for start in range(0, len(distinct), IDS_A_PAGE):
            chunk = ",".join(checked_part(document_id) for document_id in distinct[start : start + IDS_A_PAGE])
            for item in self._items(space, kind, query={"ids": chunk, **(query or {})}, take=IDS_A_PAGE):
                # A server that ignores the filter lists everything.
                if _id(item) in keys:
                    yield item

    def _at_once(
        self, kind: str, ids: Collection[str], parse: Callable[[Resource], T], space: str | None,
        attempts: int | None = None,
    ) -> dict[str, T]:  # fmt: skip
        keys = {document_id.lower() for document_id in ids}
        if not keys:
            return {}
        query = {"ids": ",".join(checked_part(each) for each in distinct_ids(list(ids))),
                 "skip": "0", "take": str(IDS_A_PAGE)}  # fmt: skip
        values: dict[str, T] = {}
        # Only one page: a server that does not know this filter would list everything.
        for item in _page(self._get(space, kind, query=query, attempts=attempts))[0]:
            item_id = _id(item)
            if item_id in keys:
                with suppress(OctopusUnreadable):
                    values[item_id] = parse(item)
        return values


def _page(resource: Resource) -> tuple[tuple[Resource, ...], bool]:
    """Some of a collection, and whether there are more."""
    return demanded_list(resource, "Items", "collection"), "Page.Next" in mapping_of(resource.get("Links"))


def demanded_list(resource: Resource, name: str, what: str) -> tuple[Resource, ...]:
    """The objects of a list.

    Raises:
        OctopusUnreadable: it is no list.
    """
    items = resource.get(name)
    if not isinstance(items, list):
        raise OctopusUnreadable(f"{what}: {name}: missing, expected a list")
    return tuple(item for item in items if isinstance(item, dict))


def _id(resource: Resource) -> str:
    """What the id of any resource is compared by."""
    return (text(resource, "Id") or "").lower()


def scope(space: str | None, spaces: Collection[str]) -> tuple[str | None, dict[str, str]]:
    """The space of the address, and the query, of a list that can span spaces; all of them where none is named."""
    named = [space] if space else distinct_ids(list(spaces))
    if len(named) == 1:
        return named[0], {}
    return None, {"spaces": ",".join(_checked_space(name) for name in named) or ALL_SPACES}


def _path(space: str | None, path: tuple[str, ...]) -> str:
    """The address of a resource: whatever was said to be an id, it names no other resource."""
    # A Git reference has slashes; in an address it is one part.
    parts = [quote(part, safe="") if part.startswith("refs/") else checked_part(part) for part in path]
    return "/".join(["/api", *([_checked_space(space)] if space else []), *parts])


def _checked_space(space: str) -> str:
    if not space_id_of(space):
        raise OctopusUnaskable(f"space {space[:100]!r}: expected the id of a space such as Spaces-1")
    return space


def checked_part(part: str) -> str:
    """*part* of a path: an id with a slash or dots would be another address.

    Raises:
        OctopusUnaskable: it is no id.
    """
    try:
        return checked_id(part, "document")
    except InvalidId as error:
        raise OctopusUnaskable(str(error)) from error
