"""What is wrong with the process of a project that shares machines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.doctor.coverage import Use, examine, kind_of, others_of, shared
from app.domain.terms import TERMS_LINE
from app.octopus.processes import Action, Project, Step, Template
from app.octopus.runs import Deployment

STEPS = Path(__file__).parents[2] / "steps"
SCRIPTS = sorted(path for path in STEPS.iterdir() if path.suffix in (".sh", ".py", ".ps1"))

WEB = Project("Projects-1", "Web", False, "deploymentprocess-Projects-1", None)
USE = Use(WEB, ("web-01",), ("Api",))


def an_action(script: str = "", **fields: Any) -> Action:
    return Action(**{
        "name": "Run", "type": "Octopus.Script", "is_disabled": False, "script": script, "template_id": None,
        "runs_on_server": True, "packages": False, "instructions": "", **fields,
    })  # fmt: skip


def a_step(*actions: Action, **fields: Any) -> Step:
    given = {"name": "Step", "roles": (), "runs_always": False, "packages_first": None, **fields}
    return Step(actions=actions, **given)


def ours(kind: str, **fields: Any) -> Step:
    action = {k: fields.pop(k) for k in ("is_disabled", "runs_on_server") if k in fields}
    return a_step(an_action(f"#!/bin/bash\n# {kind}.sh: what it does\n", **action), **{"name": kind, **fields})


def work(name: str = "Deploy", **fields: Any) -> Step:
    action = {k: fields.pop(k) for k in ("packages", "is_disabled") if k in fields}
    return a_step(
        an_action("echo work", type="Octopus.TentaclePackage", runs_on_server=False, **action),
        **{"name": name, "roles": ("web",), **fields},
    )


WAIT = ours("wait", packages_first=False)
CLAIM = ours("claim", packages_first=False)
RELEASE = ours("release", runs_always=True)
SIGN_OFF = a_step(an_action(type="Octopus.Manual", instructions="approve"), name="Approve")
MENTION = a_step(an_action(type="Octopus.Manual", instructions="octowait answers this"), name="octowait")
APPROVAL = a_step(an_action(type="Octopus.Manual", instructions=f"Wait.\n{TERMS_LINE}"), name="Wait in line")


def codes(*steps: Step) -> list[str]:
    return [finding.code for finding in examine(USE, steps, {})]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_our_scripts_are_recognized_with_and_without_their_header(path):
    script = path.read_text()
    bare = re.sub(r"^#.*$", "", script, flags=re.MULTILINE)

    assert kind_of(an_action(script), {}) == path.stem
    assert kind_of(an_action(bare), {}) == path.stem


def test_other_scripts_are_none_of_ours():
    assert kind_of(an_action("echo wait.sh"), {}) is None
    assert kind_of(an_action("curl https://example.com/api/waits"), {}) is None


@pytest.mark.parametrize("title, kind", [("octowait - Wait for machines", "wait"),
                                         ("octowait - Claim machines", "claim"),
                                         ("octowait - Release machines", "release"),
                                         ("Wait for web-01", None)])  # fmt: skip
def test_step_without_a_script_is_recognized_by_its_template(title, kind):
    templates = {"ActionTemplates-1": Template("ActionTemplates-1", title, 1, {})}

    assert kind_of(an_action(template_id="ActionTemplates-1"), templates) == kind


def test_process_that_waits_and_releases_is_as_it_should_be():
    assert codes(WAIT, work(packages=True), RELEASE) == ["coverage"]


def test_process_that_claims_and_is_answered_is_as_it_should_be():
    assert codes(CLAIM, APPROVAL, work(), RELEASE) == ["coverage"]


def test_process_without_a_gate_is_an_error():
    assert codes(work(), RELEASE) == ["no_wait_step"]
    (finding,) = examine(USE, [work()], {})
    assert "Web deploys to web-01, which Api also uses" in finding.what and "first in the process of Web" in finding.do


def test_disabled_gate_is_none():
    assert codes(ours("wait", is_disabled=True), work()) == ["no_wait_step"]


def test_scripts_that_cannot_be_seen_may_be_a_gate():
    hidden = a_step(an_action("", template_id="ActionTemplates-9"))

    assert codes(hidden, work()) == ["coverage_unseen"]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ((ours("wait", roles=("web",), packages_first=False, runs_on_server=False), work(), RELEASE), "wait_on_target"),
        ((ours("wait", roles=("web",), packages_first=False), work(), RELEASE), "wait_per_target"),
        ((work("Stop"), WAIT, work(), RELEASE), "work_before_wait"),
        ((ours("wait"), work(packages=True), RELEASE), "packages_before_wait"),
        ((ours("wait", packages_first=True), work(packages=True), RELEASE), "packages_before_wait"),
        ((WAIT, work()), "no_release_step"),
        ((WAIT, work(), ours("release", runs_always=True, is_disabled=True)), "no_release_step"),
        ((WAIT, work(), ours("release")), "release_not_always"),
        ((WAIT, work(), RELEASE, work("Smoke test")), "work_after_release"),
        ((CLAIM, work(), RELEASE), "claim_unanswered"),
        ((CLAIM, SIGN_OFF, work(), RELEASE), "claim_unanswered"),
        ((CLAIM, MENTION, work(), RELEASE), "claim_unanswered"),
    ],
)  # fmt: skip
def test_each_fault_is_named_alone(steps, code):
    assert codes(*steps) == [code]


def test_disabled_work_before_the_gate_is_no_work():
    assert codes(work("Stop", is_disabled=True), WAIT, work(), RELEASE) == ["coverage"]


def test_step_without_packages_needs_no_package_requirement():
    assert codes(ours("wait"), work(), RELEASE) == ["coverage"]


def test_title_of_an_intervention_makes_it_nobodys():
    manual = a_step(an_action(type="Octopus.Manual"), name="octowait")

    assert codes(CLAIM, manual, work(), RELEASE) == ["claim_unanswered"]


def a_deployment(number: int, project: int, *machines: str, specific: tuple[str, ...] = ()) -> Deployment:
    return Deployment(f"Deployments-{number}", None, "Spaces-1", f"Projects-{project}", None, None, None, specific, (),
                      machines)  # fmt: skip


def test_shared_machines_are_those_of_several_projects():
    projects = [WEB, Project("Projects-2", "Api", False, None, None), Project("Projects-3", "Off", True, None, None)]
    deployments = [
        a_deployment(1, 1, "Machines-7", "Machines-8"), a_deployment(2, 2, "machines-7"),
        a_deployment(3, 1, "Machines-7"), a_deployment(4, 3, "Machines-8"),
        a_deployment(5, 2, specific=("Machines-9",)), a_deployment(6, 2, "Machines-5"),
    ]  # fmt: skip

    found = {project.name: machines for project, machines in shared(deployments, projects)}

    assert found == {"Web": ["Machines-7", "Machines-8"], "Api": ["Machines-7"]}
    assert others_of(WEB, found["Web"], deployments) == {"projects-2", "projects-3"}


def test_machine_of_one_project_is_not_shared():
    assert list(shared([a_deployment(1, 1, "Machines-7"), a_deployment(2, 1, "Machines-7")], [WEB])) == []
