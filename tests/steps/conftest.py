"""What the tests of the steps share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from run_step import SUFFIXES, Steps
from scripted import Script


@pytest.fixture(params=sorted(SUFFIXES))
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def offline(language: str, tmp_path: Path) -> Iterator[Steps]:
    """Steps for an address where nobody listens (port 1)."""
    steps = Steps(language, tmp_path, url="http://127.0.0.1:1", token="some-token")
    yield steps
    for step in steps.started:
        step.kill()


@pytest.fixture
def steps(language: str, tmp_path: Path, service: Any) -> Iterator[Steps]:
    """Steps for the service."""
    steps = Steps(language, tmp_path, url=service.url, token=service.tokens["step"])
    yield steps
    for step in steps.started:
        step.kill()


@pytest.fixture
def script(httpserver: HTTPServer, language: str) -> Script:
    return Script(httpserver, language)
