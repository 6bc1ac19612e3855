"""What Octopus says of a run in part, late, elsewhere or not at all: its machines are busy all the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from app.coordination.board import Board
from app.domain.run import RunRequest
from app.octopus.errors import OctopusError
from tests.conftest import eventually
from tests.e2e.repairs.helpers import FOR_EVER, MARKED, deploys, machine, rebuilds, state, works
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import manual, work
from workers import catch_up, reconcile, resolve, watch

Do = Callable[[Any], None]

MAIN = "refs/heads/main"


def on(name: str, **fields: Any) -> Any:
    return work(f"deploy to {name}", machines=[name], seconds=fields.pop("seconds", FOR_EVER), **fields)


#: A step that comes before those on machines: none of them is reached yet.
PREPARES = work("prepare", on_server=True, seconds=FOR_EVER)


def busy(board: Board, octopus: SimulatedOctopus) -> set[str]:
    """The names of the machines that nobody is granted now."""
    return {each["Name"] for number, each in enumerate(octopus.api("machines")["Items"])
            if board.join(RunRequest(f"ServerTasks-90{number}"), {each["Id"]}).is_waiting}  # fmt: skip


@pytest.fixture
def learn(do: Do) -> Callable[[], None]:
    """octowait hears of what has happened and finds out what it needs."""

    def learns() -> None:
        do(catch_up)
        do(resolve)

    return learns


@pytest.fixture
def targets(octopus: SimulatedOctopus) -> SimulatedOctopus:
    """web-01 and web-02 for all, acme-01 only for the tenant Acme, blue-01 with a target tag."""
    octopus.machine("acme-01", tenants=["Acme"])
    octopus.machine("blue-01", tags=["TagSets-1/Tags-9"])
    return octopus


def runs(octopus: SimulatedOctopus, steps: list[Any], *, git_ref: str = "", **options: Any) -> Deployment:
    """A runbook run that works."""
    octopus.project("Web", steps=[])
    octopus.runbook("Web", "Restart IIS", steps=steps, git_ref=git_ref)
    run = octopus.run_runbook("Web", "Restart IIS", **options)
    octopus.wait_for(run, "Executing")
    return run


@pytest.mark.parametrize("git_ref", ["", MAIN], ids=["in the database", "in Git"])
def test_runbook_on_the_targets_of_a_tenant(board, targets, learn, git_ref):
    runs(targets, [PREPARES, on("acme-01")], git_ref=git_ref, tenant="Acme")

    learn()

    assert busy(board, targets) == {"acme-01"}


def test_runbook_in_git(board, octopus, learn):
    runs(octopus, [PREPARES, on("web-02")], git_ref=MAIN)

    learn()

    assert busy(board, octopus) == {"web-02"}


def test_runbook_of_a_snapshot_that_is_not_the_published_one(board, octopus, learn):
    octopus.project("Web", steps=[])
    octopus.runbook("Web", "Clean", steps=[on("web-01")])
    draft = octopus.change_runbook("Web", "Clean", steps=[PREPARES, on("web-02")], is_published=False)
    octopus.wait_for(octopus.run_runbook("Web", "Clean", reference=draft), "Executing")

    learn()

    assert "web-02" in busy(board, octopus)


def test_runbook_that_has_reached_the_first_of_its_machines(board, octopus, learn):
    run = runs(octopus, [on("web-01", seconds=0.1), PREPARES, on("web-02")])
    eventually(lambda: octopus.api(f"runbookRuns/{run.id}")["DeployedToMachineIds"])

    learn()

    assert busy(board, octopus) == {"web-01", "web-02"}


def test_only_targets_with_the_tag(board, targets, learn):
    targets.machine("red-01", tags=["TagSets-1/Tags-8"])
    steps = [work("deploy", machines=["blue-01", "red-01"], seconds=FOR_EVER)]
    deploys(targets, "Web", steps=steps, tags=["TagSets-1/Tags-9"])

    learn()

    assert busy(board, targets) == {"blue-01"}


def test_machines_of_skipped_and_disabled_steps_are_free(board, octopus, learn):
    octopus.machine("off-01")
    steps = [on("web-01"), on("web-02"), on("off-01", is_disabled=True)]
    deploys(octopus, "Web", steps=steps, skipped=["deploy to web-02"])

    learn()

    assert busy(board, octopus) == {"web-01"}


def test_trigger_for_a_machine_that_was_excluded_the_first_time(board, octopus, learn):
    octopus.project("Web", steps=[work("deploy", seconds=FOR_EVER)])
    first = octopus.deploy("Web", excluded=["web-02"])
    octopus.wait_for(first, "Executing")
    octopus.cancel(first)
    octopus.wait_for(octopus.trigger(first, ["web-02"]), "Executing")

    learn()

    assert "web-02" in busy(board, octopus)


def test_preview_that_only_names_its_machines(board, octopus, learn):
    deploys(octopus, "Web", steps=[on("web-02", names_only=True)])

    learn()

    assert busy(board, octopus) == {"web-02"}


def test_server_that_asks_for_two_days_once(board, octopus, learn):
    deploys(octopus, "Web")
    octopus.faults(unavailable=1, retry_after=172_800, only="preview", most=1)

    learn()

    [key] = board.client.keys(f"*{board.keys.namespace}*:resolving:servertasks-1")
    assert 0 < board.client.pttl(key) <= 60_000, "it is asked about again within a minute"


def test_one_run_in_a_hidden_space_is_that_runs_trouble(board, octopus, do):
    hidden = octopus.space("Hidden")
    octopus.hide(hidden)
    one = works(octopus, "Web")
    board.join(RunRequest("ServerTasks-903", info={"space_id": hidden}), {"Machines-9"})
    board.join(RunRequest(one.task_id, info={"space_id": octopus.space_id}), {machine(octopus)})
    waiter = RunRequest("ServerTasks-902", info={"space_id": octopus.space_id})
    board.join(waiter, {machine(octopus)})
    octopus.cancel(one)
    octopus.wait_for(one)

    for job in (watch, reconcile):
        do(job)

    assert state(board, "ServerTasks-902") == "granted"
    assert state(board, "ServerTasks-903") == "granted"


def test_start_that_no_event_told_of_is_listed(board, octopus, do):
    octopus.project("Web", steps=[on("web-01")], tells_starts=False)
    octopus.wait_for(octopus.deploy("Web"), "Executing")

    do(reconcile)
    do(resolve)

    assert busy(board, octopus) == {"web-01"}


@pytest.mark.parametrize("is_listed", [False, True], ids=["told by an event", "listed"])
def test_start_keeps_the_machines_of_the_run_before_it_busy(board, octopus, do, learn, is_listed):
    octopus.project("Web", steps=[on("web-01", seconds=0.1), PREPARES], tells_starts=not is_listed)
    first = octopus.deploy("Web")
    octopus.wait_for(first, "Executing")
    do(reconcile)
    do(resolve)
    octopus.cancel(first)
    octopus.wait_for(first)
    learn()
    octopus.wait_for(octopus.deploy("Web"), "Executing")

    do(reconcile if is_listed else catch_up)

    assert busy(board, octopus) == {"web-01"}, "it was told, and nobody has asked yet which machines it uses"


def test_parked_run_whose_flags_are_out_of_date_stays_parked(empty, octopus, make_context, redis_url):
    one = deploys(octopus, "Web", steps=[manual("octowait", instructions=MARKED), on("web-01", seconds=0.1)])
    octopus.wait_for(one, is_paused=True)
    octopus.faults(flag_off=1, types_off=1)

    assert rebuilds(make_context(empty))

    assert empty.place(one.task_id).run.parked


def test_run_that_goes_on_after_a_restart_is_busy_meanwhile(board, octopus, learn, do):
    one = works(octopus, "Web")
    learn()
    octopus.go_away(10)
    octopus.wait_for(one, "Queued")
    with suppress(OctopusError):
        do(reconcile)
    octopus.wait_for(one, "Executing")
    do(reconcile)

    assert busy(board, octopus) == {"web-01"}


def test_page_of_a_maintenance_window_ends_nothing(board, octopus, learn, do):
    works(octopus, "Web")
    learn()
    octopus.faults(is_in_maintenance=True, retry_after=7_200)

    for job in (watch, reconcile, resolve):
        with suppress(OctopusError):
            do(job)
    octopus.no_faults()

    assert busy(board, octopus) == {"web-01"}


def test_task_that_waits_for_an_approval_holds_nothing(board, octopus, learn, do):
    octopus.project("Web", steps=[on("web-01")], needs_approval=True)
    octopus.deploy("Web")

    learn()
    do(reconcile)
    do(resolve)

    assert busy(board, octopus) == set()
