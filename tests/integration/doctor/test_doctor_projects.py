"""What doctor finds in projects that share machines."""

from __future__ import annotations

from app.doctor import on_projects
from tests.integration.doctor.helpers import ERROR, OK, UNKNOWN, found, share


def test_projects_that_share_nothing(case):
    assert found(on_projects.coverage, case) == [("coverage", OK)]


def test_projects_that_share_a_machine(case, octopus):
    share(octopus)

    findings = list(on_projects.coverage(case))

    assert [(each.code, each.level) for each in findings] == [("coverage", OK), ("no_wait_step", ERROR)]
    assert findings[0].what == "Web waits for web-01, which Api also uses."
    assert "Api deploys to web-01, which Web also uses" in findings[1].what


def test_machines_without_names_are_told_by_their_ids(case, octopus):
    share(octopus)
    octopus.statuses["/api/Spaces-1/machines"] = 403

    assert [each.what for each in on_projects.coverage(case)][0] == "Web waits for Machines-7, which Api also uses."


def test_process_that_cannot_be_read(case, octopus):
    share(octopus)
    octopus.statuses["/api/Spaces-1/deploymentprocesses/deploymentprocess-Projects-2"] = 403

    assert ("coverage", UNKNOWN) in found(on_projects.coverage, case)
