"""``octowait up``: what ``make run`` starts."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

from app.store.embedded import EmbeddedServer
from tests.conftest import ROOT, eventually, free_port


class Up:
    """``octowait up`` in an empty directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("OCTOWAIT_")}
        self.env |= {"PYTHONPATH": str(ROOT), "OCTOWAIT_BIND": f"127.0.0.1:{self.port}"}
        self.log = directory / "up.log"

    def start(self) -> subprocess.Popen[bytes]:
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "up"], cwd=self.directory, env=self.env, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        eventually(lambda: self.is_ready(process), timeout=40)
        return process

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def interrupt(self, process: subprocess.Popen[bytes]) -> None:
        """Ctrl-C: the terminal sends it to the whole process group."""
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0


def run_line(line: str) -> str:
    """A command that was printed for people to copy, run as they would."""
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=True).stdout


def test_everything_starts_says_what_to_do_stops_and_finds_its_data_again(tmp_path: Path) -> None:
    up = Up(tmp_path)
    process = up.start()
    welcome = up.log.read_text()
    join, webhook = re.findall(r"^    (curl .*?)\n\n", welcome, re.S | re.M)

    assert f"{up.url}/sign-in#token=" in welcome and ".octowait/secrets.env" in welcome
    assert "201" in run_line(join)
    assert "applied" in run_line(webhook)
    assert "201" in run_line(join)
    env = {name: value for name, value in up.env.items() if name != "OCTOWAIT_BIND"}
    here = subprocess.run(
        [sys.executable, "-m", "app", "machines"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert "ServerTasks-1" in here.stdout, here.stderr
    up.interrupt(process)

    assert f"octowait is ready: {up.url}/" in up.log.read_text()
    assert not EmbeddedServer(tmp_path / ".octowait" / "redis").is_alive()
    assert leftovers(tmp_path) == []
    assert "Traceback" not in up.log.read_text()
    secrets = tmp_path / ".octowait" / "secrets.env"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600

    process = up.start()
    try:
        assert "200 OK" in run_line(join), "the run is known from before"
    finally:
        up.interrupt(process)


def test_an_address_that_is_taken_is_named_before_anything_starts(tmp_path: Path) -> None:
    up = Up(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", up.port))
        taken.listen()
        refused = subprocess.run(
            [sys.executable, "-m", "app", "up"], cwd=tmp_path, env=up.env, capture_output=True, text=True, timeout=30
        )

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"octowait: OCTOWAIT_BIND=127.0.0.1:{up.port}: Address already in use")
    assert refused.stdout == ""


def test_a_supervisor_that_was_killed_leaves_nothing_that_stops_the_next(tmp_path: Path) -> None:
    up = Up(tmp_path)
    process = up.start()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    for pid in leftovers(tmp_path):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"valkey" not in command and b"redis" not in command:
            os.kill(pid, signal.SIGKILL)

    process = up.start()
    up.interrupt(process)

    assert leftovers(tmp_path) == []


def leftovers(directory: Path) -> list[int]:
    """Processes that work in *directory*."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and Path(os.readlink(process / "cwd")).is_relative_to(directory):
                if (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        except OSError:
            continue
    return found
