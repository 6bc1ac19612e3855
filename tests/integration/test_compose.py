"""What docker/compose.yaml lets its containers do, and that the secrets it takes let octowait in, and nobody else."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from app.settings import PREFIX, Settings, load_settings
from app.store.rehearsal import refusals
from tests.chaos.store import binary
from tests.conftest import ROOT, eventually
from tests.ports import free_port

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OCTOWAIT = ("web", "worker", "scheduler")

#: Settings that are secret, or hold one.
SECRET = {"REDIS_URL", "WEBHOOK_SECRET", "TOKENS", "OCTOPUS_API_KEY", "NOTIFY_URLS", "OIDC_CLIENT_SECRET"}


@pytest.mark.parametrize("name", SERVICES)
def test_container_writes_its_data_only_and_has_no_privilege(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "network_mode" not in service and service["pids_limit"] > 0
    # Named volumes, nothing of the host.
    assert all(volume.split(":")[0] in COMPOSE["volumes"] for volume in service["volumes"])
    assert "user" in service or "\nUSER octowait\n" in (ROOT / "docker" / "Dockerfile").read_text()


def test_secrets_are_files_and_each_container_has_its_own_only():
    for name in OCTOWAIT:
        environment = SERVICES[name]["environment"]
        settings = {variable.removeprefix(PREFIX) for variable in environment}
        files = {Path(path).name for variable, path in environment.items() if variable.endswith("_FILE")}

        assert settings & SECRET == set()
        assert files == set(SERVICES[name]["secrets"])
        assert [secret for secret in files if secret.startswith("redis_url")] == [f"redis_url_{name}"]
    assert SERVICES["redis"]["secrets"] == ["redis_acl"]
    assert {secret for service in SERVICES.values() for secret in service["secrets"]} == COMPOSE["secrets"].keys()
    assert SECRET <= {name.upper() for name in Settings.model_fields}


def test_redis_is_reached_by_octowait_only():
    assert "ports" not in SERVICES["redis"]
    assert SERVICES["redis"]["networks"] == ["data"] and COMPOSE["networks"]["data"] == {"internal": True}
    assert [port for service in SERVICES.values() for port in service.get("ports", [])] == ["127.0.0.1:8080:8080"]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    # An interpreter without octowait's packages, in an environment without its settings.
    subprocess.run([sys.executable, "-I", "-S", ROOT / "docker" / "make-secrets", made], check=True, cwd=tmp_path)
    return made


@pytest.fixture
def server(secrets: Path, tmp_path: Path) -> Iterator[int]:
    """The port of a Valkey that is started as its container is."""
    port = free_port()
    words = shlex.split(SERVICES["redis"]["command"])[1:]
    command = [binary("valkey"), *(word.replace("/run/secrets", str(secrets)) for word in words)]
    with open(tmp_path / "valkey.log", "wb") as log:
        process = subprocess.Popen([*command, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)],
                                   stdout=log, stderr=log)  # fmt: skip
    yield port
    process.kill()
    process.wait(30)


def test_secrets_let_each_process_in_and_nobody_without(secrets, server):
    def answers() -> Any:
        try:
            return redis.Redis(port=server).ping()
        except redis.AuthenticationError:
            return "asks for a password"
        except redis.ConnectionError:
            return None

    assert eventually(answers) == "asks for a password"
    for name in OCTOWAIT:
        environment = {variable: value.replace("/run/secrets", str(secrets))
                       for variable, value in SERVICES[name]["environment"].items() if "$" not in value}  # fmt: skip
        settings = load_settings(environment)
        client = redis.Redis.from_url(settings.redis_url.replace("@redis:6379", f"@127.0.0.1:{server}"))
        assert refusals(client, name, settings.namespace) == ()
        assert settings.webhook_secret and {token.role for token in settings.tokens} == {"step", "viewer", "admin"}
        assert not settings.octopus_api_key and not settings.weak_secrets
        client.close()


def test_secrets_stay_as_they_are_and_are_closed_to_others(secrets):
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    again = [sys.executable, ROOT / "docker" / "make-secrets", secrets]

    subprocess.run(again, check=True)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert before.keys() == COMPOSE["secrets"].keys() | {"redis_url_step"}
    assert secrets.stat().st_mode & 0o777 == 0o700

    (secrets / "redis_acl").unlink()
    refused = subprocess.run(again, capture_output=True, text=True)
    assert refused.returncode == 1 and "expected all of them, or none" in refused.stderr


def test_no_secret_gets_into_an_image_or_a_commit():
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "docker/secrets" not in (ROOT / ".dockerignore").read_text()
    assert not any(word in json.dumps(COMPOSE) for word in ("password", "PASSWORD"))
