"""Collections as Octopus pages them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from tests.simulator.routing import Call

#: What a page holds when nobody says otherwise.
DEFAULT_TAKE = 30


def collection(
    call: Call, items: Sequence[Any], item_type: str, shape: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """A page of *items* in Octopus's envelope; ``Page.Next`` is there only when there is one."""
    skip, take = call.number("skip", 0), call.number("take", DEFAULT_TAKE) or DEFAULT_TAKE
    pages = max(1, -(-len(items) // take))
    path = call.request.path
    asked = [(key, value) for key, value in call.request.args.items(multi=True) if key.lower() not in ("skip", "take")]

    def page(at: int) -> str:
        return f"{path}?{urlencode([*asked, ('skip', at), ('take', take)])}"

    links = {
        "Self": page(skip),
        "Template": path + "{?skip,take}",
        "Page.All": f"{path}?skip=0&take=2147483647",
        "Page.Current": page(skip),
        "Page.Last": page((pages - 1) * take),
    }
    if skip + take < len(items):
        links["Page.Next"] = page(skip + take)
    return {
        "ItemType": item_type,
        "TotalResults": len(items),
        "ItemsPerPage": take,
        "NumberOfPages": pages,
        "LastPageNumber": pages - 1,
        "Items": [shape(item) for item in items[skip : skip + take]],
        "Links": links,
    }
