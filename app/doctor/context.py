"""The context of the checks: each fact is asked for once, when the first check needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.client.api import Gate
from app.client.paging import call_all
from app.coordination.audit import Flaw
from app.octopus.client import OctopusClient
from app.octopus.errors import OctopusError
from app.octopus.server import Server, Space
from app.octopus.subscriptions import Subscription
from app.octopus.tasks import Task
from app.provision.subscriptions import wanted_categories
from app.settings import Settings
from app.store.persistence import Condition

Json = Mapping[str, Any]


@dataclass(frozen=True)
class DoctorContext:
    """One octowait and its Octopus.

    Args:
        octopus: None without OCTOPUS_URL or OCTOPUS_API_KEY.
        condition: Asks the Redis server; None where its address is not known here.
        dead_letters: Jobs that failed for good, ``{"id", "at_ms", "job", "error"}`` each.
        probe: Why Octopus does not answer, found out within seconds; None if it does.
        replica_priority: With which priority a replica, by host and port, is made primary, 0: never; None: it does not
            say.
        flaws: What does not agree in Redis.
    """

    settings: Settings
    gate: Gate
    octopus: OctopusClient | None
    condition: Callable[[], Condition] | None
    dead_letters: Callable[[], Sequence[Json]]
    probe: Callable[[], OctopusError | None] = lambda: None
    replica_priority: Callable[[str, int], int | None] = lambda _host, _port: None
    flaws: Callable[[], Sequence[Flaw]] = list

    @property
    def client(self) -> OctopusClient:
        """Octopus, for checks that are only made when it can be asked."""
        assert self.octopus
        return self.octopus

    @cached_property
    def board(self) -> Json:
        """``/api/machines``: what octowait knows of every machine."""
        return call_all(self.gate, "/api/machines", "machines")

    @cached_property
    def waits(self) -> Sequence[Json]:
        """``/api/waits``: everyone in line."""
        waits: Sequence[Json] = call_all(self.gate, "/api/waits", "waits")["waits"]
        return waits

    @cached_property
    def holders(self) -> dict[str, list[str]]:
        """The task ids of those who make machines busy, with the names of these machines."""
        machines: dict[str, list[str]] = {}
        for machine in self.board["machines"]:
            for holder in machine["holders"]:
                if holder["task_id"]:
                    machines.setdefault(holder["task_id"], []).append(machine["name"])
        return machines

    @cached_property
    def unseen(self) -> dict[str, str]:
        """Why runs cannot be looked after, by task id."""
        return {run["task_id"]: run["why"] for run in self.board.get("unseen", ())}

    @cached_property
    def server(self) -> Server:
        """The Octopus Server that answers."""
        return self.client.server()

    @cached_property
    def spaces(self) -> list[Space]:
        """The spaces that octowait is for, as far as the key may see them."""
        chosen = {space_id.lower() for space_id in self.settings.octopus_spaces}
        return [space for space in self.visible_spaces if not chosen or space.id.lower() in chosen]

    @cached_property
    def visible_spaces(self) -> tuple[Space, ...]:
        """All spaces that the key may see."""
        return self.client.spaces()

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The event categories that are about runs."""
        return wanted_categories(self.client.event_categories())

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """The server tasks of those who hold or wait, by lower-case id; without those that Octopus does not know."""
        ids = {*self.holders, *(wait["task_id"] for wait in self.waits)}
        # In all spaces: one of the settings that the key may not see would be an answer about none of them.
        tasks = self.client.tasks(ids)
        return {task.id.lower(): task for task in tasks}

    @cached_property
    def subscriptions(self) -> dict[str, tuple[Subscription, ...]]:
        """The subscriptions of each space."""
        return {space.id: self.client.subscriptions(space=space.id) for space in self.spaces}
