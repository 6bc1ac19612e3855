"""Lets others work while one request works for long: nobody is served while a process reads files or computes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")

#: Items between two turns of others: some milliseconds of reading or replaying.
AT_ONCE = 500


def in_turns(items: Iterable[_Item], every: int = AT_ONCE) -> Iterator[_Item]:
    """The *items*; whoever else has something to do in this process does it once in *every* of them.

    Reading from a socket does the same by itself.
    """
    for number, item in enumerate(items):
        if number % every == 0:
            time.sleep(0)
        yield item
