"""What the tests of the steps share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import run_step
from conditions.world import World
from powershell import needs_powershell
from pytest_httpserver import HTTPServer
from run_step import SUFFIXES, Steps
from scripted import Script

from tests.steps.powershell_host import PowerShellHost


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the conditions among the other tests of the steps: many of them wait for seconds while the others work.

    Those that share a start of PowerShell stay together, and come first.
    """
    places = [place for place, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    own = [items[place] for place in places]
    together = [item for item in own if item.path.name.startswith("test_powershell")]
    others = [item for item in own if not item.path.name.startswith("test_powershell")]
    kinds = [[item for item in others if (item.path.name == "test_conditions.py") is waits] for waits in (True, False)]
    shares = {item: (number + 0.5) / len(kind) for kind in kinds for number, item in enumerate(kind)}
    for place, item in zip(places, [*together, *sorted(others, key=shares.__getitem__)], strict=True):
        items[place] = item


@pytest.fixture(params=sorted(SUFFIXES))
def language(request: pytest.FixtureRequest) -> str:
    if request.param == "powershell":
        needs_powershell()
    return str(request.param)


@pytest.fixture(scope="session")
def powershell_host() -> Iterator[PowerShellHost]:
    host = run_step.powershell_host()
    yield host
    host.stop()


@pytest.fixture
def world(language: str, tmp_path: Path, powershell_host: PowerShellHost) -> Iterator[World]:
    """With scripts of its own, which `first_call.put_at_first_call` writes."""
    made = World(language, tmp_path, tmp_path, powershell_host if language == "powershell" else None)
    yield made
    made.close()


@pytest.fixture
def make_steps(language: str, tmp_path: Path, powershell_host: PowerShellHost) -> Iterator[Callable[[str, str], Steps]]:
    """Makes steps for an address and a token."""
    made: list[Steps] = []

    def make(url: str, token: str) -> Steps:
        host = powershell_host if language == "powershell" else None
        made.append(Steps(language, tmp_path, url=url, token=token, host=host))
        return made[-1]

    yield make
    for step in [step for steps in made for step in steps.started]:
        step.kill()


@pytest.fixture
def offline(make_steps: Callable[[str, str], Steps]) -> Steps:
    """Steps for an address where nobody listens (port 1)."""
    return make_steps("http://127.0.0.1:1", "some-token")


@pytest.fixture
def steps(make_steps: Callable[[str, str], Steps], service: Any) -> Steps:
    """Steps for the service."""
    return make_steps(service.url, service.tokens["step"])


@pytest.fixture
def script(httpserver: HTTPServer, language: str) -> Script:
    return Script(httpserver, language)
