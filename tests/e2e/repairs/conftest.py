"""What webhooks do not say, lose, or deliver late: the jobs find it out from a simulated Octopus Server."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.coordination.board import Board
from app.octopus.client import OctopusClient
from app.store.connection import connect
from tests.conftest import services_on
from tests.e2e.repairs.helpers import MARKED, deploys, do_in
from tests.open_board import OpenBoard
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import manual, work
from workers.context import Context


@pytest.fixture
def octopus(tmp_path: Path) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(tmp_path, speed=20, look_seconds=0, task_cap=20) as octopus:
        for name in ("web-01", "web-02"):
            octopus.machine(name)
        yield octopus


@pytest.fixture
def make_context(redis_url: str, octopus: SimulatedOctopus) -> Callable[[Board], Context]:
    def make(board: Board) -> Context:
        services = services_on(board, redis_url, octopus_url=octopus.url, octopus_api_key=octopus.api_key)
        client = OctopusClient(octopus.url, octopus.api_key, budget=services.budget, attempts=1)
        return Context(services, client)

    return make


@pytest.fixture
def context(board: Board, make_context: Callable[[Board], Context]) -> Context:
    return make_context(board)


@pytest.fixture
def do(context: Context) -> Callable[[Any], None]:
    """Runs a job as the worker does: ``do(watch)``."""
    return functools.partial(do_in, context)


@pytest.fixture(params=["guided failure of a step of that name", "linked to that of its child"])
def claimed_by_others(request, octopus):
    """A run at work whose pending interruption mentions octowait and is not octowait's, and Octopus as it shows it."""
    guided = request.param.startswith("guided")
    failing = work("octowait release", machines=["web-01"], seconds=0.1, fails=-1)
    asking = [manual("octowait", instructions=MARKED), work("deploy", machines=["web-01"])]

    def make(context: Context) -> tuple[Deployment, Any]:
        one = deploys(octopus, "Web", steps=[failing] if guided else asking, use_guided_failure=guided)
        octopus.wait_for(one, is_paused=True)

        class Linked:
            def __getattr__(self, name: str) -> Any:
                return getattr(context.octopus, name)

            def interruptions(self, *args: Any, **options: Any) -> Any:
                return self._linked(context.octopus.interruptions(*args, **options))

            def pending_interruptions(self, **options: Any) -> Any:
                return self._linked(context.octopus.pending_interruptions(**options))

            def _linked(self, found: Any) -> Any:
                return tuple(replace(each, is_linked=not guided) for each in found)

        return one, Linked()

    return make


@pytest.fixture
def empty(redis_url: str, namespace: str) -> Iterator[Board]:
    """The closed board of a Redis that has come up empty."""
    board = OpenBoard(connect(redis_url), namespace=namespace)
    board.sweep()
    yield board
    board.client.close()
