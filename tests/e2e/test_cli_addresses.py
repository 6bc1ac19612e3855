"""Where a command sends a token: never where only a file says, unless the token is of that directory too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import ROOT

KEPT = "kept-token-of-that-directory"


@pytest.fixture
def directory(tmp_path: Path, httpserver: HTTPServer) -> Path:
    """A working directory whose octowait, it says, is *httpserver*."""
    httpserver.expect_request("/api/waits").respond_with_json({"waits": []})
    data = tmp_path / ".octowait"
    data.mkdir()
    (data / "address").write_text(httpserver.url_for(""))
    (data / "secrets.env").write_text(f"OCTOWAIT_WEBHOOK_SECRET=x\nOCTOWAIT_TOKENS=admin:local:{KEPT}\n")
    return tmp_path


def waits(directory: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OCTOWAIT_")}
    return subprocess.run(
        [sys.executable, "-m", "app", "waits", "--json", *words], env={**kept, "PYTHONPATH": str(ROOT), **env},
        cwd=directory, text=True, capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "env"),
    [
        ((), {"OCTOWAIT_TOKEN": "token-of-production-1"}),
        (("--token", "token-of-production-1"), {}),
        ((), {"OCTOWAIT_TOKENS": "admin:prod:token-of-production-1", "OCTOWAIT_WEBHOOK_SECRET": "w" * 20}),
    ],
)
def test_token_of_elsewhere_is_not_sent_to_the_address_of_a_directory(directory, httpserver, words, env):
    done = waits(directory, *words, **env)

    assert done.returncode == 2
    assert "expected --url or OCTOWAIT_URL beside the token" in done.stderr
    assert httpserver.log == []


def test_token_of_the_directory_is_sent_to_its_address(directory, httpserver):
    assert waits(directory).returncode == 0
    assert waits(directory, "--token", KEPT).returncode == 0

    assert {request.headers["Authorization"] for request, _ in httpserver.log} == {f"Bearer {KEPT}"}


def test_address_with_a_password_is_refused_and_not_shown(directory, httpserver):
    done = waits(directory, "--url", f"http://ann:hidden-word@127.0.0.1:{httpserver.port}", "--token", "t" * 20)

    assert done.returncode == 2 and "expected an address without user and password" in done.stderr
    assert "hidden-word" not in done.stderr and httpserver.log == []
