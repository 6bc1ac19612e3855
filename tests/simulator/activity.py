"""What a server task does in its thread, and how it is stopped from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import Any

#: Why an activity is stopped. An abandoned one keeps its scripts: Octopus gives up on them, nobody ends them.
CANCELLED, TIMED_OUT, ABANDONED = "cancelled", "timed out", "abandoned"


class Stopped(Exception):
    """The activity was cancelled, has timed out or was abandoned; `Activity.stopped` says which."""


class TookTooLong(Exception):
    """A process was killed, since it took longer than it may."""


class Activity:
    """Waits that end at once when the activity is stopped, and the processes that are then killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: set[threading.Event] = set()
        self._processes: set[subprocess.Popen[Any]] = set()
        self.stopped: str | None = None
        #: Set when the task was paused without a slot and may go on.
        self.gate = threading.Event()
        #: Not set while the server is away: nothing new begins.
        self.awake = threading.Event()
        self.awake.set()

    def execute(self) -> str:
        """Do it: what went wrong, or nothing. Raises: Stopped."""
        raise NotImplementedError

    def wait(self, event: threading.Event, real_seconds: float | None = None) -> bool:
        """Whether *event* was set in time. Raises: Stopped."""
        with self._lock:
            self._raise_if_stopped()
            self._waits.add(event)
        happened = event.wait(real_seconds)
        with self._lock:
            self._waits.discard(event)
            self._raise_if_stopped()
        return happened

    def check(self) -> None:
        """Raises: Stopped."""
        with self._lock:
            self._raise_if_stopped()

    def sleep(self, real_seconds: float) -> None:
        """Raises: Stopped."""
        self.wait(threading.Event(), real_seconds)

    @staticmethod
    def outlive(real_seconds: float) -> None:
        """Go on for so long, stopped or not: what an abandoned script does."""
        threading.Event().wait(max(0.0, real_seconds))

    def await_process(self, process: subprocess.Popen[Any], real_limit: float | None = None) -> int:
        """The exit status of *process*, which leads a group of its own.

        Raises:
            Stopped: once it has ended.
            TookTooLong: it was killed after *real_limit* seconds.
        """
        with self._lock:
            self._processes.add(process)
            if self.stopped and self.stopped != ABANDONED:
                kill_group(process)
        try:
            status = process.wait(real_limit)
        except subprocess.TimeoutExpired as late:
            kill_group(process)
            process.wait()
            raise TookTooLong from late
        with self._lock:
            self._processes.discard(process)
            self._raise_if_stopped()
        return status

    def stop(self, why: str) -> None:
        """Let every wait raise `Stopped`; SIGKILL to the processes, unless they are abandoned."""
        with self._lock:
            if self.stopped:
                return
            self.stopped = why
            if why != ABANDONED:
                for process in self._processes:
                    kill_group(process)
            for event in self._waits:
                event.set()

    def kill(self) -> None:
        """End what an abandoned activity left running; for the end of the simulator."""
        with self._lock:
            for process in self._processes:
                kill_group(process)

    def _raise_if_stopped(self) -> None:
        if self.stopped:
            raise Stopped(self.stopped)


def kill_group(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
