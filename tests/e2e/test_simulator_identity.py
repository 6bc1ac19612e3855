"""Two projects of a simulated Octopus Server with a token each, and a hostile third one that gains nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Service, eventually
from tests.simulator.control import SimulatedOctopus
from tests.simulator.record import overlaps, uses_gate
from tests.simulator.stack import Stack
from tests.simulator.steps import release_step, wait_step, work

SECRETS = {name: f"{name.lower()}-token-of-twenty-and-more" for name in ("Web", "Api", "Hostile")}


def attack(service: Service, working: str, waiting: str) -> None:
    """All that a step token of another project can say about two runs, and about the tasks to come."""
    for task in (working, waiting):
        service.call("DELETE", f"/api/waits/{task}", role="Hostile")
        service.call("GET", f"/api/waits/{task}", role="Hostile")
        for parked in (True, False):
            body = {"machines": ["Machines-9"], "parked": parked, "project": {"id": service.projects["Hostile"]}}
            service.call("PUT", f"/api/waits/{task}", body, role="Hostile")
    number = int(waiting.rpartition("-")[2])
    for task in range(number + 1, number + 6):
        body = {
            "machines": ["Machines-1"], "priority": 1_000_000, "on_behalf_of": working,
            "project": {"id": service.projects["Hostile"]}, "deployment_id": f"Deployments-{number}",
        }  # fmt: skip
        service.call("PUT", f"/api/waits/ServerTasks-{task}", body, role="Hostile")


@pytest.mark.timeout(240)
def test_hostile_project_gains_nothing(tmp_path: Path, redis_url: str, namespace: str) -> None:
    with SimulatedOctopus.start(tmp_path / "octopus", speed=30, look_seconds=0, task_cap=8) as octopus:
        octopus.machine("web-01")
        projects: dict[str, Any] = {}
        for name in ("Web", "Api", "Hostile"):
            steps = [wait_step(), work("deploy", machines=["web-01"], seconds=150), release_step()]
            projects[name] = octopus.project(name, steps=steps, variables={"Octowait.Token": SECRETS[name]})
        tokens = [f"step:{name}:{secret};projects={projects[name]};max_waiting=9" for name, secret in SECRETS.items()]
        tokens += [f"viewer:v:{'v' * 20}", f"admin:a:{'a' * 20}"]
        with Stack(octopus, redis_url, namespace, tmp_path, OCTOWAIT_TOKENS=",".join(tokens)) as stack:
            service: Any = stack.service
            service.tokens, service.projects = SECRETS | {"admin": "a" * 20, "viewer": "v" * 20}, projects
            stack.start()
            working = octopus.deploy("Web")
            eventually(lambda: any(run["work"] for run in octopus.record()["runs"]))
            waiting = octopus.deploy("Api")
            eventually(lambda: service.call("GET", "/api/waits")[1]["waits"])

            attack(service, working.task_id, waiting.task_id)
            states = {task: str(stack.board.place(task).state) for task in (working.task_id, waiting.task_id)}
            later = [octopus.deploy(name) for name in ("Web", "Api")]
            octopus.wait_idle(timeout=150)

            assert states == {working.task_id: "granted", waiting.task_id: "waiting"}
            record = octopus.record()
            assert [octopus.task(each)["State"] for each in (working, waiting, *later)] == ["Success"] * 4
            assert all(map(uses_gate, record["runs"])) and overlaps(record) == []
            owners = {stack.board.place(each.task_id).run.owner for each in (working, waiting, *later)}
            assert owners == {"Web", "Api"}
