"""Resume: parked runs go on, or are aborted, when their turn comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.run import RunRequest
from app.followers.notices import notice_of
from app.store.connection import connect
from app.store.replication import Copier, Replicas
from tests.conftest import eventually
from tests.e2e.repairs.helpers import FOR_EVER, MARKED, calls, deploys, do_in, machine, records, state
from tests.simulator.control import Deployment
from tests.simulator.steps import manual, work
from workers import reconcile, resume


def test_intervention_that_is_not_its_own_is_not_answered(board, octopus, context, holder, claimed_by_others):
    one, client = claimed_by_others(context)
    board.join(RunRequest(one.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    board.release(holder)
    # Raised after it had asked.
    place = board.place(one.task_id)
    place = replace(place, run=replace(place.run, requested_at_ms=place.run.requested_at_ms - 60_000))

    with pytest.raises(resume.NotYet):
        resume.answer(context, client, place)

    assert octopus.pending(one)


@pytest.fixture
def park(board, octopus):
    """A deployment that has claimed web-01 and is paused for its intervention."""

    def do(project: str, *, instructions: str = MARKED, **options: Any) -> Deployment:
        octopus.project(project, steps=[
            manual("octowait", instructions=instructions), work("deploy", machines=["web-01"], seconds=0.1),
        ])  # fmt: skip
        deployment = octopus.deploy(project)
        run = RunRequest(deployment.task_id, parked=True, info={"space_id": octopus.space_id}, **options)
        assert board.join(run, {machine(octopus)}).is_waiting
        octopus.wait_for(deployment, is_paused=True)
        return deployment

    return do


@pytest.fixture
def holder(board, octopus):
    board.join(RunRequest("ServerTasks-900"), {machine(octopus)})
    return "ServerTasks-900"


def test_parked_run_goes_on_when_its_turn_comes(board, octopus, do, holder, park):
    parked = park("Web")
    do(resume)
    assert octopus.pending(parked)

    board.release(holder)
    do(resume)

    assert octopus.wait_for(parked)["State"] == "Success"
    [resumed] = records(board, kind="resumed")
    assert (resumed.cause, resumed.detail["result"]) == ("octowait", "Proceed")
    assert state(board, parked) == "granted", "its end comes by event, reconciler or release step"


def test_parked_run_that_timed_out_is_aborted_with_the_reason(board, clock, octopus, do, holder, park):
    parked = park("Web", timeout=timedelta(seconds=60))
    clock.advance(timedelta(seconds=61))
    board.sweep()

    do(resume)

    assert octopus.wait_for(parked)["State"] == "Failed"
    [asked] = octopus.api(f"interruptions?regarding={parked.task_id}")["Items"]
    assert "its time-out has passed" in asked["Form"]["Values"]["Notes"]


def test_answer_is_tried_until_the_intervention_is_raised(board, clock, octopus, do, holder):
    octopus.project("Web", steps=[work("slow claim", on_server=True, seconds=FOR_EVER)])
    deployment = octopus.deploy("Web")
    board.join(RunRequest(deployment.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    board.release(holder)

    for _ in range(6):
        do(resume)
        clock.advance(timedelta(minutes=5))

    [said] = records(board, kind="not_resumed")
    assert "terms line" in said.detail["reason"]
    assert notice_of(said) is None, "it may come yet"
    assert board.sweep().resumes


def test_intervention_that_never_comes_is_not_asked_for_all_the_time(board, clock, octopus, do, holder):
    """Each such run would take four requests a minute from those that watch the holders."""
    octopus.project("Web", steps=[work("no intervention", on_server=True, seconds=FOR_EVER)])
    deployment = octopus.deploy("Web")
    board.join(RunRequest(deployment.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    board.release(holder)
    before = calls(octopus)

    for _ in range(60):
        do(resume)
        clock.advance(timedelta(seconds=30))

    assert 10 <= calls(octopus) - before <= 30


def test_run_that_it_stumbles_over_does_not_stop_the_others(board, octopus, context, holder, park):
    stumbled, parked = park("Odd"), park("Web")

    class Stumbles:
        def __getattr__(self, name: str) -> Any:
            return getattr(context.octopus, name)

        def asking(self, **manner: Any) -> Any:
            return self

        def interruptions(self, task_id: str, **options: Any) -> Any:
            if task_id == stumbled.task_id:
                raise KeyError("requested_at_ms")
            return context.octopus.interruptions(task_id, **options)

    board.release(stumbled.task_id, cause="forced", by="ann", reason="odd")
    board.release(holder)
    do_in(replace(context, octopus=Stumbles()), resume)

    assert octopus.wait_for(parked)["State"] == "Success"
    assert "KeyError" in records(board, kind="not_resumed")[0].detail["reason"]


def test_intervention_without_the_word_is_left_to_people(board, octopus, do, holder):
    octopus.project("Web", steps=[manual("Approve", instructions="of the week"), work("d", machines=["web-01"])])
    deployment = octopus.deploy("Web")
    board.join(RunRequest(deployment.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    octopus.wait_for(deployment, is_paused=True)
    board.release(holder)

    do(resume)

    assert octopus.pending(deployment)


def test_person_who_took_responsibility_is_respected(board, clock, octopus, do, holder, park):
    parked = park("Web")
    [asked] = octopus.pending(parked)
    octopus.api(f"interruptions/{asked['Id']}/responsible", {}, method="PUT", key="jane")
    board.release(holder)

    do(resume)
    assert octopus.pending(parked), "it is hers"
    octopus.submit(asked["Id"])
    clock.advance(timedelta(seconds=31))
    do(resume)

    [resumed] = records(board, kind="resumed")
    assert (resumed.cause, resumed.detail["result"]) == ("by_hand", "Proceed")
    assert state(board, parked) == "granted"


def test_person_who_lets_it_go_on_before_its_turn_is_seen_without_an_event(board, clock, octopus, do, holder):
    octopus.project("Web", steps=[
        manual("octowait", instructions=MARKED), work("deploy", machines=["web-01"], seconds=FOR_EVER),
    ])  # fmt: skip
    parked = octopus.deploy("Web")
    board.join(RunRequest(parked.task_id, parked=True, info={"space_id": octopus.space_id}), {machine(octopus)})
    octopus.wait_for(parked, is_paused=True)
    octopus.submit(octopus.pending(parked)[0]["Id"])
    octopus.wait_for(parked, "Executing")
    clock.advance(timedelta(seconds=31))

    do(reconcile)

    assert state(board, parked) == "observed"
    assert [r.kind for r in records(board, task_id=parked.task_id)][-3:] == ["resumed", "observed", "overlapped"]


def test_waiting_parked_run_is_not_taken_for_overridden_while_it_is_paused(board, clock, octopus, do, holder, park):
    parked = park("Web")
    clock.advance(timedelta(seconds=31))

    do(reconcile)

    assert state(board, parked) == "waiting"


def test_answer_that_was_given_and_not_noted_is_not_given_twice(board, octopus, context, do, holder, park):
    """The worker was killed between its answer and the note."""
    parked = park("Web")
    board.release(holder)
    client = context.octopus
    [found] = client.interruptions(parked.task_id, pending_only=True, space=octopus.space_id)
    client.take_responsibility(found)
    client.submit(found, "Proceed", notes="octowait")

    do(resume)

    [resumed] = records(board, kind="resumed")
    assert resumed.cause == "octowait"


def test_answer_is_not_looked_for_when_its_task_has_ended(board, clock, octopus, do, holder):
    """Its wait timed out, and the deployment was cancelled before the intervention was raised."""
    octopus.project("Web", steps=[work("slow claim", on_server=True, seconds=FOR_EVER)])
    deployment = octopus.deploy("Web")
    run = RunRequest(
        deployment.task_id, parked=True, info={"space_id": octopus.space_id}, timeout=timedelta(seconds=60)
    )
    board.join(run, {machine(octopus)})
    octopus.cancel(deployment)
    octopus.wait_for(deployment)
    clock.advance(timedelta(seconds=61))
    assert board.sweep().resumes

    do(resume)

    assert not board.sweep().resumes
    assert [r.cause for r in records(board, kind="not_resumed")] == ["task_ended"]


def test_one_run_that_fails_does_not_stop_the_others(board, octopus, do, holder, park):
    lost = deploys(octopus, "Lost", steps=[work("d", on_server=True, seconds=FOR_EVER)])
    board.join(RunRequest(lost.task_id, parked=True, info={"space_id": octopus.space_id}), {"Machines-77"})
    parked = park("Web")
    board.release(holder)

    do(resume)

    eventually(lambda: octopus.task(parked)["State"] == "Success")


def test_parked_run_goes_on_only_when_enough_replicas_have_its_grant(board, octopus, do, holder, park, redis_url):
    parked = park("Web")
    lacking = connect(redis_url, max_connections=1)
    # The server has no replica.
    without_replicas = board._copier
    board._copier = Copier(Replicas(lacking, 1, timeout_ms=50), board._write_grants)
    board.release(holder)

    do(resume)
    assert octopus.pending(parked)
    assert board.place(parked.task_id).is_granted

    board._copier = without_replicas
    eventually(lambda: do(resume) or not octopus.pending(parked))
    lacking.close()
