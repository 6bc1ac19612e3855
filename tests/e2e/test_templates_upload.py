"""Step templates in a simulated Octopus Server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.simulator.control import SimulatedOctopus


@pytest.fixture
def octopus(tmp_path: Path) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(tmp_path) as octopus:
        yield octopus


def upload(octopus: SimulatedOctopus, *options: str) -> tuple[int, str]:
    key = octopus.user("uploader", permissions=["ActionTemplateView", "ActionTemplateCreate", "ActionTemplateEdit",
                                                "SpaceView"])  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OCTOWAIT_OCTOPUS_URL": octopus.url, "OCTOWAIT_OCTOPUS_API_KEY": key}
    done = subprocess.run([sys.executable, "-m", "app", "templates", "upload", *options], env=env, text=True,
                          capture_output=True, timeout=60)  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_templates_are_created_then_unchanged_and_corrected_when_edited(octopus):
    assert upload(octopus)[0] == 0
    names = {template["Name"] for template in octopus.api("actiontemplates?take=100", key="admin")["Items"]}
    assert len(names) == 9
    assert upload(octopus, "--dry-run")[0] == 0

    [one] = [t for t in octopus.api("actiontemplates?take=100", key="admin")["Items"] if t["Name"] == sorted(names)[0]]
    edited = {**one, "Properties": {**one["Properties"], "Octopus.Action.Script.ScriptBody": "echo hello"}}
    octopus.api(f"actiontemplates/{one['Id']}", edited, method="PUT", key="admin")
    status, output = upload(octopus, "--dry-run", "--json")
    assert status == 1
    assert [each["name"] for each in json.loads(output) if each["action"] == "update"] == [one["Name"]]

    assert upload(octopus)[0] == 0
    after = octopus.api(f"actiontemplates/{one['Id']}", key="admin")
    assert after["Properties"] == one["Properties"]
    assert after["Id"] == one["Id"]


def test_key_that_may_not_is_told_so(octopus):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OCTOWAIT_OCTOPUS_URL": octopus.url,
           "OCTOWAIT_OCTOPUS_API_KEY": "API-WRONG"}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "app", "templates", "upload"], env=env, text=True,
                          capture_output=True, timeout=60)  # fmt: skip

    assert done.returncode == 1
    assert "401" in done.stderr
