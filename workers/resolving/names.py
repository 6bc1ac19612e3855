"""Display names of the projects, environments, tenants, releases and machines of runs, for the pages.

They are looked up after all machines are known, in lists, and nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog

from app.domain.status import RunStatus
from app.octopus.client import IDS_A_PAGE, OctopusClient
from app.octopus.errors import OctopusError
from workers.context import Context
from workers.resolving.lookup import is_id
from workers.resolving.memory import Memory, document_key

log = structlog.get_logger()

#: Requests of one pass. What is left is the next pass's.
MOST_REQUESTS = 10

#: The things of a run that have names: where they are kept in Octopus, and what their name is called here.
DOCUMENTS = {
    "project": ("projects", "name"),
    "environment": ("environments", "name"),
    "tenant": ("tenants", "name"),
    "release": ("releases", "version"),
}


def name_runs(context: Context, octopus: OctopusClient) -> None:
    """Look up the names that runs lack, and keep them with the runs.

    Raises:
        StoreError: Redis does not answer.
    """
    now_ms = context.board.now_ms()
    places = {task_id: context.board.place(task_id) for task_id in context.unresolved.unnamed(now_ms=now_ms)}
    is_complete = _look_up(context.memory, octopus, [place for place in places.values() if place])
    for place in filter(None, places.values()):
        info, machines = _names_for(context.memory, place)
        if info or machines:
            context.board.name(place.task_id, info, machines)
    if is_complete:
        context.unresolved.named(list(places))


def with_names(memory: Memory, space: str | None, info: Mapping[str, Any]) -> dict[str, Any]:
    """*info* with the names that are known without a request."""
    return {**info, **dict(_known(memory, space, info))}


def _look_up(memory: Memory, octopus: OctopusClient, places: list[RunStatus]) -> bool:
    """Whether Octopus has said all that it will; False to ask again in the next pass."""
    references: dict[tuple[str, str | None], dict[str, str]] = {}
    for place in places:
        space = place.run.info.space
        for kind, document_id in _nameless(place):
            if is_id(document_id) and document_key(kind, space, document_id) not in memory.names:
                references.setdefault((kind, space), {})[document_id.lower()] = document_id
    asking = _Asking(memory, octopus)
    return all(asking.names(kind, space, list(ids.values())) for (kind, space), ids in references.items())


class _Asking:
    """The name requests of one pass; a name that Octopus does not have is not requested again for a while."""

    def __init__(self, memory: Memory, octopus: OctopusClient) -> None:
        self._memory = memory
        self._octopus = octopus
        self._left = MOST_REQUESTS

    def names(self, kind: str, space: str | None, ids: list[str]) -> bool:
        """Whether all was asked: lists first, and singly what they lack."""
        for start in range(0, len(ids), IDS_A_PAGE):
            chunk = ids[start : start + IDS_A_PAGE]
            # One by itself is asked for by itself; a machine that is not listed is gone.
            if (len(chunk) > 1 or kind == "machines") and not self._ask_list(kind, space, chunk):
                return False
        missing = [each for each in ids if document_key(kind, space, each) not in self._memory.names]
        return all(self._ask_one(kind, space, each) for each in missing)

    def _ask_list(self, kind: str, space: str | None, ids: list[str]) -> bool:
        otherwise: dict[str, str | None] = dict.fromkeys(ids) if kind == "machines" else {}
        return self._ask(kind, space, otherwise, lambda: self._octopus.names_at_once(kind, ids, space=space))

    def _ask_one(self, kind: str, space: str | None, document_id: str) -> bool:
        otherwise: dict[str, str | None] = {document_id: None}
        return self._ask(
            kind, space, otherwise, lambda: {document_id: self._octopus.name(kind, document_id, space=space)}
        )  # fmt: skip

    def _ask(
        self, kind: str, space: str | None, otherwise: Mapping[str, str | None],
        request: Callable[[], Mapping[str, str | None]],
    ) -> bool:  # fmt: skip
        """Keep the names that *request* finds, and *otherwise* where it has none; False to try another time."""
        if self._left == 0:
            return False
        self._left -= 1
        try:
            names = request()
        except OctopusError as error:
            log.info("resolve: no names", of=kind, ids=list(otherwise), error=str(error))
            if not error.permanent:
                return False
            names = {}
        for document_id, name in [*otherwise.items(), *names.items()]:
            self._memory.names.put(document_key(kind, space, document_id), name)
        return True


def _nameless(place: RunStatus) -> Iterator[tuple[str, str]]:
    info = place.run.info.as_json()
    for what, (kind, label) in DOCUMENTS.items():
        thing = info.get(what) or {}
        if thing.get("id") and not thing.get(label):
            yield kind, thing["id"]
    for machine in place.machines:
        if machine.name == machine.id:
            yield "machines", machine.id


def _names_for(memory: Memory, place: RunStatus) -> tuple[dict[str, Any], list[dict[str, str]]]:
    space = place.run.info.space
    machines = []
    for machine in place.machines:
        name = memory.names.get(document_key("machines", space, machine.id)) if machine.name == machine.id else None
        if name:
            machines.append({"id": machine.id, "name": name})
    return dict(_known(memory, space, place.run.info.as_json())), machines


def _known(memory: Memory, space: str | None, info: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for what, (kind, label) in DOCUMENTS.items():
        thing = info.get(what) or {}
        if thing.get("id") and not thing.get(label):
            name = memory.names.get(document_key(kind, space, thing["id"]))
            if name:
                yield what, {"id": thing["id"], label: name}
