"""octowait and the simulated Octopus Server together: real steps, real webhooks, real waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import WEBHOOK_SECRET, Service, eventually
from tests.simulator.control import SimulatedOctopus
from tests.simulator.record import overlaps, uses_gate
from tests.simulator.steps import release_step, wait_step, work


@pytest.fixture
def octopus(tmp_path: Path, service: Service) -> Iterator[SimulatedOctopus]:
    with SimulatedOctopus.start(tmp_path / "octopus", speed=30, look_seconds=0, task_cap=8) as octopus:
        octopus.variables({"Octowait.Url": service.url, "Octowait.Token": service.tokens["step"]})
        octopus.subscribe(f"{service.url}/webhooks/octopus", WEBHOOK_SECRET)
        octopus.machine("web-01")
        octopus.machine("web-02")
        yield octopus


def test_deployments_with_the_steps_do_not_overlap_and_the_others_do(octopus: SimulatedOctopus) -> None:
    for number, language in enumerate(("bash", "python", "bash", "python")):
        machines = ["web-01", "web-02"] if number < 2 else ["web-01"]
        two = [work("first", machines=machines, seconds=6), work("second", machines=machines, seconds=6)]
        octopus.project(f"Gated {number}", steps=[wait_step(language=language), *two, release_step(language=language)])
        octopus.project(f"Plain {number}", steps=[*two])

    for number in range(4):
        octopus.deploy(f"Gated {number}")
    octopus.wait_idle()
    gated = octopus.record()
    for number in range(4):
        octopus.deploy(f"Plain {number}")
    octopus.wait_idle()
    record = octopus.record()

    assert {run["state"] for run in record["runs"]} == {"Success"}
    assert all(map(uses_gate, gated["runs"])) and overlaps(gated) == []
    assert overlaps(record, only=uses_gate) == []
    assert overlaps(record, only=lambda run: not uses_gate(run))


def test_octowait_hears_of_the_end_of_a_cancelled_holder(octopus: SimulatedOctopus, service: Service) -> None:
    octopus.project("Web", steps=[wait_step(), work("deploy", machines=["web-01"], seconds=10_000)])
    octopus.project("Api", steps=[wait_step(), work("deploy", machines=["web-01"])])
    holder = octopus.deploy("Web")
    eventually(lambda: any(run["work"] for run in octopus.record()["runs"]))
    waiter = octopus.deploy("Api")
    eventually(lambda: service.call("GET", "/api/waits")[1]["waits"])

    octopus.cancel(holder)
    ended = octopus.wait_for(waiter)

    assert ended["State"] == "Success"
    assert overlaps(octopus.record()) == []
    last = service.call("GET", f"/api/runs/{holder.task_id}")[1]["timeline"][-1]
    assert (last["kind"], last["cause"]) == ("released", "event")
    assert octopus.calls()["total"] == 0


def test_the_wait_step_refuses_to_run_on_a_target(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[wait_step(machines=["web-01"]), work("deploy", machines=["web-01"])])

    ended = octopus.wait_for(octopus.deploy("Web"))

    assert ended["State"] == "Failed"
    assert ended["ErrorMessage"].startswith("This step runs on the deployment target Machines-1")
