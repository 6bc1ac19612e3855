"""How a request blocks until its run waits no longer, without a thread or a Redis connection of its own."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable

from app.domain.place import Place
from app.services import Services
from app.web.problems import Problem

#: Descriptors left for Redis, files and requests that do not block.
SPARE_DESCRIPTORS = 200


class HungUp(Exception):
    """The client has gone while its request blocked."""


def poll(services: Services, task_id: str, *, block_seconds: float, is_gone: Callable[[], bool]) -> Place | None:
    """The run as it stands, or as it stands when it waits no longer; None if it is unknown.

    Nothing is kept while it sleeps but the sleeper: ten thousand sleep at once.

    Args:
        block_seconds: Sleep at most this long; the open request is a sign of life all the time.
        is_gone: Whether the client has hung up. A grant that nobody is there to collect must not count as collected.

    Raises:
        HungUp: the client has gone.
    """
    if block_seconds <= 0:
        return services.board.poll(task_id)
    _refuse_if_full(services)
    deadline = time.monotonic() + block_seconds
    with services.wakes.sleeper(task_id) as sleeper:
        while True:
            place = services.board.poll(task_id)
            left = deadline - time.monotonic()
            if place is None or not place.is_waiting or left <= 0 or services.wakes.is_closed:
                return place
            half_ttl = place.run["ttl_ms"] / 2000
            del place
            sleeper.sleep(min(left, half_ttl))
            if is_gone():
                raise HungUp


def hung_up(connection: socket.socket | None) -> bool:
    """Whether the client at the other end of *connection* has closed it; False where that cannot be seen."""
    if connection is None:
        return False
    before = connection.gettimeout()
    try:
        connection.settimeout(0.0)
        return connection.recv(1, socket.MSG_PEEK) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(before)


def _refuse_if_full(services: Services) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft - SPARE_DESCRIPTORS, soft // 2)
    if len(services.wakes) >= most:
        raise Problem(
            503, "too_many_waiters", f"this process holds {most} blocked requests, the most its descriptors allow",
            headers={"Retry-After": "5"},
        )  # fmt: skip
