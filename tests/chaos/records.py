"""The timeline as octowait wrote it, read from Redis; also from what a dead server left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.chaos.store import Store

#: Where a namespace keeps it.
TIMELINE = "octowait:{%s}:timeline"

#: Keys that must be gone when nobody waits, holds or is reserved.
LIVE = ("lines", "holders", "deadlines", "reservations", "unresolved", "blocking", "children", "wants",
        "delays", "resumes")  # fmt: skip


#: Milliseconds before a clock is set back in which the last record was written, to whose time the next ones are bound.
STUCK_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Record:
    """One change. *epoch* counts the times that Redis was emptied, or went back, before.

    *stamp* is its id in the stream. *late_ms*: where the clock of Redis had been set back, ids tell less: it was
    written at *at_ms* or so much later.
    """

    at_ms: int
    kind: str
    task: str = ""
    run: int = 0
    machines: tuple[str, ...] = ()
    cause: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    epoch: int = 0
    stamp: str = ""
    late_ms: float = 0

    @property
    def change(self) -> str:
        """Of an event of Octopus, the id of the first one that is one change with it; its own where there is none."""
        return str(self.detail.get("follows") or self.detail.get("event", "")) if self.kind == "event" else ""

    def is_of_change(self, change: str) -> bool:
        """Whether it is a later event of the *change* that was read last: who may start is granted behind it."""
        return bool(change) and self.kind == "event" and self.detail.get("follows") == change

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
        stamp=stamp,
    )  # fmt: skip


def true_times(records: Sequence[Record], shifts: Sequence[tuple[float, float]]) -> list[Record]:
    """The same with times of this machine's clock, where that of Redis was shifted: *shifts* as `Store.shifts`."""
    found, to_come, offset_ms = [], list(shifts), 0.0
    for record in records:
        while to_come and record.at_ms > _first_after(to_come[0], offset_ms):
            offset_ms += to_come.pop(0)[1]
        late_ms = 0.0
        if to_come and to_come[0][1] < 0 and record.at_ms > to_come[0][0] + offset_ms - STUCK_MS:
            # A stream's ids never go back: until the clock has come by again, all have the last one's time.
            late_ms = -to_come[0][1]
        found.append(replace(record, at_ms=round(record.at_ms - offset_ms), late_ms=late_ms))
    return found


def _first_after(shift: tuple[float, float], offset_ms: float) -> float:
    """The last time, as Redis tells it, that a record before *shift* can have."""
    at_ms, by_ms = shift
    return at_ms + offset_ms + max(by_ms, 0.0) / 2


def inherited(records: Sequence[Record], before: Sequence[Record]) -> int:
    """How many of the first records are those of the server before, which this one came back as."""
    known = {record.stamp for record in before}
    return next((at for at, record in enumerate(records) if record.stamp not in known), len(records))


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


def members_left(client: Any, namespace: str) -> list[str]:
    """What is in the sorted sets of those, a few of each, so that a failure says whose it is."""
    prefix = f"octowait:{{{namespace}}}:"
    keys = (name for name in LIVE if client.type(prefix + name) == b"zset")
    return [f"{name}: {client.zrange(prefix + name, 0, 4, withscores=True)}" for name in keys]
