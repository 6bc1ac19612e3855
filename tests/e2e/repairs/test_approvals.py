"""octowait answers no intervention that a person is asked: only those of its own steps, for the run that claimed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.domain.run import RunRequest
from app.domain.terms import TERMS_LINE
from app.followers.notices import notice_of
from app.octopus.errors import OctopusUnreachable
from tests.e2e.repairs.helpers import MARKED, UNMARKED, do_in, machine, rebuilds, records, state, works
from tests.simulator.control import Deployment
from tests.simulator.steps import Step, manual, work
from workers import reconcile, resume

FILLED = "octowait: on behalf of [], priority [0], time-out [120] min"
WORK = work("deploy", machines=["web-01"], seconds=0.1)


@pytest.fixture
def claim(board, octopus):
    """A deployment that has claimed web-01, was granted it after waiting, and is paused for a person or octowait."""

    def do(steps: list[Step], *, info: dict[str, Any] | None = None, is_runbook: bool = False) -> Deployment:
        octopus.project("Web", steps=steps)
        if is_runbook:
            octopus.runbook("Web", "Restart", steps=steps)
        board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
        deployment = octopus.run_runbook("Web", "Restart") if is_runbook else octopus.deploy("Web")
        run = RunRequest(deployment.task_id, parked=True, info={"space_id": octopus.space_id, **(info or {})})
        assert board.join(run, {machine(octopus)}).is_waiting
        octopus.wait_for(deployment, is_paused=True)
        board.release("ServerTasks-900")
        return deployment

    return do


SECURITY = "Security approval: do not let octowait proceed before Jane has looked."


@pytest.mark.parametrize(
    "step",
    [
        manual("Security", instructions=SECURITY),
        manual("octowait", instructions="Ask Jane."),
        manual("Security", instructions="#{Octopus.Release.Notes}", variables={"Octopus.Release.Notes": FILLED}),
        manual("Security", instructions="#{Note}", variables={"Note": TERMS_LINE}),
        manual("Security", instructions=f"#{{if Routine}}\n{TERMS_LINE}\n#{{/if}}", variables={"Routine": "true"}),
        manual("Security", instructions=f"Never write {TERMS_LINE}"),
        manual("Security", instructions=f"#{{Note}}\n{TERMS_LINE}".replace("priority [", "priority: ["),
               variables={"Note": FILLED}),
    ],
)  # fmt: skip
def test_approval_is_left_to_people_and_they_are_told(board, octopus, do, claim, step):
    approval = claim([step, WORK])

    for _ in range(3):
        do(resume)

    assert octopus.pending(approval)
    [said] = records(board, kind="not_resumed")
    notice = notice_of(said)
    assert notice.title == f"{approval.task_id} stays paused"
    assert notice.body.endswith(TERMS_LINE), "the line to paste, whole"


@pytest.mark.parametrize("is_runbook", [False, True])
def test_own_step_is_answered_whatever_the_process_became(board, octopus, do, claim, is_runbook):
    """What counts is the process that the run was made with."""
    parked = claim([manual("Wait", instructions=MARKED), WORK], is_runbook=is_runbook)
    octopus.project("Web", steps=[manual("Wait", instructions=SECURITY), WORK])

    do(resume)

    assert octopus.wait_for(parked)["State"] == "Success"


def test_line_that_came_into_the_process_later_fills_no_approval(board, octopus, do, claim):
    parked = claim([manual("Wait", instructions="#{Note}", variables={"Note": FILLED}), WORK])
    octopus.project("Web", steps=[manual("Wait", instructions=MARKED), WORK])

    do(resume)

    assert octopus.pending(parked)


def test_approval_before_its_own_step_is_no_news(board, octopus, do, claim):
    """The run waits for a person first; its own intervention is raised and answered afterwards."""
    parked = claim([manual("Approve", instructions=SECURITY), manual("Wait", instructions=MARKED), WORK])

    for _ in range(3):
        do(resume)
    assert not records(board, kind="not_resumed")
    octopus.submit(octopus.pending(parked)[0]["Id"])
    octopus.wait_for(parked, is_paused=True)
    board.script.offset_ms += 600_000
    do(resume)

    assert octopus.wait_for(parked)["State"] == "Success"


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"project": {"id": "Projects-99", "name": "Web"}}, "as project Projects-99"),
        ({"deployment_id": "Deployments-99"}, "as deployment Deployments-99"),
        ({"runbook_run_id": "RunbookRuns-1"}, "as runbook run RunbookRuns-1"),
    ],
)
def test_claim_that_names_another_run_is_not_answered(board, octopus, do, claim, info, said):
    parked = claim([manual("Wait", instructions=MARKED), WORK], info=info)

    do(resume)

    assert octopus.pending(parked)
    assert said in records(board, kind="not_resumed")[0].detail["reason"]


def test_claim_that_names_another_space_is_not_answered(board, octopus, do, claim):
    parked = claim([manual("Wait", instructions=MARKED), WORK], info={"space_id": octopus.space("Other")})

    do(resume)

    assert octopus.pending(parked)


@pytest.fixture
def as_user(octopus, context):
    """octowait with the key of a user in no team, who may see tasks and interruptions, and has *permissions*."""
    made = []

    def make(*permissions: str) -> Any:
        key = octopus.user("narrow", permissions=["TaskView", "DeploymentView", "InterruptionView", *permissions])
        made.append(type(context.octopus)(octopus.url, key, attempts=1))
        return replace(context, octopus=made[-1])

    yield make
    for client in made:
        client.close()


def test_process_that_cannot_be_read_is_not_answered_and_people_are_told(board, octopus, as_user, claim):
    parked = claim([manual("Wait", instructions=MARKED), WORK])

    do_in(as_user("InterruptionViewSubmitResponsible"), resume)

    assert octopus.pending(parked)
    said = records(board, kind="not_resumed")[0].detail["reason"]
    assert "cannot read the process" in said and "ProcessView" in said


def test_process_that_octopus_does_not_tell_now_is_asked_for_again(board, octopus, context, claim):
    parked = claim([manual("Wait", instructions=MARKED), WORK])

    class Cut:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def asking(self, **manner: Any) -> Any:
            return self

        def process_snapshot(self, run: Any, **options: Any) -> Any:
            raise OctopusUnreachable("cut")

    do_in(replace(context, octopus=Cut()), resume)
    assert octopus.pending(parked) and not records(board, kind="not_resumed")
    board.script.offset_ms += 2_000
    do_in(context, resume)

    assert octopus.wait_for(parked)["State"] == "Success"


def test_intervention_of_another_team_is_told_of_at_once(board, octopus, as_user, claim):
    parked = claim([manual("Wait", instructions=MARKED), WORK])

    do_in(as_user("ProcessView", "InterruptionViewSubmitResponsible"), resume)

    assert octopus.pending(parked)
    [said] = records(board, kind="not_resumed")
    assert "may not answer" in said.detail["reason"] and "responsible team" in said.detail["reason"]


def test_refusal_is_told_also_of_a_run_that_nobody_is_about_to_answer(board, octopus, do, claim):
    """Its claim's first request came late and heard of the grant, so that nothing is to be answered."""
    info = {"project": {"id": "Projects-99"}}
    parked = claim([manual("Wait", instructions=MARKED), WORK], info=info)
    run = RunRequest(parked.task_id, parked=True, info={"space_id": octopus.space_id, **info})
    assert board.join(run, {machine(octopus)}).is_granted

    do(resume)
    assert not records(board, kind="not_resumed")
    do(reconcile)
    do(resume)

    [said] = records(board, kind="not_resumed")
    assert said.detail["refused"] and "as project Projects-99" in said.detail["reason"]


