"""Fairness between requests: whose they are, and that others are served while one reads files or computes for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

_Item = TypeVar("_Item")

#: Seconds of a turn, at least: with none gevent goes on to whoever is ready, fifty times, before it looks at a socket.
A_MOMENT = 1e-6

#: Items between two turns of others: some milliseconds of reading or replaying.
AT_ONCE = 500

#: For whom Redis is called, once for each of the calls that go there together; by default for octowait itself.
_SERVED: ContextVar[tuple[str, ...]] = ContextVar("octowait_served", default=("",))


def serve(*groups: str) -> None:
    """Whatever this thread or greenlet does from now on it does for *groups*: such as one token, and all who have it.

    Args:
        groups: One; or one for each of the calls that go to Redis together.
    """
    _SERVED.set(groups)


def served() -> tuple[str, ...]:
    """For whom this thread or greenlet works."""
    return _SERVED.get()


def in_turns(items: Iterable[_Item], every: int = AT_ONCE, *, at_first: bool = True) -> Iterator[_Item]:
    """The *items*; whoever else has something to do in this process does it once in *every* of them.

    Reading from a socket does the same by itself.

    Args:
        at_first: Also before the first of them; without, few items cost nothing.
    """
    for number, item in enumerate(items):
        if number % every == 0 and (number or at_first):
            time.sleep(A_MOMENT)
        yield item


def in_turns_by_size(items: Iterable[_Item], size: Callable[[_Item], int], most: int) -> Iterator[_Item]:
    """The *items*; others have their turn behind each *most* of their sizes: few can be as much as thousands."""
    passed = 0
    for item in items:
        yield item
        passed += size(item)
        if passed >= most:
            passed = 0
            time.sleep(A_MOMENT)
