"""What doctor finds in Octopus, with its key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.coordination.unseen import UnseenRun
from app.doctor import on_octopus, on_octowait, on_tasks
from app.doctor.context import DoctorContext
from app.domain.run import RunRequest
from app.domain.terms import TERMS_LINE
from app.octopus.client import OctopusClient
from tests.integration.doctor.helpers import (
    ERROR,
    OK,
    PERMISSIONS,
    UNKNOWN,
    WARNING,
    Octopus,
    a_process,
    a_step,
    ago,
    found,
    levels,
)


def test_octopus_that_is_not_there(case):
    gone = replace(case, octopus=OctopusClient("http://127.0.0.1:1", "API-KEY", attempts=1))

    assert levels(on_octopus.reachable, gone) == {"octopus_unreachable": ERROR}


def test_something_else_at_the_address_of_octopus(case, octopus):
    assert levels(on_octopus.reachable, case) == {"octopus_version": OK}

    octopus.found["/api"] = {"hello": "world"}
    assert levels(on_octopus.reachable, case) == {"octopus_version": ERROR}


def test_key_that_octopus_does_not_take(case, octopus):
    octopus.statuses["/api/users/me"] = 401

    assert levels(on_octopus.api_key, case) == {"api_key": ERROR}


def test_key_with_all_permissions(case):
    assert set(found(on_octopus.api_key, case)) == {("api_key", OK), ("permission", OK)}
    assert len(found(on_octopus.api_key, case)) == 1 + len(PERMISSIONS)


@pytest.mark.parametrize("name", PERMISSIONS)
def test_each_missing_permission_is_named(case, octopus, name):
    octopus.granted[name] = [{"SpaceId": "Spaces-2"}]

    wrong = [finding for finding in on_octopus.api_key(case) if finding.level is not OK]

    assert [finding.level for finding in wrong] == [ERROR if name in on_octopus.READING else WARNING]
    assert f"lacks {name} in Default" in wrong[0].what and name in wrong[0].do


def test_restricted_permission_is_a_warning(case, octopus):
    octopus.granted["EventView"] = [{"SpaceId": "Spaces-1", "RestrictedToProjectIds": ["Projects-1"]}]
    assert ("permission_restricted", WARNING) in found(on_octopus.api_key, case)

    octopus.granted["EventView"].append({"SpaceId": "Spaces-1"})
    assert ("permission_restricted", WARNING) not in found(on_octopus.api_key, case)


def test_permissions_that_may_not_all_be_seen(case, octopus):
    octopus.granted.pop("TaskView")
    octopus.complete = False

    assert ("permission", UNKNOWN) in found(on_octopus.api_key, case)


def test_key_of_an_administrator(case, octopus):
    octopus.granted = {"AdministerSystem": [{}]}

    assert levels(on_octopus.api_key, case) == {"api_key": OK, "permissions": WARNING}


@pytest.mark.parametrize(("offset", "level"), [(0, OK), (4, OK), (-4, OK), (30, WARNING), (-30, WARNING)])
def test_clocks(case, board, offset, level):
    board.script.offset_ms = offset * 1000

    assert levels(on_octopus.clocks, case) == {"clocks": level}


def within(case: DoctorContext, *space_ids: str) -> DoctorContext:
    return replace(case, settings=case.settings.model_copy(update={"octopus_spaces": space_ids}))


def test_spaces_that_the_key_may_see(case, octopus):
    octopus.spaces = [{"Id": "Spaces-2", "Name": "Other"}]

    [of_all] = on_octopus.spaces(case)
    [of_one] = on_octopus.spaces(within(case, "spaces-2"))

    assert (of_all.level, of_all.what) == (OK, "octowait's user sees Default (Spaces-1), Other (Spaces-2).")
    assert (of_one.level, of_one.what) == (OK, "octowait's user sees Other (Spaces-2).")


def test_space_of_the_settings_that_the_key_may_not_see(case, octopus):
    [finding] = on_octopus.spaces(within(case, "Spaces-1", "Spaces-99"))

    assert (finding.code, finding.level) == ("space_hidden", ERROR)
    assert "Spaces-99 of OCTOWAIT_OCTOPUS_SPACES" in finding.what and "Spaces-99" in finding.do


def test_key_that_may_see_no_space(case, octopus):
    octopus.space = {}

    assert found(on_octopus.spaces, case) == [("no_space", ERROR)]


def test_hidden_space_leaves_the_others_to_be_looked_at(case, octopus):
    """Every check that goes by space was not made at all."""
    found(on_octopus.queues, within(case, "Spaces-1", "Spaces-99"))
    octopus.space["TaskQueueStopped"] = True

    assert found(on_octopus.queues, within(case, "Spaces-1", "Spaces-99")) == [("queue_stopped", ERROR)]
    assert levels(on_tasks.holders, within(case, "Spaces-1", "Spaces-99")) == {"holders": OK}


@pytest.mark.parametrize(("stopped", "codes"), [(False, []), (True, [("queue_stopped", ERROR)])])
def test_queue_of_a_space(case, octopus, stopped, codes):
    octopus.space["TaskQueueStopped"] = stopped

    assert found(on_octopus.queues, case) == codes


def capped(case: DoctorContext, cap: int | None) -> DoctorContext:
    return replace(case, settings=case.settings.model_copy(update={"task_cap": cap}))


def wait_in_steps(board: Any, octopus: Octopus, count: int, **task: Any) -> None:
    board.join(RunRequest("ServerTasks-100"), {"Machines-7"}, ttl=timedelta(minutes=9))
    for number in range(count):
        board.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"}, ttl=timedelta(minutes=9))
        octopus.tasks.append({"Id": f"ServerTasks-{number}", "State": "Executing", **task})


def test_task_cap_that_nobody_set(case):
    assert levels(on_octopus.task_cap, capped(case, None)) == {"task_cap_unset": WARNING, "task_cap": OK}


def test_task_cap_that_is_right(case):
    assert levels(on_octopus.task_cap, capped(case, 5)) == {"task_cap": OK}


def test_task_cap_that_is_too_high(case):
    assert found(on_octopus.task_cap, capped(case, 6))[0] == ("task_cap", ERROR)


def test_task_cap_that_nobody_may_see(case, octopus):
    octopus.statuses["/api/octopusservernodes"] = 403

    assert found(on_octopus.task_cap, capped(case, None)) == [("task_cap_unset", WARNING)]
    assert found(on_octopus.task_cap, capped(case, 5)) == [("task_cap", OK)]


def test_task_cap_full_of_waiters(case, board, octopus):
    wait_in_steps(board, octopus, 3)

    assert found(on_octopus.task_cap, capped(case, 5)) == [("task_cap_full", ERROR)]


def test_waiters_that_use_no_slot_do_not_count(case, board, octopus):
    wait_in_steps(board, octopus, 3, State="Queued", HasPendingInterruptions=True)

    assert found(on_octopus.task_cap, capped(case, 5)) == [("task_cap", OK)]


def test_holder_that_octopus_does_not_know(case, board):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(minutes=9))

    (finding,) = on_tasks.holders(case)

    assert (finding.code, finding.level) == ("unknown_task", WARNING)
    assert "ServerTasks-1 holds Machines-7" in finding.what and "force-release ServerTasks-1" in finding.do


def test_holder_that_cannot_be_looked_after_is_named_once(case, board):
    """That Octopus knows no such task may be because it hides it: nobody is told to release it for that."""
    board.join(RunRequest("ServerTasks-3"), {"Machines-7"}, ttl=timedelta(minutes=9))
    case.gate.services.unseen.note(
        UnseenRun("ServerTasks-3", "Spaces-99", "Octopus answers 403 for Spaces-99", board.now_ms())
    )

    (finding,) = on_octowait.unseen_runs(case)

    assert (finding.code, finding.level) == ("unseen_run", ERROR)
    assert finding.what == "ServerTasks-3 cannot be looked after: Octopus answers 403 for Spaces-99."
    assert "unknown_task" not in levels(on_tasks.holders, case)


def test_every_run_can_be_looked_after(case):
    assert found(on_octowait.unseen_runs, case) == [("unseen_runs", OK)]


@pytest.mark.parametrize(
    ("state", "ended_seconds_ago", "expected"),
    [
        ("Executing", None, ("holders", OK)),
        ("Success", 30, ("holders", OK)),
        ("Success", 3600, ("ended_task", ERROR)),
        ("Canceled", None, ("ended_task", ERROR)),
    ],
)
def test_holder_that_runs_or_has_ended(case, board, octopus, state, ended_seconds_ago, expected):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(minutes=9))
    completed = ago(ended_seconds_ago) if ended_seconds_ago else None
    octopus.tasks = [{"Id": "ServerTasks-1", "State": state, "CompletedTime": completed}]

    assert found(on_tasks.holders, case) == [expected]


def test_holder_that_waits_for_an_approval_before_its_start(case, board, octopus):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"}, ttl=timedelta(minutes=9))
    octopus.tasks = [{"Id": "ServerTasks-1", "State": "Queued", "HasPendingPreconditions": True}]

    (finding,) = on_tasks.holders(case)

    assert (finding.code, finding.level) == ("awaits_approval", WARNING)
    assert "ServerTasks-1 holds Machines-7, and waits for an approval in Octopus" in finding.what


OWN, APPROVAL = TERMS_LINE, "Ask Jane, octowait or not."


@pytest.mark.parametrize(
    ("interruption", "instructions", "expected"),
    [
        ({"CanTakeResponsibility": True}, OWN, ("intervention", OK)),
        ({"HasResponsibility": True}, OWN, ("intervention", OK)),
        ({}, OWN, ("intervention_team", ERROR)),
        ({"CanTakeResponsibility": True}, APPROVAL, ("intervention", ERROR)),
        ({"CanTakeResponsibility": True, "Title": "Approve"}, APPROVAL, ("intervention", ERROR)),
        ({"CanTakeResponsibility": True, "Type": "GuidedFailure"}, OWN, ("intervention", ERROR)),
        ({"CanTakeResponsibility": True}, None, ("intervention_unread", UNKNOWN)),
    ],
)
def test_intervention_of_a_parked_wait(case, board, octopus, interruption, instructions, expected):
    wait_in_steps(board, octopus, 1, State="Queued", HasPendingInterruptions=True, SpaceId="Spaces-1",
                  Arguments={"DeploymentId": "Deployments-1"})  # fmt: skip
    shown = {"Elements": [{"Name": "Instructions", "Control": {"Text": TERMS_LINE}}]}
    octopus.interruptions = [{"Id": "Interruptions-1", "TaskId": "ServerTasks-0", "IsPending": True, "Title": "Wait",
                              "Form": shown, **interruption}]  # fmt: skip
    octopus.found["/api/Spaces-1/deployments/Deployments-1"] = {"Id": "Deployments-1", "DeploymentProcessId": "p-s-1"}
    if instructions:
        step = a_step("Wait")
        step["Actions"][0] |= {"ActionType": "Octopus.Manual",
                               "Properties": {"Octopus.Action.Manual.Instructions": instructions}}  # fmt: skip
        octopus.found["/api/Spaces-1/deploymentprocesses/p-s-1"] = a_process(step)

    assert found(on_tasks.interventions, case) == [expected]


def test_wait_in_a_step_has_no_intervention(case, board, octopus):
    wait_in_steps(board, octopus, 1)

    assert found(on_tasks.interventions, case) == []