def test_granted_run_that_stays_paused_is_answered_by_hand(board, octopus, do, claim):
    parked = claim([manual("octowait", instructions=UNMARKED), WORK])
    do(resume)

    octopus.submit(octopus.pending(parked)[0]["Id"])
    board.script.offset_ms += 600_000
    do(resume)

    assert [(r.cause, r.detail["result"]) for r in records(board, kind="resumed")] == [("by_hand", "Proceed")]
    assert state(board, parked) == "granted"


def test_waiting_run_without_the_line_that_a_person_lets_go_on_is_seen(board, octopus, do):
    octopus.project("Web", steps=[manual("octowait", instructions=UNMARKED), replace(WORK, seconds=10_000.0)])
    board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
    parked = octopus.deploy("Web")
    board.join(RunRequest(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    octopus.wait_for(parked, is_paused=True)
    octopus.submit(octopus.pending(parked)[0]["Id"])
    octopus.wait_for(parked, "Executing")
    board.script.offset_ms += 31_000

    do(reconcile)

    assert state(board, parked) == "observed"


def test_release_note_makes_nobody_a_parked_waiter_after_a_loss(empty, octopus, make_context):
    """It is at work, paused for an approval; as a child of who holds it would be granted, and proceed."""
    context = make_context(empty)
    holder = works(octopus, "Holder")
    note = FILLED.replace("[]", f"[{holder.task_id}]")
    octopus.project("Web", steps=[manual("Approve", instructions="#{Note}", variables={"Note": note}), WORK])
    approval = octopus.deploy("Web")
    octopus.wait_for(approval, is_paused=True)

    assert rebuilds(context)
    do_in(context, resume)

    assert state(empty, approval) == "observed"
    assert octopus.pending(approval)
