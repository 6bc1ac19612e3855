"""What tests of watch and reconcile share: a stand-in for Octopus, a context, and who holds what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from app.coordination.board import Board
from app.domain.run import RunRequest
from app.octopus.client import OctopusClient
from tests.conftest import services_on
from tests.integration.spaces_of_octopus import Octopus
from workers.context import Context, current


@pytest.fixture
def octopus(httpserver: HTTPServer) -> Octopus:
    return Octopus(httpserver)


@pytest.fixture
def make_context(redis_url: str, octopus: Octopus) -> Iterator[Callable[..., Context]]:
    clients = []

    def make(board: Board, **settings: Any) -> Context:
        services = services_on(board, redis_url, octopus_url=octopus.url, octopus_api_key="API-KEY", **settings)
        clients.append(OctopusClient(octopus.url, "API-KEY", sleep=lambda seconds: None, attempts=1))
        return Context(services, clients[-1])

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def context(board: Board, make_context: Callable[..., Context]) -> Context:
    return make_context(board)


def do(context: Context, job: Any) -> None:
    """Run a job as the worker does."""
    token = current.set(context)
    try:
        job.run()
    finally:
        current.reset(token)


def holds(board: Board, number: int, machine: str, space: Any = "Spaces-1", **run: Any) -> None:
    """Let ``ServerTasks-<number>`` ask for the machine: it holds it, or waits for it."""
    info = {"space_id": space} if space else {}
    board.join(RunRequest(f"ServerTasks-{number}", info=info, **run), {machine}, ttl=timedelta(hours=9))


def state(board: Board, number: int) -> str | None:
    place = board.place(f"ServerTasks-{number}")
    return str(place.state) if place else None
