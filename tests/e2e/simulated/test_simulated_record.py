"""The record of what ran tells overlaps, and who answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import eventually
from tests.e2e.simulated.helpers import run_of
from tests.simulator.control import SimulatedOctopus
from tests.simulator.record import overlaps
from tests.simulator.steps import manual, parked_wait, script_step


def test_overlaps_knows_families_machines_and_gaps() -> None:
    def run(task: str, start: int, end: int, family: str = "", machine: str = "Machines-1") -> dict[str, Any]:
        worked = {"machine": machine, "step": "deploy", "started_ms": start, "ended_ms": start + 1}
        return {"task_id": task, "execution": 1, "family": family or task, "ended_ms": end, "is_abandoned": False,
                "steps": [], "work": [worked]}  # fmt: skip

    one = run("ServerTasks-1", 10, 50)
    late, next_, child = run("ServerTasks-2", 49, 60), run("ServerTasks-2", 50, 60), run("ServerTasks-2", 20, 30)

    assert [found.overlap_ms for found in overlaps({"runs": [one, late]})] == [1]
    assert overlaps({"runs": [one, next_]}) == []
    assert overlaps({"runs": [one, {**child, "family": "ServerTasks-1"}]}) == []
    assert overlaps({"runs": [one, run("ServerTasks-2", 20, 30, machine="Machines-2")]}) == []
    assert overlaps({"runs": [one, late]}, only=lambda run: run["task_id"] == "ServerTasks-1") == []


def test_overlaps_gives_a_machine_back_when_the_release_step_starts() -> None:
    released = {"script": "release", "status": "Success", "started_ms": 40, "last_line": "Released Machines-1."}
    worked = {"machine": "Machines-1", "step": "deploy", "started_ms": 10, "ended_ms": 30}
    one = {"task_id": "ServerTasks-1", "execution": 1, "family": "ServerTasks-1", "ended_ms": 50,
           "is_abandoned": False, "steps": [released], "work": [worked]}  # fmt: skip
    other = {**one, "task_id": "ServerTasks-2", "family": "ServerTasks-2", "steps": [], "ended_ms": 90,
             "work": [{**worked, "started_ms": 45, "ended_ms": 60}]}  # fmt: skip
    unreached = {**one, "steps": [{**released, "last_line": "Not released: octowait did not answer."}]}

    assert overlaps({"runs": [one, other]}) == []
    assert len(overlaps({"runs": [one, other]}, is_strict=True)) == 1
    assert len(overlaps({"runs": [unreached, other]})) == 1


def test_the_record_tells_who_answered_for_octowait(octopus: SimulatedOctopus, tmp_path: Path) -> None:
    (tmp_path / "claim.sh").write_text('set_octopusvariable "Octowait.Granted" "False"\n')
    octopus.project("Web", steps=[script_step("Claim", str(tmp_path / "claim")), parked_wait(), manual("Approve")])
    task = octopus.deploy("Web")

    for user in ("octowait", "jane"):
        interruption = eventually(lambda: octopus.pending(task))[0]["Id"]
        octopus.submit(interruption, user=user)
        assert octopus.api(f"interruptions/{interruption}")["IsPending"] is False
    octopus.wait_for(task, "Success")

    answers = [(a["title"], a["by"], a["is_for_octowait"]) for a in run_of(octopus, task)["answers"]]
    assert answers == [("octowait: wait for machines", "octowait", True), ("Approve", "jane", False)]
