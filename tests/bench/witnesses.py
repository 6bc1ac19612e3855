"""Honest ones beside a bench, each a process of its own: steps that hand machines over, and a connection to Redis."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.report import percentile
from tests.conftest import ROOT


@dataclass(frozen=True)
class Watch:
    """What they saw in some time: as `tests.bench.honest` and `tests.bench.pauses` print it."""

    steps: Mapping[str, Any]
    pauses: Mapping[str, Any]

    def row(self, name: str) -> list[object]:
        took = self.steps["hand_offs"]
        shares = (percentile(took, share) for share in (0.5, 0.99))
        return [name, len(took), *shares, max(took, default=None), *(self.pauses[key] for key in ("p50", "p99", "max"))]


class Beside:
    """A module of tests.bench in a process of its own, which answers a character with a line of JSON."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"tests.bench.{module}", *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, word: bytes) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(word)
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """It ends with its input."""
        self._process.communicate(timeout=60)


@dataclass(frozen=True)
class Witnesses:
    """The honest ones."""

    steps: Beside
    pings: Beside

    def look(self, *, is_last: bool = False) -> Watch:
        """What they saw since the last time; after the last one no step joins any more."""
        return Watch(self.steps.ask(b"e" if is_last else b"?"), self.pings.ask(b"?"))


@contextmanager
def witnesses(port: int, socket: str) -> Iterator[Witnesses]:
    """Steps that ask the server on *port*, and a connection to the Redis server at *socket*."""
    both = Witnesses(Beside("honest", str(port), "1"), Beside("pauses", socket))
    try:
        yield both
    finally:
        both.steps.close()
        both.pings.close()
