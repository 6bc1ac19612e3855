"""``octowait templates``, as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def octowait(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("OCTOWAIT_")}, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments], cwd=directory, env=env, capture_output=True, text=True, timeout=60
    )


def test_build_writes_the_files_and_names_them(tmp_path: Path) -> None:
    done = octowait(tmp_path, "templates", "build", "--out", "made/here")

    assert (done.returncode, done.stderr) == (0, "")
    files = sorted((tmp_path / "made" / "here").iterdir())
    assert done.stdout.splitlines() == [str(file.relative_to(tmp_path)) for file in files]
    names = [json.loads(file.read_text())["Name"] for file in files]
    assert len(names) == 9 and "octowait - Claim machines (PowerShell)" in names


def test_building_again_writes_over_them(tmp_path: Path) -> None:
    for _ in range(2):
        assert octowait(tmp_path, "templates", "build").returncode == 0

    assert len(list((tmp_path / "step-templates").iterdir())) == 9


def test_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")

    done = octowait(tmp_path, "templates", "build", "--out", "taken/there")

    assert done.returncode == 1
    assert done.stderr.startswith("octowait: ") and "taken" in done.stderr and "Traceback" not in done.stderr
