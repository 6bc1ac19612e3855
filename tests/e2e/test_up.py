"""``octowait up``: what ``make run`` starts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from app.store.embedded import EmbeddedServer
from tests.conftest import ROOT, eventually, with_own_signals
from tests.ports import free_port


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
                start_new_session=True, preexec_fn=with_own_signals,
            )  # fmt: skip
        eventually(lambda: self.is_ready(process), timeout=40)
        return process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app", *words], cwd=self.directory, env=self.env, capture_output=True, text=True,
            timeout=30,
        )  # fmt: skip

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
    welcome = eventually(lambda: "Ctrl-C" in up.log.read_text() and up.log.read_text())
    join, webhook = re.findall(r"^    (curl .*?)\n\n", welcome, re.S | re.M)

    assert f"{up.url}/sign-in#code=" in welcome and "#token=" not in welcome and ".octowait/secrets.env" in welcome
    assert "201" in run_line(join)
    assert "applied" in run_line(webhook)
    assert "201" in run_line(join)
    env = {name: value for name, value in up.env.items() if name != "OCTOWAIT_BIND"}
    here = subprocess.run(
        [sys.executable, "-m", "app", "machines"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert "ServerTasks-1" in here.stdout, here.stderr
    up.interrupt(process)

    assert "octowait is ready" in up.log.read_text()
    assert not EmbeddedServer(tmp_path / ".octowait" / "redis").is_alive()
    assert leftovers(tmp_path) == []
    assert "Traceback" not in up.log.read_text()
    secrets = tmp_path / ".octowait" / "secrets.env"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600

    process = up.start()
    try:
        assert "200 OK" in run_line(join), "the run is known from before"
    finally:
        process.send_signal(signal.SIGHUP)  # The shell does that whose terminal is closed.
        assert process.wait(30) == 0
    assert leftovers(tmp_path) == []


def test_an_address_that_is_taken_is_named_before_anything_starts(tmp_path: Path) -> None:
    up = Up(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", up.port))
        taken.listen()
        refused = up.run("up")

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"octowait: OCTOWAIT_BIND=127.0.0.1:{up.port}: Address already in use")
    assert f"(process {os.getpid()}, in {os.getcwd()})" in refused.stderr
    assert refused.stdout == ""


def test_an_address_that_is_none_of_redis_is_named_before_anything_starts(tmp_path: Path) -> None:
    up = Up(tmp_path)
    up.env["OCTOWAIT_REDIS_URL"] = "http://:secret@redis.example.com"
    refused = up.run("up")

    assert refused.returncode == 2
    assert refused.stderr.startswith("octowait: Redis URL redis.example.com: expected redis://")
    assert refused.stdout == ""


def test_an_octowait_that_listens_already_is_named_with_its_process(tmp_path: Path) -> None:
    up = Up(tmp_path)
    process = up.start()
    try:
        refused = up.run("up")
    finally:
        up.interrupt(process)

    assert refused.returncode == 2
    said = re.search(r"in use by 'octowait serve' \(process (\d+), in (\S+)\)\. Stop", refused.stderr)
    assert said and said[2] == str(tmp_path), refused.stderr


def test_a_first_start_is_calm_and_its_link_stands_last(tmp_path: Path) -> None:
    up = Up(tmp_path)
    process = up.start()
    lines = eventually(lambda: "Ctrl-C" in up.log.read_text() and up.log.read_text()).splitlines()
    up.interrupt(process)

    [place] = [number for number, line in enumerate(lines) if "/sign-in#code=" in line]
    assert len(lines) - place < 20, "a terminal of 24 lines still shows it"
    assert not [line for line in lines if "warning" in line.lower() or re.search(r"[A-Z]{3,} [A-Z]{3,}", line)]


@pytest.mark.parametrize("readable", [0, 3, 12])
def test_a_reader_that_leaves_ends_everything(tmp_path: Path, readable: int) -> None:
    """As ``octowait up | head -3`` does."""
    up = Up(tmp_path)
    errors = tmp_path / "errors.log"
    with open(errors, "wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "up"], cwd=tmp_path, env=up.env, stdout=subprocess.PIPE, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
    assert process.stdout
    for _ in range(readable):
        process.stdout.readline()
    process.stdout.close()

    assert process.wait(60) == 0
    assert leftovers(tmp_path) == []
    assert "nobody reads its output" in errors.read_text() and "Traceback" not in errors.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_its_output_ends_nothing(tmp_path: Path) -> None:
    up = Up(tmp_path)
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "up"], cwd=tmp_path, env=up.env, stdout=full, stderr=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=with_own_signals,
        )  # fmt: skip
    up.log.touch()
    eventually(lambda: up.is_ready(process), timeout=40)

    up.interrupt(process)
    assert leftovers(tmp_path) == []


def test_serve_says_where_it_listens(tmp_path: Path) -> None:
    up = Up(tmp_path)
    with open(up.log, "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"], cwd=tmp_path, env=up.env, stdout=log, stderr=log
        )
    eventually(lambda: f"url={up.url}" in up.log.read_text(), timeout=40)
    process.terminate()

    assert process.wait(30) == 0


def test_an_environment_whose_making_broke_off_is_made_anew(tmp_path: Path) -> None:
    """As a Python without ensurepip leaves it, Debian's without python3-venv."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    broken = tmp_path / "python-without-venv"
    broken.write_text(
        f"""#!/bin/sh
[ "$1" = -m ] || exec {sys.executable} "$@"
mkdir -p .venv/bin && ln -sf {sys.executable} .venv/bin/python
echo 'ensurepip is not available' >&2; exit 1
"""
    )
    broken.chmod(0o755)

    def make(python: str) -> subprocess.CompletedProcess[str]:
        words = ["make", ".venv/bin/pip", f"PYTHON={python}"]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    refused = make(str(broken))
    assert refused.returncode and "apt-get install python3-venv" in refused.stderr
    assert not (tmp_path / ".venv").exists()

    # One that an older Makefile left behind.
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    assert make(sys.executable).returncode == 0
    assert subprocess.run([tmp_path / ".venv" / "bin" / "pip", "--version"], capture_output=True).returncode == 0


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
