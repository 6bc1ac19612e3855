"""Clients that others wrote for the real Octopus Server work with the simulated one, unmodified."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.control import SimulatedOctopus
from tests.simulator.steps import manual, work

CLIENTS = Path(__file__).parent.parent / "simulator" / "clients"

#: Octopus's own client for TypeScript, from npm.
NPM_CLIENT = "@octopusdeploy/api-client@3.11.0"

#: A client that was generated from Octopus's description of its API (2019.6), from PyPI.
PYPI_CLIENT = "octopus-deploy-swagger-client==1.1.0"

#: Seconds for an installation, and for a client's work.
INSTALL_TIMEOUT, RUN_TIMEOUT = 100, 60


def skipped(reason: str) -> None:
    """Not on this laptop; CI must be able to."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def installed(*command: str) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        skipped(f"{' '.join(command)}: {error} {getattr(error, 'stderr', '')}")


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (shutil.which("npm") and shutil.which("node")):
        skipped("npm is not installed; on Debian: apt-get install npm")
    directory = tmp_path_factory.mktemp("npm")
    installed("npm", "install", "--prefix", str(directory), "--no-audit", "--no-fund", "--ignore-scripts", NPM_CLIENT)
    return directory / "node_modules"


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pypi")
    installed(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target",
              str(directory), PYPI_CLIENT)  # fmt: skip
    return directory


@pytest.fixture
def octopus(tmp_path: Path) -> Iterator[SimulatedOctopus]:
    # The generated client is of a time when header values of webhooks were plain texts.
    with SimulatedOctopus.start(tmp_path, speed=10, look_seconds=0, old_sensitive_values=True) as octopus:
        octopus.machine("web-01")
        yield octopus


def said_by(command: list[str], octopus: SimulatedOctopus, variables: Mapping[str, str]) -> Any:
    environment = {**os.environ, "OCTOPUS_URL": octopus.url, "OCTOPUS_API_KEY": octopus.api_keys["admin"], **variables}
    done = subprocess.run(command, env=environment, timeout=RUN_TIMEOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_typescript_client_releases_deploys_waits_and_cancels(
    octopus: SimulatedOctopus, node_modules: Path
) -> None:
    octopus.project("Web", steps=[work("deploy", seconds=5)])
    octopus.runbook("Web", "Clean", steps=[work("clean", seconds=10_000)])

    said = said_by(["node", str(CLIENTS / "api_client.js")], octopus, {"NODE_PATH": str(node_modules)})

    task_id = said["started"]["ServerTaskId"]
    assert (said["me"]["Username"], said["space"]["Id"]) == ("admin", "Spaces-1")
    assert [document["Name"] for document in said["projects"] + said["environments"]] == ["Web", "Production"]
    assert said["release"]["ReleaseVersion"] == said["releasesOfProject"][0]["Version"] == "1.4.0"
    assert said["seen"][0] == "Executing" and said["seen"][-1] == "Success"
    assert (said["ended"]["IsCompleted"], said["ended"]["FinishedSuccessfully"]) == (True, True)
    assert said["deployment"]["TaskId"] == said["byIds"][0]["Id"] == said["details"]["Task"]["Id"] == task_id
    assert said["deployment"]["DeployedToMachineIds"] == ["Machines-1"]
    assert said["page"]["TotalResults"] == 1
    assert said["details"]["ActivityLogs"][0]["Children"][0]["Children"][0]["Name"] == "web-01"
    assert task_id in said["raw"]
    assert said["timedOut"] == "Timeout reached after 0.5 seconds. Tasks were cancelled."
    assert said["canceled"]["State"] == "Canceled"
    assert said["unknown"].startswith("404: The resource 'ServerTasks-999' was not found.")


def test_the_generated_client_finds_every_field_as_described(octopus: SimulatedOctopus, site_packages: Path) -> None:
    octopus.project("Web", steps=[manual("Approve"), work("deploy")])

    said = said_by([sys.executable, str(CLIENTS / "generated_client.py")], octopus, {"PYTHONPATH": str(site_packages)})

    assert (said["space"], said["task_cap"], said["may_view_tasks"]) == ("Default", 5, True)
    assert said["names"] == ["Web", "Production", "web-01", "Approve", "deploy"]
    assert (said["state"], said["rerun"], said["canceled"]) == ("Success", True, "Canceled")
    assert (said["tasks"], said["on_machine"]) == (1, ["ServerTasks-1"])
    assert "DeploymentStarted" in said["categories"] and said["event"] == "MachineAdded"
    assert said["subscription"] == {"name": "gate", "is_disabled": True, "secret": "the-secret"}
