"""What the tests of the steps ask of a service, and what they look at there."""

from __future__ import annotations

from typing import Any

MACHINE = "Machines-7"


def hold(service: Any, task: str = "ServerTasks-4700", machines: tuple[str, ...] = (MACHINE,)) -> int:
    """Let *task* hold the machines: its fencing token."""
    body = {
        "machines": list(machines),
        "project": {"id": "Projects-1", "name": "Api"},
        "release": {"id": "Releases-1", "version": "2.0.1"},
        "environment": {"id": "Environments-1", "name": "Production"},
    }
    status, answer = service.call("PUT", f"/api/waits/{task}", body, role="step")
    assert (status, answer["state"]) == (201, "granted")
    return int(answer["fencing_token"])


def give_back(service: Any, task: str = "ServerTasks-4700") -> None:
    status, answer = service.call("DELETE", f"/api/waits/{task}", role="step")
    assert (status, answer["outcome"]) == (200, "released")


def line(service: Any, machine: str = MACHINE) -> list[str]:
    """Who waits for the machine, first in line first."""
    status, answer = service.call("GET", f"/api/machines/{machine}", role="viewer")
    return [waiter["task_id"] for waiter in answer["line"]] if status == 200 else []


def state(service: Any, task: str) -> str:
    status, answer = service.call("GET", f"/api/runs/{task}", role="viewer")
    return str(answer["state"]) if status == 200 else ""
