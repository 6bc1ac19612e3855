"""The process that listens on a port of this machine, for the one who wants it too."""

from __future__ import annotations

import os
from pathlib import Path

#: The state of a listening socket in the kernel's tables.
_LISTEN = "0A"


def listener_on(port: int) -> str | None:
    """The process that listens on *port*, such as ``'octowait serve' (process 4711, in /srv/octowait)``.

    None where nobody does, or where it is not ours to see: processes of another user, systems without ``/proc``.

    Source: proc(5), ``/proc/net/tcp`` and ``/proc/PID/fd``.
    """
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(table, port)}
    pids = sorted(pid for pid in _processes() if sockets & _descriptors(pid)) if sockets else []
    # A server and the processes that it forked share the socket: the eldest is the one to stop.
    return _description(pids[0]) if pids else None


def _listening(table: str, port: int) -> list[str]:
    try:
        rows = [row.split() for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _descriptors(pid: int) -> set[str]:
    targets = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            targets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    except OSError:
        pass  # It has ended meanwhile, or belongs to somebody else.
    return targets


def _description(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        directory = f", in {os.readlink(f'/proc/{pid}/cwd')}"
    except OSError:
        return f"process {pid}"
    return f"{_command(words)!r} (process {pid}{directory})"


def _command(words: list[str]) -> str:
    """The command as people know it: an interpreter and its options say nothing."""
    words = [word for word in words if word]
    for place, word in enumerate(words):
        if Path(word).name == "octowait" or (word == "app" and words[place - 1] == "-m"):
            return " ".join(["octowait", *words[place + 1 :]])
    return " ".join(words)[:200]
