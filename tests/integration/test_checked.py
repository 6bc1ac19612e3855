"""What steps say of their runs is compared with Octopus, and what is not so ends their claims."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.coordination.board import Policy
from app.domain.access.identity import EVERYBODY, Identity, Limits
from app.domain.errors import AnotherOwner
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.conftest import Clock
from tests.integration import reconciling
from tests.integration.reconciling import do, state
from workers import check, reconcile, resolve, watch

octopus, make_context = reconciling.octopus, reconciling.make_context

INFO = {"space_id": "Spaces-1", "project": {"id": "Projects-1"}, "deployment_id": "Deployments-1"}
WEB, EVIL = (Identity(name, Limits(projects=frozenset({project}))) for name, project in
             (("web", "projects-1"), ("evil", "projects-9")))  # fmt: skip


@pytest.fixture
def board(make_board):
    return make_board(Policy(has_key=True, task_cap=4, task_cap_reserve=1))


@pytest.fixture
def context(board, make_context):
    return make_context(board)


def join(board: Any, number: int, machine: str = "Machines-7", who: Identity = WEB, **fields: Any) -> Any:
    info = {**INFO, "deployment_id": f"Deployments-{number}", **fields.pop("info", {})}
    run = RunRequest(f"ServerTasks-{number}", info=info, identity=who, **fields)
    return board.join(run, {machine}, ttl=timedelta(hours=9))


def test_run_that_is_what_its_step_says_is_checked(board, context, octopus):
    octopus.has(1, ProjectId="Projects-1")
    join(board, 1)
    assert board.place("ServerTasks-1").run.unchecked

    do(context, check)

    run = board.place("ServerTasks-1").run
    assert (run.state, run.unchecked, run.true_project, run.true_space) == ("granted", False, "Projects-1", "Spaces-1")
    assert context.tracked.unchecked(9) == []


@pytest.mark.parametrize("job", [reconcile, watch])
def test_those_that_are_asked_about_anyway_are_checked(board, context, octopus, job):
    octopus.has(1, ProjectId="Projects-1")
    join(board, 1)
    join(board, 2)

    do(context, job)

    assert not board.place("ServerTasks-1").run.unchecked


@pytest.mark.parametrize(
    ("fields", "info", "why"),
    [
        ({"ProjectId": "Projects-2"}, {}, "its project is Projects-2, and its step says Projects-1"),
        ({"Arguments": {"DeploymentId": "Deployments-77"}}, {}, "its deployment is Deployments-77, and its step says"),
        ({"Arguments": {}}, {}, "ServerTasks-2 is neither a deployment nor a runbook run"),
        ({"Arguments": {"RunbookRunId": "RunbookRuns-3"}}, {"runbook_run_id": "RunbookRuns-2", "deployment_id": None},
         "its runbook run is RunbookRuns-3"),
    ],
    ids=["project", "deployment", "kind", "runbook-run"],
)  # fmt: skip
def test_claim_of_a_run_that_is_another_ends(board, context, octopus, fields, info, why):
    octopus.has(1, ProjectId="Projects-1")
    octopus.has(2, **fields)
    join(board, 1)
    join(board, 2, info=info)

    do(context, check)

    run = board.place("ServerTasks-2").run
    assert (run.state, run.cause, run.unchecked) == ("refused", "disproved", False)
    assert why in run.reason


def test_run_of_another_space_ends(board, context, octopus):
    octopus.has(1, ProjectId="Projects-1")
    octopus.has(2, ProjectId="Projects-1", space="Spaces-2")
    join(board, 1)
    join(board, 2)

    do(context, check)

    assert "its space is Spaces-2, and its step says Spaces-1" in board.place("ServerTasks-2").run.reason


def test_lease_of_a_task_that_works_frees_no_machine_before_its_plan_is_known(board, context, octopus):
    octopus.has(1, ProjectId="Projects-2")
    octopus.has(2, ProjectId="Projects-1")
    octopus.runs["Deployments-1"] = {"ProjectId": "Projects-2", "SpecificMachineIds": ["Machines-7"],
                                     "EnvironmentId": "Environments-1", "ReleaseId": "Releases-1"}  # fmt: skip
    join(board, 1)
    join(board, 2)

    do(context, check)

    assert state(board, 1) == "started"
    assert state(board, 2) == "waiting"
    assert board.place("ServerTasks-1").run.presumed == ("Machines-7",)
    assert context.unresolved.tasks() == ["ServerTasks-1"]


@pytest.mark.parametrize("machine", ["Machines-7", "Machines-8"])
def test_task_that_has_not_begun_makes_nothing_busy(board, context, octopus, machine):
    """It may wait in Octopus for one that waits for these machines here."""
    octopus.has(1, ProjectId="Projects-1")
    octopus.has(2, "Queued", ProjectId="Projects-2")
    join(board, 1)
    join(board, 2, machine)

    do(context, check)

    run = board.place("ServerTasks-2").run
    assert (run.cause, run.lingers, run.presumed) == ("disproved", False, ())
    assert context.unresolved.tasks() == []


def test_claim_that_was_disproved_has_no_say_any_more(board, context, octopus):
    octopus.has(1, ProjectId="Projects-2")
    join(board, 1, claim="a" * 32)

    do(context, check)

    assert board.poll("ServerTasks-1", claim="a" * 32, owner="web").state == "left"
    with pytest.raises(AnotherOwner):
        board.release("ServerTasks-1", claim="a" * 32, owner="web")
    assert state(board, 1) == "started"


def test_task_that_was_claimed_in_advance_is_its_owners_after_the_check(board, context, octopus):
    info = {"project": {"id": "Projects-9"}}
    join(board, 1, "Machines-99", EVIL, info=info)
    octopus.has(1, ProjectId="Projects-1")

    do(context, check)

    run = board.place("ServerTasks-1").run
    assert run.true_project == "Projects-1"
    assert run.state == "started"


def test_only_checked_runs_count_for_the_task_cap(board, context, octopus):
    join(board, 1)
    for number in range(500, 508):
        join(board, number, who=EVIL)
    octopus.has(2, ProjectId="Projects-1")
    octopus.has(3, ProjectId="Projects-1")
    octopus.has(4, ProjectId="Projects-1")

    assert join(board, 2).state == "waiting"
    assert join(board, 3).state == "waiting"
    do(context, check)
    assert join(board, 4).state == "refused"


def test_cap_counts_when_several_are_checked_at_once(board, context, octopus):
    for number in (1, 2, 3, 4):
        octopus.has(number, ProjectId="Projects-1")
        assert join(board, number).state in ("granted", "waiting")

    do(context, check)

    assert [state(board, number) for number in (1, 2, 3, 4)].count("refused") == 1


def test_child_shares_once_its_parent_is_checked(board, context, octopus):
    octopus.has(1, ProjectId="Projects-1")
    join(board, 1)

    assert join(board, 2, on_behalf_of="ServerTasks-1").state == "waiting"
    do(context, check)
    assert state(board, 2) == "granted"


def test_child_shares_nothing_of_a_parent_that_is_granted_again_before_its_check(board, context, octopus):
    octopus.has(1, ProjectId="Projects-1")
    claim = "1" * 16
    join(board, 1, claim=claim)
    join(board, 2, on_behalf_of="ServerTasks-1")
    board.close(by="ann")
    assert board.poll("ServerTasks-1", claim=claim).is_waiting

    board.open("operator")

    assert (state(board, 1), state(board, 2)) == ("granted", "waiting")
    do(context, check)
    assert state(board, 2) == "granted"


def test_tokens_without_limits_vouch_for_each_other(board):
    """They are one owner, and no check says more about it."""
    join(board, 1, who=Identity(EVERYBODY))

    assert join(board, 2, who=Identity(EVERYBODY), on_behalf_of="ServerTasks-1").state == "granted"


def test_family_of_a_claim_that_was_disproved_is_not_its_tasks(board, context, octopus):
    octopus.has(1, ProjectId="Projects-1")
    join(board, 1, "Machines-99", EVIL, info={"project": {"id": "Projects-9"}})
    join(
        board, 2, "Machines-7", EVIL, on_behalf_of="ServerTasks-1", info={"project": {"id": "Projects-9"}}, parked=True
    )
    do(context, check)
    board.release("ServerTasks-2")
    join(board, 1)

    assert (
        join(board, 3, who=EVIL, on_behalf_of="ServerTasks-1", info={"project": {"id": "Projects-9"}}).state
        == "waiting"
    )
    assert board.place("ServerTasks-1").run.family is None


def test_child_of_a_parent_that_is_not_there_shares_nothing(board, context, octopus):
    join(board, 1)
    join(board, 2, on_behalf_of="ServerTasks-1")

    do(context, check)

    assert state(board, 2) == "waiting"


def test_missing_task_ends_once_it_is_missing_for_a_while(board, context, octopus, clock_of):
    octopus.projects = {"Projects-1"}
    octopus.has(9, ProjectId="Projects-1")
    join(board, 9, "Machines-9")
    join(board, 1)
    join(board, 2)

    do(context, check)
    assert state(board, 1) == "granted"
    clock_of(board).advance(timedelta(seconds=11))
    do(context, check)

    assert (state(board, 1), state(board, 2)) == ("released", "granted")
    assert board.place("ServerTasks-1").run.reason == "Octopus knows no such task in its project"


@pytest.mark.parametrize("hidden", ["project", "environment", "tasks"])
def test_missing_task_that_the_key_may_not_see_keeps_its_machines(board, context, octopus, clock_of, hidden):
    """It may work there all the same."""
    octopus.projects = set() if hidden == "project" else {"Projects-1"}
    if hidden != "tasks":
        octopus.has(9, ProjectId="Projects-1")
        join(board, 9, "Machines-9")
    join(board, 1, info={"environment": {"id": "Environments-1"}} if hidden == "environment" else {})
    do(context, check)
    clock_of(board).advance(timedelta(hours=1))

    do(context, check)

    assert state(board, 1) == "granted"


def test_missing_task_of_a_hidden_space_keeps_its_machines(board, context, octopus, clock_of):
    octopus.projects = {"Projects-1"}
    octopus.statuses = {"Spaces-1": 404}
    join(board, 1)
    clock_of(board).advance(timedelta(hours=1))

    do(context, check)

    assert state(board, 1) == "granted"


@pytest.mark.parametrize(("known", "expected"), [({"Machines-7"}, []), (set(), [["Machines-7"]])])
def test_unknown_machines_only_mark_it(board, context, octopus, timeline, known, expected):
    octopus.machines = known
    if not known:
        octopus.machines = {"Machines-1"}
    octopus.has(1, ProjectId="Projects-1")
    join(board, 1)

    do(context, check)

    place = board.place("ServerTasks-1")
    assert [list(record.machines) for record in timeline.read(Filter(kind="disputed"))] == expected
    assert (place.state, place.run.unchecked) == ("granted", False)
    assert ("Octopus knows no Machines-7." in place.message) is bool(expected)


def test_run_that_ended_meanwhile_is_not_asked_about(board, context, octopus):
    join(board, 1)
    board.release("ServerTasks-1")

    do(context, check)

    assert context.tracked.unchecked(9) == []
    assert octopus.asked == []


def test_those_that_nobody_knows_do_not_stand_before_the_others(board, context, octopus):
    for number in range(100, 140):
        join(board, number, who=EVIL)
    octopus.has(1, ProjectId="Projects-1")
    join(board, 1, "Machines-8")

    do(context, check)
    do(context, check)

    assert not board.place("ServerTasks-1").run.unchecked


def test_without_a_key_all_count_as_checked(make_board):
    board = make_board(Policy())

    join(board, 1)

    assert not board.place("ServerTasks-1").run.unchecked
    assert join(board, 2, on_behalf_of="ServerTasks-1").state == "granted"


def test_who_may_do_everything_is_not_asked_for_an_account(board):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert not board.place("ServerTasks-1").run.unchecked


def test_alias_of_a_disproved_run_is_gone(board, context, octopus):
    octopus.has(1, Arguments={"DeploymentId": "Deployments-77"})
    octopus.has(2, Arguments={"DeploymentId": "Deployments-51"}, ProjectId="Projects-1")
    join(board, 1, who=Identity(EVERYBODY), info={"deployment_id": "Deployments-51"})
    join(board, 2, info={"deployment_id": "Deployments-51"})

    do(context, check)

    assert board.client.hget(board.keys.aliases, "deployments-51") == b"ServerTasks-2"


@pytest.fixture
def clock_of():
    return Clock


def test_plan_of_a_disproved_run_is_looked_up(board, context, octopus):
    octopus.has(1, ProjectId="Projects-2")
    octopus.runs["Deployments-1"] = {"ProjectId": "Projects-2", "SpecificMachineIds": ["Machines-8"],
                                     "EnvironmentId": "Environments-1", "ReleaseId": "Releases-1"}  # fmt: skip
    octopus.has(2, ProjectId="Projects-1")
    join(board, 1)
    join(board, 2)
    do(context, check)

    do(context, resolve)

    assert board.place("ServerTasks-1").run.machines == ("Machines-8",)
    assert (state(board, 1), state(board, 2)) == ("observed", "granted")
