"""Long work in a process that serves others, too: web processes change from one request to the next only at a wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_turns(items: Iterable[T], every: int) -> Iterator[T]:
    """*items* as they are; after each *every* of them all others have a turn."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % every == 0:
            # With gevent this goes round all greenlets that can run; elsewhere it is nothing.
            time.sleep(0)
