"""octowait installed from its wheel: nothing of it may need the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.up import PROCESSES
from tests.conftest import ROOT, eventually
from tests.ports import free_port

BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built of the files that git knows or would."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True,
        text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in listed:
        if name and (ROOT / name).exists() and not name.startswith(("tests/", "docs/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    # What 'pip wheel' calls; the environment of the tests has the backend already, so nothing is downloaded.
    subprocess.run([sys.executable, "-W", "ignore", "-c", BUILD, str(out)], cwd=tree, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def octowait(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in an environment with the wheel and what it depends on, and without the checkout."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python), "install",
         "--no-deps", "--no-index", str(wheel)], check=True,
    )  # fmt: skip
    packages = next(home.glob("lib/python*/site-packages"))
    # A path in such a file is searched, but the files of its kind in there, among them that of the checkout, are not
    # read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "octowait"


@pytest.fixture
def env() -> dict[str, str]:
    others = {k: v for k, v in os.environ.items() if not k.startswith("OCTOWAIT_") and k != "PYTHONPATH"}
    return {**others, "OCTOWAIT_BIND": f"127.0.0.1:{free_port()}"}


class Processes:
    """Commands in a directory of their own, as processes; each writes to a log."""

    def __init__(self, octowait: Path, directory: Path, env: dict[str, str]) -> None:
        self.octowait, self.directory, self.env = octowait, directory, env
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> Path:
        log = self.directory / f"{name}.log"
        with open(log, "wb") as output:
            self.started.append(
                subprocess.Popen([self.octowait, name], cwd=self.directory, env=self.env, stdout=output, stderr=output)
            )
        return log

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.octowait, *words], cwd=self.directory, env=self.env, capture_output=True, text=True, timeout=90
        )

    def stop(self) -> list[int]:
        """Ends them, the last one first: their exit statuses."""
        for process in reversed(self.started):
            process.terminate()
        return [process.wait(30) for process in reversed(self.started)]


@pytest.fixture
def processes(octowait: Path, tmp_path: Path, env: dict[str, str]) -> Iterator[Processes]:
    started = Processes(octowait, tmp_path, env)
    # A folder of such a name is somebody's own.
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('this is another app')\n")
    yield started
    for process in started.started:
        if process.poll() is None:
            process.kill()


def test_the_wheel_brings_no_package_but_app_and_workers(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"app", "workers"}
    assert {"app/steps/wait.sh", "app/steps/wait.ps1", "app/steps/wait.py", "app/steps/README.md"} <= set(names)


def test_up_starts_everything_and_doctor_looks_at_it(processes: Processes) -> None:
    log = processes.start("up")
    eventually(lambda: "/sign-in#code=" in log.read_text(), timeout=60)

    status, doctor = processes.run("status"), processes.run("doctor", "--json")

    assert (status.returncode, status.stderr) == (0, ""), status
    assert {finding["level"] for finding in json.loads(doctor.stdout)} >= {"ok"}, doctor
    assert "Traceback" not in doctor.stderr
    assert processes.stop() == [0]
    assert "Traceback" not in log.read_text() and "another app" not in log.read_text()


def test_the_processes_start_one_by_one(processes: Processes) -> None:
    web = processes.start("serve")
    eventually(lambda: "web: listens" in web.read_text(), timeout=60)
    worker, scheduler = processes.start("worker"), processes.start("scheduler")
    eventually(lambda: "worker: ready" in worker.read_text(), timeout=60)
    eventually(lambda: "scheduler: runs" in scheduler.read_text(), timeout=60)

    said = processes.run("machines", "--json")

    assert json.loads(said.stdout)["machines"] == []
    assert processes.stop() == [0, 0, 0]


def test_the_step_templates_are_built_from_what_the_wheel_brings(processes: Processes) -> None:
    done = processes.run("templates", "build")

    assert (done.returncode, done.stderr) == (0, "")
    built = processes.directory / "step-templates" / "octowait-wait-bash.json"
    body = json.loads(built.read_text())["Properties"]["Octopus.Action.Script.ScriptBody"]
    assert body == (ROOT / "steps" / "wait.sh").read_text()


def test_the_procfile_names_the_processes_that_up_starts() -> None:
    said = dict(re.findall(r"^(\w+): octowait (\w+)$", (ROOT / "Procfile").read_text(), re.M))

    assert said == PROCESSES
