"""``octowait up``: web, worker and scheduler on one machine, on an embedded Redis unless another one is set."""

from __future__ import annotations

import os
import select
import shlex
import signal
import socket
import sys
import sysconfig
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from honcho.manager import Manager
from honcho.printer import Printer

from app.cli.listener import listener_on
from app.cli.welcome import welcome
from app.settings import ADDRESS_FILE, PREFIX, BadSettings, Settings
from app.store.connection import connect
from app.store.disk import full
from app.store.embedded import EmbeddedServer
from app.store.errors import StoreError

#: The processes by name, each with its command of octowait; the Procfile of a checkout says the same.
PROCESSES = {"web": "serve", "worker": "worker", "scheduler": "scheduler"}

#: What the packages of octowait are in: a checkout, or the packages of an environment.
_HOME = Path(__file__).parent.parent.parent


def up(settings: Settings) -> int:
    """Run every process until one ends, Ctrl-C, or the end of the terminal; the exit status.

    Raises:
        BadSettings: somebody listens already on the address to bind.
        BadStoreAddress: the URL is not one of Redis.
    """
    environment = _environment()
    _check_address(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.redis_url:
        connect(settings.redis_url, max_connections=1)  # As each process does, which would say it one after the other.
        return _run(settings, environment)
    server = EmbeddedServer(settings.data_dir / "redis")
    is_new = not server.has_data
    url = environment[f"{PREFIX}REDIS_URL"] = server.acquire()
    stopped = threading.Event()
    threading.Thread(target=_keep_alive, args=(server, stopped), daemon=True).start()
    try:
        if is_new:
            _begin(settings, url)
        return _run(settings, environment)
    finally:
        stopped.set()
        server.release()


def _environment() -> dict[str, str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if str(_HOME) not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_HOME), os.environ.get("PYTHONPATH"))))
    return environment


def _begin(settings: Settings, redis_url: str) -> None:
    """Let a board grant whose Redis is new here: nothing has been lost that Octopus would have to be asked for."""
    from app.client.in_process import DirectGate

    services = DirectGate(settings.model_copy(update={"redis_url": redis_url})).services
    if not services.knows_octopus and services.board.sweep().closed_cause == "empty":
        services.board.open("no_api_key")


class _Supervisor(Manager):  # type: ignore[misc]  # honcho has no types
    """Honcho's, that survives an output which nobody reads any more, and an end before all has begun."""

    def __init__(self) -> None:
        super().__init__(_Output(self))
        self._is_ended_early = False
        self._has_no_reader = False
        self._lock = threading.Lock()

    def end_for_want_of_a_reader(self) -> None:
        """End everything: what is printed is read no longer, as by ``octowait up | head -3``."""
        with self._lock:
            if self._has_no_reader:
                return
            self._has_no_reader = True
        # What is still to be written has nowhere to go, and is no error either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("octowait: nobody reads its output any more, everything is stopped", file=sys.stderr, flush=True)
        self.returncode = 0
        self.terminate()

    def terminate(self) -> None:
        # Honcho knows whom to end only once it has been told of its start.
        self._is_ended_early = not self._all_started()
        if not self._is_ended_early:
            super().terminate()

    def _system_print(self, data: str) -> None:
        super()._system_print(data)
        if self._is_ended_early:
            self.terminate()


class _Output(Printer):  # type: ignore[misc]  # honcho has no types
    """Standard output. Who has stopped reading it has stopped octowait; a full disk behind it has not."""

    def __init__(self, supervisor: _Supervisor) -> None:
        super().__init__(sys.stdout)
        self._supervisor = supervisor

    def write(self, message: Any) -> None:
        try:
            super().write(message)
        except BrokenPipeError:
            self._supervisor.end_for_want_of_a_reader()
        except OSError:
            pass  # The line is lost, the deployments that wait are not.


def _run(settings: Settings, environment: dict[str, str]) -> int:
    (settings.data_dir / ADDRESS_FILE).write_text(f"http://{settings.bind}\n")
    manager = _Supervisor()
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        # Its terminal was closed; the processes have sessions of their own, and would go on without anybody.
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    threading.Thread(target=_welcome_when_ready, args=(settings, manager), daemon=True).start()
    for name, command in PROCESSES.items():
        # The interpreter that runs this one, so that no PATH decides which octowait it is, and no folder named app
        # here (-P): its own.
        manager.add_process(name, shlex.join([sys.executable, "-P", "-m", "app", command]), env=environment)
    manager.loop()
    # Ctrl-C, SIGTERM and the end of its terminal are how it is meant to end.
    return 0 if manager.returncode in (None, 130, 143) else int(manager.returncode)


def _check_address(settings: Settings) -> None:
    """Raises BadSettings where somebody listens already, before anything is started."""
    host, _, port = settings.bind.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            who = listener_on(int(port))
            start = "make run" if (_HOME / "Makefile").exists() else "octowait up"
            raise BadSettings(
                f"{PREFIX}BIND={settings.bind}: {error.strerror}{f' by {who}' if who else ''}. Stop what listens "
                f"there, or take another address, e.g. {PREFIX}BIND={host}:{int(port) + 1} {start}"
            ) from error


def _welcome_when_ready(settings: Settings, supervisor: _Supervisor) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"http://{settings.bind}/readyz", timeout=5):
                break
        except OSError:
            time.sleep(0.2)
    try:
        print(welcome(settings), flush=True)
    except BrokenPipeError:
        supervisor.end_for_want_of_a_reader()
    except OSError:
        pass  # A full disk, as above.
    _await_leaving(sys.stdout.fileno())
    supervisor.end_for_want_of_a_reader()


def _await_leaving(output: int) -> None:
    """Block until the reader of a pipe has gone: after the welcome there may be nothing more to print for hours."""
    watch = select.poll()
    watch.register(output, 0)
    while not any(events & select.POLLERR for _, events in watch.poll()):
        time.sleep(1.0)  # A terminal that was closed says so again and again, and ends us by a signal of its own.


def _keep_alive(server: EmbeddedServer, stopped: threading.Event) -> None:
    full_before: dict[Path, int] = {}
    while not stopped.wait(1.0):
        if (full_now := full([server.directory])) and not full_before:
            print(f"octowait: no space left in {server.directory}: Redis cannot keep what happens", file=sys.stderr)
        full_before = full_now
        try:
            if server.revive():
                print("octowait: the embedded Redis had died and was started again", file=sys.stderr, flush=True)
        except StoreError as error:
            print(f"octowait: {error}", file=sys.stderr, flush=True)
