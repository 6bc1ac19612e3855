"""Ports of which a test knows the number before its server listens, and that no other test is given meanwhile."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from functools import cache

#: Below what Linux gives to clients and to servers that ask for any port: 32768 and above.
FIRST, END, BLOCK = 20000, 32000, 200


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens, and which no other process is given by this function.

    Raises:
        RuntimeError: All ports are taken.
    """
    for _ in range(2 * BLOCK):
        port = next(_ports(os.getpid()))
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what has closed lingers
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no port of this process is free: it has {BLOCK} from {FIRST} to {END}")


@cache
def _ports(process: int) -> Iterator[int]:
    """The ports of this *process* in turns: a fork has others."""
    first, holder = _claim()
    return _turns(first, holder)


def _turns(first: int, holder: socket.socket) -> Iterator[int]:
    """The ports from *first*, again and again, with *holder* kept open."""
    with holder:
        while True:
            yield from range(first, first + BLOCK)


def _claim() -> tuple[int, socket.socket]:
    """The first port of a block of this process's own, and the socket whose name keeps others from it."""
    blocks = list(range(FIRST, END, BLOCK))
    random.shuffle(blocks)
    for first in blocks:
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            holder.bind(f"\0octowait-ports-{first}")
        except OSError:
            holder.close()
            continue
        return first, holder
    raise RuntimeError(f"all blocks of ports from {FIRST} to {END} are claimed: do other tests run?")
