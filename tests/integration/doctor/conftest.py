"""Every check of ``octowait doctor``: what makes it fail, and what makes it pass.

octowait is the real one on a real Redis; Octopus is an HTTP server that answers what the test says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app.client.in_process import DirectGate
from app.doctor.context import DoctorContext
from app.octopus.client import OctopusClient
from app.settings import Settings
from tests.integration.doctor.helpers import GOOD, SECRET, Octopus


@pytest.fixture
def octopus(httpserver: HTTPServer) -> Octopus:
    return Octopus(httpserver)


@pytest.fixture
def settings(redis_url: str, namespace: str, tmp_path) -> Settings:
    return Settings(
        redis_url=redis_url, namespace=namespace, public_url="https://octowait.example.com", webhook_secret=SECRET,
        data_dir=tmp_path,
    )  # fmt: skip


@pytest.fixture
def case(octopus: Octopus, settings: Settings, namespace: str) -> Iterator[DoctorContext]:
    # The subscription of a namespace has the namespace in its name.
    octopus.subscribe(Name=f"octowait-{namespace}")
    client = OctopusClient(octopus.url, "API-KEY", sleep=lambda seconds: None, attempts=1)
    gate = DirectGate(settings)
    # Two hours old: what happened since is its to know.
    gate.services.board.script.offset_ms = -7_200_000
    gate.services.board.open("test")
    gate.services.board.script.offset_ms = 0
    yield DoctorContext(settings, gate, client, lambda: GOOD, list)
    client.close()
    gate.services.close()


@pytest.fixture
def board(case: DoctorContext) -> Any:
    return case.gate.services.board
