"""What a measurement was made on: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from functools import cache

from tests.bench.world import directory, embedded
from tests.conftest import ROOT


def machine_line() -> str:
    """A sentence for a section of the measurements."""
    return (
        f"{today()}, {os.cpu_count()} cores, {_processor()}, {versions()}, everything on loopback; a synced write "
        f"takes {1000 * _synced_write():.2f} ms."
    )


def versions() -> str:
    return f"Python {platform.python_version()}, {_server()}, octowait {commit()}"


def today() -> str:
    return time.strftime("%Y-%m-%d")


@cache
def commit() -> str:
    """Of octowait, with a mark where it is not what was committed; the version where there is no history."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        from importlib.metadata import version

        return version("octowait")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return " ".join(names[0].split()) if names else platform.machine()


#: Writes of which the median counts.
WRITES = 101


@cache
def _synced_write() -> float:
    """Seconds that a small write takes which is synced, where the benches have Redis keep its file."""
    took = []
    with directory() as where, open(where / "file", "ab", buffering=0) as file:
        for _ in range(WRITES):
            began = time.perf_counter()
            file.write(b"." * 300)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return sorted(took)[WRITES // 2]


@cache
def _server() -> str:
    """The server that the benches start, with its version."""
    from app.store.connection import connect

    with directory() as where, embedded(where) as url:
        client = connect(url)
        facts = client.info("server")
        client.close()
    if "valkey_version" in facts:
        return f"Valkey {facts['valkey_version']}"
    return f"Redis {facts['redis_version']}"
