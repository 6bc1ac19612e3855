"""A run that nobody can look after says so wherever somebody may look."""

from __future__ import annotations

import pytest

from app.coordination.unseen import Unseen, UnseenRun
from app.store.connection import connect
from app.store.keys import Keys
from tests.conftest import Service

WHY = "Octopus answers 403 for Spaces-99"


@pytest.fixture
def hidden(service: Service, redis_url: str, namespace: str) -> Service:
    """An octowait with a holder in a space that is hidden, and one that is looked after."""
    for number in (3, 4):
        body = {"machines": [f"Machines-{number}"], "space_id": "Spaces-99"}
        assert service.call("PUT", f"/api/waits/ServerTasks-{number}", body, role="step")[0] == 201
    client = connect(redis_url)
    Unseen(client, Keys(namespace)).note(UnseenRun("ServerTasks-3", "Spaces-99", WHY, 1_764_000_000_000))
    client.close()
    return service


def test_api_names_it(hidden: Service) -> None:
    [unseen] = hidden.call("GET", "/api/machines", role="viewer")[1]["unseen"]

    assert unseen == {
        "task_id": "ServerTasks-3", "space_id": "Spaces-99", "why": WHY, "since_ms": 1_764_000_000_000,
    }  # fmt: skip
    assert hidden.call("GET", "/api/runs/servertasks-3", role="viewer")[1]["unseen"] == WHY
    assert hidden.call("GET", "/api/runs/ServerTasks-4", role="viewer")[1]["unseen"] is None


@pytest.mark.parametrize("page", ["/health", "/runs/ServerTasks-3"])
def test_pages_name_it(hidden: Service, page: str) -> None:
    status, html = hidden.call("GET", page, role="viewer")

    assert status == 200 and WHY in html


def test_page_of_another_run_does_not(hidden: Service) -> None:
    assert "annot be looked after" not in hidden.call("GET", "/runs/ServerTasks-4", role="viewer")[1]
