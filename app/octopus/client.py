"""A small client of the Octopus API: bounded in time and number of requests, and to the configured address only."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

from app.octopus.documents import Documents
from app.octopus.interruptions import Interruptions
from app.octopus.processes import Processes
from app.octopus.resources import IDS_A_PAGE as IDS_A_PAGE
from app.octopus.runs import Runs
from app.octopus.server import ServerCalls
from app.octopus.subscriptions import Subscriptions
from app.octopus.transport import (
    ATTEMPTS,
    MAX_WAIT_SECONDS,
    TIMEOUT,
    ReachObserver,
    RequestBudget,
    RequestPolicy,
    Transport,
)


class OctopusClient(Runs, Interruptions, Documents, Subscriptions, Processes, ServerCalls):
    """Everything octowait asks Octopus. Not for use by several threads at once.

    Every method raises `OctopusError`; its ``permanent`` says whether trying again can help. With a budget, every
    method also raises `StoreError` when Redis, which keeps it, does not answer.
    *space* is a space id; without one Octopus takes its default space.

    Args:
        url: Where Octopus is, perhaps with a path, e.g. ``https://octopus.example.com``.
        timeout: Seconds to connect, and between two bytes of an answer.
        attempts: Times one request is sent at most.
        sleep: What waits between attempts.
        budget: Asked before every request.
        urgent: Whether this caller may use the part of the budget that is kept for those who are.
        patience: Seconds one request may wait in all, for its turn and before further attempts; one that would have to
            wait longer raises `OctopusBusy`. What its attempts take counts too.
        reach: Told of each request whether Octopus answered.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        timeout: tuple[float, float] = TIMEOUT,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], object] = time.sleep,
        budget: RequestBudget | None = None,
        urgent: bool = False,
        patience: float = MAX_WAIT_SECONDS,
        reach: ReachObserver | None = None,
    ) -> None:
        transport = Transport(url, api_key, timeout=timeout, attempts=attempts, sleep=sleep, budget=budget, reach=reach)
        super().__init__(transport, RequestPolicy(urgent, patience))

    def asking(self, *, urgent: bool = False, patience: float = MAX_WAIT_SECONDS) -> OctopusClient:
        """The same client, with the same connections, for a caller who asks by another policy."""
        other = copy.copy(self)
        other._policy = RequestPolicy(urgent, patience)
        return other

    @property
    def url(self) -> str:
        """Where Octopus is, as it may be shown."""
        return self._transport.shown_url

    def close(self) -> None:
        self._transport.close()
