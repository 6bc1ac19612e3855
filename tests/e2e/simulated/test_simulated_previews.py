"""A preview shows what its question names, and nothing else: tenant, snapshot, Git reference."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.simulated.helpers import run_of, status_of
from tests.simulator.control import SimulatedOctopus, SimulatorError
from tests.simulator.steps import work

MAIN, BRANCH = "refs/heads/main", "refs/heads/new-targets"


def machines(preview: Any) -> list[list[str]]:
    return [[machine["Name"] for machine in step["Machines"]] for step in preview["StepsToExecute"]]


@pytest.fixture
def tenanted(octopus: SimulatedOctopus) -> SimulatedOctopus:
    """web-01 serves everybody, acme-01 only Acme (Tenants-1)."""
    octopus.machine("acme-01", tenants=["Acme"])
    octopus.tenant("Other")
    return octopus


def test_targets_of_a_tenant_are_only_in_its_previews_and_runs(tenanted: SimulatedOctopus) -> None:
    tenanted.project("Web", steps=[work("deploy", machines=["acme-01"])])
    tenanted.runbook("Web", "Clean", steps=[work("clean", machines=["acme-01"]), work("all", seconds=0.1)])
    release = tenanted.api("releases", {"ProjectId": "Projects-1", "Version": "2.0.0"})["Id"]
    of_release = f"releases/{release}/deployments/preview/Environments-1"
    of_runbook = "runbooks/Runbooks-1/runbookRuns/preview/Environments-1"
    both = [{"EnvironmentId": "Environments-1", "TenantId": tenant} for tenant in (None, "Tenants-1")]

    with_tenant, without = tenanted.deploy("Web", tenant="Acme"), tenanted.deploy("Web")
    run = tenanted.run_runbook("Web", "Clean", tenant="Acme")
    tenanted.wait_idle()

    assert machines(tenanted.api(of_release)) == machines(tenanted.api(f"{of_release}/Tenants-2")) == [[]]
    assert machines(tenanted.api(f"{of_release}/Tenants-1")) == [["acme-01"]]
    assert machines(tenanted.api(of_runbook)) == [[], ["web-01"]]
    assert machines(tenanted.api(f"{of_runbook}/Tenants-1")) == [["acme-01"], ["web-01", "acme-01"]]
    snapshot = tenanted.api(f"runbookRuns/{run.id}")["RunbookSnapshotId"]
    for path in (f"releases/{release}/deployments/previews", "runbooks/Runbooks-1/runbookRuns/previews",
                 f"projects/Projects-1/runbookSnapshots/{snapshot}/runbookRuns/previews"):  # fmt: skip
        assert [machines(one)[0] for one in tenanted.api(path, {"DeploymentPreviews": both})] == [[], ["acme-01"]]
    assert [work["machine"] for work in run_of(tenanted, with_tenant)["work"]] == ["Machines-2"]
    assert run_of(tenanted, without)["work"] == []
    process = tenanted.api(f"runbookRuns/{run.id}")["FrozenRunbookProcessId"]
    for path in (f"runbookProcesses/{process}", f"projects/Projects-1/runbookProcesses/{process}"):
        assert [step["Name"] for step in tenanted.api(path)["Steps"]] == ["clean", "all"]
    assert tenanted.api(f"runbookRuns/{run.id}")["TenantId"] == "Tenants-1"
    assert set(tenanted.api(f"runbookRuns/{run.id}")["DeployedToMachineIds"]) == {"Machines-1", "Machines-2"}


def test_previews_of_several_want_a_list(octopus: SimulatedOctopus) -> None:
    octopus.project("Web", steps=[])
    octopus.runbook("Web", "Clean", steps=[])
    with pytest.raises(SimulatorError, match="400 .*DeploymentPreviews"):
        octopus.api("runbooks/Runbooks-1/runbookRuns/previews", {"EnvironmentId": "Environments-1"})


def test_a_release_and_a_snapshot_keep_their_steps(octopus: SimulatedOctopus) -> None:
    octopus.machine("db-01")
    octopus.project("Web", steps=[work("deploy", machines=["web-01"])])
    octopus.runbook("Web", "Clean", steps=[work("clean", machines=["web-01"])])
    release = octopus.api("releases", {"ProjectId": "Projects-1", "Version": "2.0.0"})["Id"]

    octopus.project("Web", steps=[work("deploy", machines=["db-01"])])
    draft = octopus.change_runbook("Web", "Clean", steps=[work("clean", machines=["db-01"])], is_published=False)
    run = octopus.run_runbook("Web", "Clean", reference=draft)
    octopus.wait_for(run)

    def preview(of: str) -> list[list[str]]:
        return machines(octopus.api(f"{of}/runbookRuns/preview/Environments-1"))

    assert machines(octopus.api(f"releases/{release}/deployments/preview/Environments-1")) == [["web-01"]]
    assert preview("runbooks/Runbooks-1") == preview("runbookSnapshots/RunbookSnapshots-1") == [["web-01"]]
    assert preview(f"runbookSnapshots/{draft}") == [["db-01"]]
    assert octopus.api("runbooks/Runbooks-1")["PublishedRunbookSnapshotId"] == "RunbookSnapshots-1"
    shown = octopus.api(f"runbookRuns/{run.id}")
    assert (shown["RunbookSnapshotId"], shown["DeployedToMachineIds"]) == (draft, ["Machines-2"])
    assert [work["machine"] for work in run_of(octopus, run)["work"]] == ["Machines-2"]


def test_runbooks_in_git_are_only_under_their_project_and_reference(tenanted: SimulatedOctopus) -> None:
    tenanted.project("Web", steps=[])
    tenanted.runbook("Web", "Restart IIS", steps=[work("restart", machines=["acme-01"])], git_ref=MAIN)
    tenanted.change_runbook("Web", "Restart IIS", steps=[work("restart", machines=["web-01"])], git_ref=BRANCH)
    run = tenanted.run_runbook("Web", "Restart IIS", reference=BRANCH)
    tenanted.wait_for(run)

    def under(reference: str) -> str:
        return f"projects/Projects-1/{quote(reference, safe='')}/runbooks/restart-iis"

    shown = tenanted.api(f"runbookRuns/{run.id}")
    assert (shown["RunbookId"], shown["GitReference"]["GitRef"]) == ("restart-iis", BRANCH)
    assert machines(tenanted.api(f"{under(BRANCH)}/runbookRuns/preview/Environments-1")) == [["web-01"]]
    assert machines(tenanted.api(f"{under(MAIN)}/runbookRuns/preview/Environments-1")) == [[]]
    for_acme = {"DeploymentPreviews": [{"EnvironmentId": "Environments-1", "TenantId": "Tenants-1"}]}
    assert [machines(one) for one in tenanted.api(f"{under(MAIN)}/runbookRuns/previews", for_acme)] == [[["acme-01"]]]
    assert tenanted.api(under(MAIN))["Slug"] == "restart-iis"
    for path in (
        "runbooks/restart-iis", "runbooks/Runbooks-1", "runbooks/restart-iis/runbookRuns/preview/Environments-1",
        "projects/Projects-1/runbooks/restart-iis/runbookRuns/preview/Environments-1",
        f"projects/Projects-1/{MAIN}/runbooks/restart-iis/runbookRuns/preview/Environments-1",
        f"{under(MAIN)}/runbookRuns/preview/Environments-1/Tenants-1", under("refs/heads/none"),
        "runbookSnapshots/RunbookSnapshots-1/runbookRuns/preview/Environments-1",
    ):  # fmt: skip
        assert status_of(tenanted, f"/api/Spaces-1/{path}") == 404, path
    assert tenanted.api("runbooks")["Items"] == []
    started = next(e for e in tenanted.record()["events"] if e["Category"] == "RunbookRunStarted")
    assert started["RelatedDocumentIds"] == [run.id, "Projects-1", "Environments-1", run.task_id]


def test_steps_that_do_not_run_and_machines_without_ids(octopus: SimulatedOctopus) -> None:
    octopus.machine("db-01")
    octopus.disable("db-01")
    octopus.project("Web", steps=[
        work("off", is_disabled=True), work("named", machines=["web-01"], names_only=True, is_required=True),
        work("both", machines=["web-01", "db-01"]),
    ])  # fmt: skip
    release = octopus.api("releases", {"ProjectId": "Projects-1", "Version": "2.0.0"})["Id"]
    off, named, both = octopus.api(f"releases/{release}/deployments/preview/Environments-1")["StepsToExecute"]

    with pytest.raises(SimulatorError, match="400 .*named is required"):
        octopus.api("deployments", {"ReleaseId": release, "EnvironmentId": "Environments-1",
                                    "SkipActions": [named["ActionId"]]})  # fmt: skip
    skipped = octopus.api("deployments", {"ReleaseId": release, "EnvironmentId": "Environments-1",
                                          "SkipActions": [both["ActionId"]]})  # fmt: skip
    octopus.wait_for(skipped["TaskId"])

    assert (off["IsDisabled"], [m["Name"] for m in off["Machines"]]) == (True, ["web-01"])
    assert (named["Machines"], named["MachineNames"], named["CanBeSkipped"]) == ([], ["web-01"], False)
    assert [m["Name"] for m in both["UnavailableMachines"]] == ["db-01"]
    assert octopus.api(f"deployments/{skipped['Id']}")["SkipActions"] == [both["ActionId"]]
    assert [step["name"] for run in octopus.record()["runs"] for step in run["steps"]] == ["named"]
