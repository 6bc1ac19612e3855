"""octowait as its users run it, beside a simulated Octopus Server: web, worker and scheduler as real processes."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

from rq import SimpleWorker

from app.coordination.tracked import TrackedRuns
from app.domain.records import Filter, Record
from app.history.timeline import Timeline
from app.store.connection import connect
from tests.conftest import TOKENS, WEBHOOK_SECRET, Service, eventually
from tests.open_board import OpenBoard
from tests.simulator.control import SimulatedOctopus

#: Intervals in seconds, short as the simulated clock is fast.
FAST = {
    "OCTOWAIT_WATCH_SECONDS": "1", "OCTOWAIT_RECONCILE_SECONDS": "2", "OCTOWAIT_CATCH_UP_SECONDS": "4",
    "OCTOWAIT_OCTOPUS_RPM": "1200", "OCTOWAIT_WAITER_TTL_SECONDS": "20", "OCTOWAIT_WEB_PROCESSES": "1",
}  # fmt: skip

BACKGROUND = ("worker", "scheduler")


class Stack:
    """octowait on *redis_url*, told of by *octopus* and asking it.

    Args:
        settings: More ``OCTOWAIT_…`` variables.
    """

    def __init__(
        self, octopus: SimulatedOctopus, redis_url: str, namespace: str, directory: Path, **settings: str
    ) -> None:  # fmt: skip
        key = {"OCTOWAIT_OCTOPUS_URL": octopus.url, "OCTOWAIT_OCTOPUS_API_KEY": octopus.api_key}
        self.service = Service(redis_url, namespace, directory, **{**FAST, **key, **settings})
        self.octopus = octopus
        self.board = OpenBoard(connect(redis_url), namespace=namespace)
        self.tracked = TrackedRuns(self.board.client, self.board.keys)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        #: The lease of the scheduler that was killed last.
        self._old_lease: object = None
        octopus.variables({"Octowait.Url": self.service.url, "Octowait.Token": TOKENS["step"]})

    def start(self, *, subscribe: bool = True, background: tuple[str, ...] = BACKGROUND) -> Stack:
        """Start all processes, or web and those of *background* only."""
        self.service.start()
        for name in background:
            self.start_one(name)
        if subscribe:
            self.octopus.subscribe(f"{self.service.url}/webhooks/octopus", WEBHOOK_SECRET)
        return self

    def start_one(self, name: str) -> None:
        """Start ``web``, ``worker`` or ``scheduler``."""
        if name == "web":
            self.service.start()
        else:
            self._processes[name] = self.service.spawn(name)

    def kill(self, name: str) -> None:
        """End it as a machine that loses power would."""
        if name == "scheduler":
            self._old_lease = self._lease()
        if name == "web":
            self.service.stop(signal.SIGKILL)
        else:
            self._processes[name].kill()
            self._processes[name].wait(30)

    def restart(self, name: str) -> None:
        self.kill(name)
        self.start_one(name)

    def is_up(self, name: str) -> bool:
        """Whether the process that was started last does its work, and not only runs."""
        if name == "web":
            return True  # its start waits for that
        if name == "scheduler":
            # The lease of a killed one lasts for a while.
            return self._lease() not in (None, self._old_lease)
        pids: list[Any] = [self.board.client.hget(key, "pid") for key in SimpleWorker.all_keys(self.board.client)]
        return str(self._processes[name].pid).encode() in pids

    def _lease(self) -> object:
        return self.board.client.get(self.board.keys.named("scheduler"))

    def stop(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait(30)
        self.service.stop()
        self.board.client.close()

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_quiet(self) -> bool:
        """Whether nobody waits or holds, and nothing is left to be found out or answered."""
        keys = self.board.keys
        left = (keys.lines, keys.holders, keys.unresolved, keys.resumes, keys.blocking, keys.children, keys.deadlines)
        return not any(self.board.client.exists(key) for key in left)

    def settle(self, timeout: float) -> None:
        """Wait until `is_quiet`. Raises: AssertionError: what is left after *timeout* seconds."""
        try:
            eventually(self.is_quiet, timeout=timeout)
        except AssertionError as error:
            left = {task: str(self.board.place(task)) for task in self.tracked.tasks()[:5]}
            raise AssertionError(f"not quiet after {timeout} s: {left}") from error

    def records(self, **wanted: Any) -> list[Record]:
        return list(Timeline(self.board.client, self.board.keys).read(Filter(**wanted)))
