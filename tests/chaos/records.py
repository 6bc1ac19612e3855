"""The timeline as octowait wrote it, read from Redis; also from what a dead server left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.store import Store

#: Where a namespace keeps it.
TIMELINE = "octowait:{%s}:timeline"

#: Keys that must be gone when nobody waits, holds or is reserved.
LIVE = ("lines", "holders", "deadlines", "reservations", "unresolved", "blocking", "children", "resumes")


@dataclass(frozen=True, slots=True)
class Record:
    """One change. *epoch* counts the times that Redis was emptied before."""

    at_ms: int
    kind: str
    task: str = ""
    run: int = 0
    machines: tuple[str, ...] = ()
    cause: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    epoch: int = 0

    def __str__(self) -> str:
        said = " ".join(filter(None, [",".join(self.machines), self.cause, json.dumps(dict(self.detail))]))
        return f"{self.at_ms} {self.kind} {self.task} {said}"


def read(client: Any, namespace: str, epoch: int) -> Iterator[Record]:
    """All records that the server has, oldest first."""
    after = "-"
    while chunk := client.xrange(TIMELINE % namespace, after, "+", count=2000):
        for stamp, fields in chunk:
            yield _record(stamp.decode(), {k.decode(): v.decode() for k, v in fields.items()}, epoch)
        after = "(" + chunk[-1][0].decode()


def _record(stamp: str, fields: dict[str, str], epoch: int) -> Record:
    return Record(
        at_ms=int(stamp.split("-")[0]), kind=fields["kind"], task=fields.get("task", ""),
        run=int(fields.get("run", 0)), machines=tuple(filter(None, fields.get("machines", "").split(","))),
        cause=fields.get("cause", ""), detail=json.loads(fields.get("detail", "{}")), epoch=epoch,
    )  # fmt: skip


def read_death(store: Store, death: Path, namespace: str, epoch: int) -> list[Record]:
    """The records of a server that was emptied."""
    reader = Store(store.kind, death.parent / f"{death.name}-read")
    reader.directory.mkdir()
    death.rename(reader.data)
    reader.start()
    client = reader.client()
    try:
        return list(read(client, namespace, epoch))
    finally:
        client.close()
        reader.kill()


def leftovers(client: Any, namespace: str) -> list[str]:
    """Keys that should be gone when all is quiet, and wake lists that would stay for ever."""
    prefix = f"octowait:{{{namespace}}}:"
    found = [name for name in LIVE if client.exists(prefix + name)]
    for key in client.scan_iter(f"{prefix}wake:*", count=1000):
        if client.ttl(key) == -1:
            found.append(key.decode()[len(prefix) :])
    return found
