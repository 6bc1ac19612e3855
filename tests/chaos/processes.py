"""The processes of octowait, started as its users start them, and ended as nobody should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parent.parent.parent

TOKENS = {role: f"{role}-token-for-chaos" for role in ("step", "viewer", "admin")}

SECRET = "webhook-secret-for-chaos"

#: As production, but quick: what takes a minute there takes seconds here. Octopus's clock is this machine's, so times
#: are compared without a tolerance.
SETTINGS = {
    "WATCH_SECONDS": "1", "RECONCILE_SECONDS": "2", "CATCH_UP_SECONDS": "20",
    "EXPECT_STEP_SECONDS": "30",
    "CLOCK_TOLERANCE_SECONDS": "0", "OCTOPUS_RPM": "6000", "WEB_PROCESSES": "1", "LOG_LEVEL": "warning",
}  # fmt: skip

#: Seconds until a web server answers, on a machine that has other things to do.
START_TIMEOUT = 60.0


class Process:
    """One ``octowait`` command in a process group of its own."""

    def __init__(self, command: str, environment: dict[str, str], tree: Path, log: Path) -> None:
        self.command = command
        self.environment = environment
        self._tree = tree
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app", self.command], env=self.environment, cwd=self._tree,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process:
            self.signal(signal.SIGKILL)
            self._process.wait(30)


class Web(Process):
    """A web server on a port of its own."""

    def __init__(self, environment: dict[str, str], tree: Path, log: Path) -> None:
        self.port = free_port()
        super().__init__("serve", {**environment, "OCTOWAIT_BIND": f"127.0.0.1:{self.port}"}, tree, log)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                return True
        except OSError:
            return False

    def await_ready(self) -> None:
        ends_at = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            assert self._process and self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < ends_at, "the web server does not answer"
            time.sleep(0.05)  # between two looks at a fact, not instead of one


class Cast:
    """Two web servers, a worker and a scheduler on one Redis.

    Args:
        settings: Variables without their prefix, over `SETTINGS`.
        tree: Whose code they run.
    """

    def __init__(
        self, redis_url: str, directory: Path, settings: Mapping[str, str], *, tree: Path = ROOT, webs: int = 2,
        has_workers: bool = True,
    ) -> None:  # fmt: skip
        self.namespace = "chaos"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCTOWAIT_")}
        own = {
            "REDIS_URL": redis_url, "NAMESPACE": self.namespace, "WEBHOOK_SECRET": SECRET,
            "TOKENS": ",".join(
                f"{role}:chaos:{token}{';max_priority=100' if role == 'step' else ''}" for role, token in TOKENS.items()
            ),
            "DATA_DIR": str(directory / "octowait"), **SETTINGS, **settings,
        }  # fmt: skip
        self._has_workers = has_workers
        environment = {**inherited, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {f"OCTOWAIT_{name}": value for name, value in own.items()}
        self.webs = [Web(environment, tree, directory / f"web-{number}.log") for number in range(webs)]
        self.worker = Process("worker", environment, tree, directory / "worker.log")
        self.scheduler = Process("scheduler", environment, tree, directory / "scheduler.log")

    @property
    def all(self) -> list[Process]:
        return [*self.webs, *([self.worker, self.scheduler] if self._has_workers else [])]

    def start(self) -> None:
        for process in self.all:
            process.start()
        for web in self.webs:
            web.await_ready()

    def stop(self) -> None:
        for process in self.all:
            process.signal(signal.SIGCONT)
            process.kill()
