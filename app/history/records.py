"""Stored records: as the stream and the archive hold them, and as they are exported, a line of JSON or a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from app.domain.records import Record, RecordLike

#: The columns of a row.
COLUMNS = (
    "id", "at_ms", "kind", "task_id", "run", "machines", "project_id", "environment_id", "cause", "detail",
)  # fmt: skip

#: The same as the stream calls them, from the third on.
_NAMES = (b"kind", b"task", b"run", b"machines", b"project", b"environment", b"cause", b"detail")


class Stored:
    """A record as the stream has it, with the fields that ``record`` in lua/lib/runs.lua gave it.

    Most fields of most records are never asked for, so each is read when it is.
    """

    __slots__ = ("_fields", "at_ms", "id", "kind")

    def __init__(self, stamp: bytes, fields: Mapping[bytes, bytes]) -> None:
        self.id = stamp.decode()
        self.at_ms = int(stamp[: stamp.index(b"-")])
        self.kind = fields[b"kind"].decode()
        self._fields = fields

    @property
    def size(self) -> int:
        """Bytes of the ids of its machines: nothing else of a record takes long to read."""
        return len(self._fields.get(b"machines", b""))

    def _text(self, name: bytes) -> str | None:
        value = self._fields.get(name)
        return value.decode() if value else None

    @property
    def task_id(self) -> str | None:
        return self._text(b"task")

    @property
    def run(self) -> int | None:
        return int(self._fields.get(b"run", 0)) or None

    @property
    def machines(self) -> tuple[str, ...]:
        machines = self._text(b"machines")
        return tuple(machines.split(",")) if machines else ()

    @property
    def project_id(self) -> str | None:
        return self._text(b"project")

    @property
    def environment_id(self) -> str | None:
        return self._text(b"environment")

    @property
    def cause(self) -> str | None:
        return self._text(b"cause")

    @property
    def detail(self) -> Mapping[str, Any]:
        detail = self._fields.get(b"detail")
        return json.loads(detail) if detail else {}

    @property
    def change(self) -> RecordLike:
        """What `Replay` and `Filter` need of it."""
        return self

    @property
    def record(self) -> Record:
        return Record(
            self.id, self.at_ms, self.kind, self.task_id, self.run, self.machines, self.project_id,
            self.environment_id, self.cause, self.detail,
        )  # fmt: skip

    @property
    def line(self) -> str:
        """The record as the API shows it, as one line, without building either: an export is a million of these."""
        get = self._fields.get
        machines = get(b"machines")
        return (
            f'{{"id":"{self.id}","at_ms":{self.at_ms},"kind":{quoted(self.kind)},'
            f'"task_id":{_text(get(b"task"))},"run":{(get(b"run") or b"null").decode()},'
            f'"machines":[{",".join(quoted(m) for m in machines.decode().split(",")) if machines else ""}],'
            f'"project_id":{_text(get(b"project"))},"environment_id":{_text(get(b"environment"))},'
            f'"cause":{_text(get(b"cause"))},"detail":{get(b"detail", b"{}").decode()}}}'
        )

    @property
    def row(self) -> list[str]:
        """The record under `COLUMNS`; machines with commas, *detail* as JSON, and nothing for what it has not."""
        return [self.id, str(self.at_ms), *(self._fields.get(name, b"").decode() for name in _NAMES)]


class Written:
    """A record as a line of JSON has it."""

    __slots__ = ("line",)

    def __init__(self, line: str) -> None:
        self.line = line

    @property
    def record(self) -> Record:
        fields = json.loads(self.line)
        return Record(**{**fields, "machines": tuple(fields["machines"])})

    @property
    def change(self) -> RecordLike:
        return self.record

    @property
    def row(self) -> list[str]:
        """As `Stored.row`."""
        record = self.record
        # The last field, as it was written: the quotes of what stands before it are escaped.
        detail = self.line.partition(',"detail":')[2][:-1] if record.detail else ""
        fields = {**record.__dict__, "machines": ",".join(record.machines), "detail": detail}
        return ["" if fields[column] is None else str(fields[column]) for column in COLUMNS]


Entry = Stored | Written


def _text(value: bytes | None) -> str:
    return "null" if value is None else quoted(value.decode())
