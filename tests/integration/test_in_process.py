"""octowait's own API in process: what it says is what HTTP says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.client.api import Refused
from app.client.in_process import DirectGate
from app.settings import BadSettings, Settings

EVENT = b"""{"Payload": {"Event": {"Id": "Events-1", "Category": "DeploymentQueued", "Occurred": "2026-01-01T00:00:00Z",
"RelatedDocumentIds": ["ServerTasks-1", "Deployments-1"]}}}"""


@pytest.fixture
def gate(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[DirectGate]:
    gate = DirectGate(Settings(redis_url=redis_url, namespace=namespace, data_dir=tmp_path))
    yield gate
    gate.services.close()


def test_headers_are_sent_as_they_are_over_http(gate: DirectGate) -> None:
    settings = gate.services.settings
    assert settings.webhook_secret
    right = {settings.webhook_header: settings.webhook_secret.get_secret_value()}

    with pytest.raises(Refused) as without:
        gate.call("POST", "/webhooks/octopus", body=EVENT)
    with pytest.raises(Refused) as wrong:
        gate.call("POST", "/webhooks/octopus", body=EVENT, headers={settings.webhook_header: "guessed"})

    assert (without.value.status, wrong.value.status) == (401, 401)
    assert gate.call("POST", "/webhooks/octopus", body=EVENT, headers=right)["event"] == "Events-1"


def test_replay_in_process_needs_no_secret(redis_url: str, namespace: str, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_bytes(EVENT)
    env = {
        "OCTOWAIT_REDIS_URL": redis_url, "OCTOWAIT_NAMESPACE": namespace, "OCTOWAIT_DATA_DIR": str(tmp_path / "data"),
        "OCTOWAIT_WEBHOOK_SECRET": None, "OCTOWAIT_URL": None,
    }  # fmt: skip

    said = CliRunner().invoke(cli, ["replay", str(payload)], env=env)

    assert f"{payload}: Events-1" in said.output
    assert not (tmp_path / "data").exists()


def test_replay_makes_up_no_secret(tmp_path: Path) -> None:
    """It was refused, and left secrets of nobody where it was called."""
    payload = tmp_path / "payload.json"
    payload.write_bytes(EVENT)
    env = {
        "OCTOWAIT_URL": "http://127.0.0.1:1", "OCTOWAIT_TOKEN": "a-token-of-a-test", "OCTOWAIT_REDIS_URL": None,
        "OCTOWAIT_WEBHOOK_SECRET": None, "OCTOWAIT_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip

    with pytest.raises(BadSettings, match="OCTOWAIT_WEBHOOK_SECRET is not set"):
        CliRunner(env=env).invoke(cli, ["replay", str(payload)], catch_exceptions=False)

    assert not (tmp_path / "data").exists()
