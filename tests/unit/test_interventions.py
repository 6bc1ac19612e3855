"""Which manual interventions octowait answers: its own, of the run that claimed its place, and no other."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.terms import CLAIM_LINE, TERMS_LINE
from app.octopus.interruptions import Interruption
from app.octopus.interventions import REMEDY, Claim, contradiction_of, has_own_step, is_candidate, is_own
from app.octopus.processes import parse_process
from app.octopus.runs import Deployment
from app.octopus.tasks import Task

FILLED = "octowait: on behalf of [], priority [0], time-out [120] min"


def an_interruption(title: str = "octowait", instructions: str = FILLED, **fields: Any) -> Any:
    return Interruption.read({
        "Id": "Interruptions-3", "SpaceId": "Spaces-1", "Title": title, "Type": "ManualIntervention",
        "Created": "2025-05-06T07:00:03.000+00:00", "IsPending": True, "TaskId": "ServerTasks-1",
        "CorrelationId": "ServerTasks-1_CNMPMXUEE6/24921723/dbfadf8e", "IsLinkedToOtherInterruption": False,
        "Form": {"Values": {"Instructions": None, "Notes": None, "Result": None}, "Elements": [
            {"Name": "Instructions", "Control": {"Type": "Paragraph", "Text": instructions, "ResolveLinks": False}},
            {"Name": "Notes", "Control": {"Type": "TextArea", "Label": "Notes"}},
            {"Name": "Result", "Control": {"Type": "SubmitButtonGroup", "Buttons": [{"Text": "Proceed"}]}}]},
        **fields,
    })  # fmt: skip


def a_step(name: str, instructions: str | None = None, *, type_: str = "Octopus.Manual", **fields: Any) -> Any:
    properties = {"Octopus.Action.Manual.Instructions": instructions} if instructions is not None else {}
    action = {"Id": f"{name}-1", "Name": name, "ActionType": type_, "Properties": properties, **fields}
    return {"Id": f"{name}-0", "Name": name, "Actions": [action]}


def a_process(*steps: Any) -> Any:
    return parse_process({"Id": "deploymentprocess-Projects-7-s-4-ABCDE", "Steps": list(steps)})


OWN = a_step("octowait", f"octowait resumes this deployment.\n{TERMS_LINE}")
APPROVAL = a_step("Approve", "Ask Jane, octowait or not.")
FREE = a_step("Approve", "#{Octopus.Release.Notes}")
HIDDEN = a_step("Common checks", type_="Octopus.ProcessTemplate")
WORK = a_step("Deploy", type_="Octopus.Script")


@pytest.mark.parametrize(
    ("interruption", "steps", "expected"),
    [
        pytest.param(an_interruption(), [WORK, OWN], True, id="its own step"),
        pytest.param(an_interruption("OctoWait "), [OWN, APPROVAL], True, id="letter case and space of the title"),
        pytest.param(an_interruption(instructions=f"Wait.\n{FILLED}"), [OWN, FREE], True, id="beside a free approval"),
        pytest.param(an_interruption("Approve", "Ask Jane, octowait or not."), [OWN, APPROVAL], False, id="mentions"),
        pytest.param(an_interruption("Approve", FILLED), [OWN, FREE], False, id="release note with the line"),
        pytest.param(an_interruption("Approve", FILLED), [FREE], False, id="release note, no step of octowait's"),
        pytest.param(an_interruption("Approve", f"Ask.\n{FILLED}"), [OWN, APPROVAL], False, id="added by a variable"),
        pytest.param(an_interruption(TERMS_LINE, "Ask Jane."), [OWN, APPROVAL], False, id="line in the title"),
        pytest.param(an_interruption(instructions="Ask Jane."), [OWN], False, id="line not shown"),
        pytest.param(an_interruption(instructions=f"See {FILLED}"), [OWN], False, id="line in a sentence"),
        pytest.param(an_interruption("Step 2"), [WORK, OWN], True, id="other title, all its interventions have it"),
        pytest.param(an_interruption("Step 2"), [OWN, APPROVAL], False, id="other title, one has not"),
        pytest.param(an_interruption("Step 2"), [OWN, HIDDEN], False, id="other title, steps that are not listed"),
        pytest.param(an_interruption(), [OWN, HIDDEN], True, id="its own step beside steps that are not listed"),
        pytest.param(an_interruption(), [HIDDEN], False, id="raised by a step that is not listed"),
        pytest.param(an_interruption(), [], False, id="no steps"),
        pytest.param(an_interruption(), [a_step("octowait", TERMS_LINE, IsDisabled=True)], False, id="disabled"),
        pytest.param(an_interruption(), [a_step("octowait", TERMS_LINE, type_="Octopus.Script")], False, id="a script"),
        pytest.param(an_interruption(), [OWN, a_step("octowait", "Ask Jane.")], False, id="two steps of that name"),
        pytest.param(
            an_interruption(instructions="Ask Jane.", Form={"Elements": [
                {"Name": "Instructions", "Control": {"Text": "Ask Jane."}},
                {"Name": "Notes", "Control": {"Text": FILLED}}], "Values": {"Notes": FILLED, "Instructions": FILLED}}),
            [OWN], False, id="line in the notes and the values",
        ),
    ],
)  # fmt: skip
def test_intervention_that_octowait_answers(interruption, steps, expected):
    assert is_own(interruption, a_process(*steps)) is expected


FIRST, SECOND = "a" * 32, "b" * 32
BOTH = a_step("octowait", f"Wait.\n{CLAIM_LINE}\n{TERMS_LINE}")
CLAIM_ONLY = a_step("octowait", f"Wait.\n{CLAIM_LINE}")
OTHER_NAME = a_step("octowait", CLAIM_LINE.replace("[Claim]", "[Take a place]"))
IN_A_BLOCK = a_step("octowait", f"#{{if X}}\n{CLAIM_LINE}\n#{{/if}}")


def naming(*claims):
    return an_interruption(instructions="\n".join(["Wait.", *(f"octowait: claim {claim}" for claim in claims)]))


@pytest.mark.parametrize(
    ("interruption", "step", "claim", "expected"),
    [
        pytest.param(naming(FIRST), CLAIM_ONLY, FIRST, True, id="its claim"),
        pytest.param(naming(FIRST), OTHER_NAME, FIRST, True, id="its claim, from a step of another name"),
        pytest.param(naming(FIRST, FIRST), BOTH, FIRST, True, id="its claim, twice"),
        pytest.param(naming(FIRST), BOTH, None, True, id="nobody knows the claim any more"),
        pytest.param(naming(SECOND), BOTH, FIRST, False, id="another claim"),
        pytest.param(naming(FIRST, SECOND), BOTH, FIRST, False, id="its claim and another"),
        pytest.param(naming(FIRST), OWN, FIRST, False, id="the line came with a variable"),
        pytest.param(naming(FIRST), IN_A_BLOCK, FIRST, False, id="the line is not always there"),
        pytest.param(naming(FIRST), APPROVAL, FIRST, False, id="somebody's approval"),
        pytest.param(an_interruption(instructions=f"octowait: claim {FIRST}\n{FILLED}"), BOTH, FIRST, True, id="both"),
        pytest.param(an_interruption(instructions=f"octowait: claim {SECOND}\n{FILLED}"), BOTH, FIRST, False,
                     id="another claim, and terms"),
        pytest.param(an_interruption(instructions=f"{CLAIM_LINE}\n{FILLED}"), BOTH, None, True,
                     id="a claim step of before, which sets none"),
        pytest.param(an_interruption(), OWN, FIRST, True, id="a claim, and an intervention of before"),
        pytest.param(an_interruption(instructions=f"> octowait: claim {FIRST}"), CLAIM_ONLY, FIRST, False,
                     id="not a whole line"),
        pytest.param(an_interruption(instructions="octowait: claim short"), CLAIM_ONLY, None, False, id="no claim"),
    ],
)  # fmt: skip
def test_intervention_of_a_claim_that_octowait_answers(interruption, step, claim, expected):
    assert is_own(interruption, a_process(step), claim) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"Type": "manualintervention", "TaskId": "SERVERTASKS-1"}, True),
        ({"Type": None}, True),
        ({"Type": None, "Title": "Deploy Web requires failure guidance"}, False),
        ({"Type": None, "Form": {"Elements": [{"Name": "Guidance"}]}}, False),
        ({"Type": "GuidedFailure"}, False),
        ({"Type": "PullRequestCompletion"}, False),
        ({"Type": "ArgoCDApplicationSync"}, False),
        ({"Type": "KubernetesResourceVerification"}, False),
        ({"Type": "SomethingNew"}, False),
        ({"IsLinkedToOtherInterruption": True}, False),
        ({"TaskId": "ServerTasks-2"}, False),
        ({"TaskId": None}, False),
    ],
)
def test_interruption_that_can_be_of_a_parked_run(fields, expected):
    assert is_candidate(an_interruption(**fields), "ServerTasks-1") is expected


TASK = Task.read({
    "Id": "ServerTasks-1", "SpaceId": "Spaces-1", "State": "Queued", "ProjectId": "Projects-7",
    "Arguments": {"DeploymentId": "Deployments-51"},
})  # fmt: skip
RUN = Deployment.read({"Id": "Deployments-51", "SpaceId": "Spaces-1", "ProjectId": "Projects-7"})


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (Claim("ServerTasks-1"), None),
        (Claim("ServerTasks-1", "Spaces-1", "Projects-7", "Deployments-51"), None),
        (Claim("servertasks-1", "SPACES-1", "projects-7", "deployments-51"), None),
        (Claim("ServerTasks-2"), "as task ServerTasks-2"),
        (Claim("ServerTasks-1", "Spaces-2"), "as space Spaces-2, and in Octopus that of ServerTasks-1 is Spaces-1"),
        (Claim("ServerTasks-1", project_id="Projects-8"), "as project Projects-8"),
        (Claim("ServerTasks-1", deployment_id="Deployments-52"), "as deployment Deployments-52"),
        (Claim("ServerTasks-1", runbook_run_id="RunbookRuns-5"), "as runbook run RunbookRuns-5"),
    ],
)
def test_claim_that_names_other_things_than_octopus(claim, said):
    found = contradiction_of(claim, TASK, RUN)

    assert found is None if said is None else said in found


def test_claim_is_compared_with_what_an_older_octopus_tells():
    """Its tasks have no project, and without spaces nothing has a space."""
    older = replace(TASK, project_id=None)

    assert contradiction_of(Claim("ServerTasks-1", project_id="Projects-7"), older, RUN) is None
    assert contradiction_of(Claim("ServerTasks-1", project_id="Projects-8"), older, RUN)
    assert contradiction_of(Claim("ServerTasks-1", deployment_id="Deployments-51"), replace(TASK, deployment_id=None),
                            RUN)  # fmt: skip


def test_process_with_a_step_of_octowait():
    assert has_own_step(a_process(WORK, APPROVAL, OWN))
    assert not has_own_step(a_process(WORK, APPROVAL, FREE, a_step("octowait", "octowait resumes this.")))


def test_remedy_ends_with_the_line_to_paste():
    assert REMEDY.endswith(TERMS_LINE)
