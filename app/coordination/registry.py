"""The registry of runs and machines: their records by id."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from app.coordination.decode import decode_run
from app.domain.run import RunState
from app.domain.run_info import Document
from app.store.connection import Client
from app.store.fairness import in_turns
from app.store.keys import Keys
from app.store.scripts import redis_errors

#: Characters of a name that is compared with others, and names that are compared between two turns of others.
COMPARED, COMPARED_IN_A_TURN = 100, 20

#: Records that are decoded between two turns of others.
DECODED_IN_A_TURN = 200


class Registry:
    """Reads runs and machines. All methods raise `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def runs(self, task_ids: Iterable[str]) -> dict[str, RunState]:
        """The runs of those ids that are known, by task id in lower case."""
        return {task: decode_run(raw) for task, raw in _in_turns(self._values(self._keys.runs, task_ids))}

    def machine_names(self, machine_ids: Iterable[str]) -> dict[str, str]:
        """The names of those machines that are known, else their ids, by id in lower case."""
        raws = self._values(self._keys.machines, machine_ids)
        records = {key: json.loads(raw) for key, raw in _in_turns(raws)}
        return {machine: record.get("name") or record["id"] for machine, record in records.items()}

    def machine(self, machine_id: str) -> str | None:
        """The id as Octopus writes it of the machine with that id in any letter case; None if it is not known."""
        with redis_errors():
            raw: Any = self._client.hget(self._keys.machines, machine_id.lower())
        return str(json.loads(raw)["id"]) if raw else None

    def machine_ids(self, machine_ids: Iterable[str]) -> dict[str, str]:
        """The ids as Octopus writes them of those machines that are known, by id in lower case."""
        raws = self._values(self._keys.machines, machine_ids)
        return {key: str(json.loads(raw)["id"]) for key, raw in _in_turns(raws)}

    def machines(self) -> Iterator[Document]:
        """All machines that are known; the name of one may be."""
        with redis_errors():
            raws: Any = self._client.hvals(self._keys.machines)
        for raw in in_turns(raws):
            record = json.loads(raw)
            yield Document(str(record["id"]), record.get("name"))

    def documents(self, kind: str) -> Iterator[Document]:
        """The ``project``, ``environment`` or ``tenant`` of each run that is known, as far as that is known."""
        with redis_errors():
            for _, raw in in_turns(self._client.hscan_iter(self._keys.runs, count=500)):
                document: Document | None = getattr(decode_run(raw).info, kind)
                if document:
                    yield document

    def _values(self, key: str, ids: Iterable[str]) -> dict[str, bytes]:
        fields = sorted({name.lower() for name in ids})
        with redis_errors():
            raws: Any = self._client.hmget(key, fields) if fields else []
        return {name: raw for name, raw in zip(fields, raws, strict=True) if raw}


def _in_turns(raws: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Those records; whoever else has something to do does it between hundreds of them."""
    return in_turns(raws.items(), DECODED_IN_A_TURN, at_first=False)


def closest(text: str, names: Iterable[str], *, most: int) -> list[str]:
    """Those of *names* that are most like *text*, the nearest first; one of more than `COMPARED` characters is none."""
    if len(text) > COMPARED:
        return []
    others = (name for name in in_turns(names, COMPARED_IN_A_TURN) if len(name) <= COMPARED)
    # It goes through them once, and keeps those that are near.
    return get_close_matches(text, others, n=most, cutoff=0.5)
