"""A web server whose listening socket somebody else keeps, as systemd does for a service with a socket unit."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import Service

#: Hands the socket on as the third descriptor, which is how systemd does it.
_HAND_ON = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


class ActivatedService(Service):
    """As `Service`; whoever connects while it does not run waits."""

    def __init__(self, redis_url: str, namespace: str, directory: Path, **settings: str) -> None:
        super().__init__(redis_url, namespace, directory, **settings)
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=4096)

    def spawn(self, *command: str) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _HAND_ON, str(descriptor), sys.executable, "-m", "app", *command],
                env=self.env, cwd=self.log.parent, stdout=log, stderr=log, pass_fds=[descriptor],
                start_new_session=True,
            )  # fmt: skip

    def close(self) -> None:
        super().close()
        self._listener.close()
