"""The workflow that runs these tests on the systems of workers names what there is."""

from __future__ import annotations

import re

import yaml
from run_step import HERE

ROOT = HERE.parent.parent
TEXT = (ROOT / ".github" / "workflows" / "steps.yml").read_text(encoding="utf-8")


def test_it_runs_files_that_there_are() -> None:
    files = re.findall(r"tests/steps/\w+\.py", TEXT)

    assert len(files) >= 3
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_it_installs_what_the_other_tests_are_run_with() -> None:
    pinned = (ROOT / "requirements-dev.txt").read_text().splitlines()
    installed = re.findall(r"[\w-]+==[\d.]+", TEXT)

    assert installed
    assert set(installed) <= set(pinned)


def test_it_tries_each_system_with_its_own_shells() -> None:
    runs = yaml.safe_load(TEXT)["jobs"]["steps"]["strategy"]["matrix"]["include"]

    tried = {(run["system"].split("-")[0], run.get("powershell") or run.get("bash")) for run in runs}
    assert {("windows", "powershell"), ("windows", "pwsh"), ("macos", "/bin/bash"), ("ubuntu", None)} <= tried
