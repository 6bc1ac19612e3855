"""A parked wait is put back in line after a loss: with what its intervention says of it, or saying that it is lost."""

from __future__ import annotations

from tests.e2e.repairs.helpers import (
    FOR_EVER,
    MARKED,
    UNMARKED,
    deploys,
    do_in,
    rebuilds,
    records,
    state,
    works,
)  # fmt: skip
from tests.simulator.control import Deployment, SimulatedOctopus
from tests.simulator.steps import manual, work
from workers import reconcile, resume, watch

#: Instructions that a variable brings a second line into, which says something else.
AMBIGUOUS = f"#{{Octowait.Note}}\n{MARKED}"
NOTE = "octowait: on behalf of [{}], priority [1000000], time-out [1] min"


def parks_with(octopus: SimulatedOctopus, project: str, instructions: str, **variables: str) -> Deployment:
    asks = manual("octowait", instructions=instructions, variables={f"Octowait.{k}": v for k, v in variables.items()})
    deployment = deploys(octopus, project, steps=[asks, work("deploy", machines=["web-01"], seconds=0.1)])
    octopus.wait_for(deployment, is_paused=True)
    return deployment


def test_parked_wait_is_put_back_with_what_its_intervention_says(empty, octopus, make_context):
    context = make_context(empty)
    holder = works(octopus, "Holder")
    child = parks_with(octopus, "Child", MARKED, OnBehalfOf=holder.task_id)
    urgent = parks_with(octopus, "Urgent", MARKED, Priority="5", TimeoutMinutes="30")
    plain = parks_with(octopus, "Plain", MARKED)

    assert rebuilds(context)

    assert state(empty, child) == "granted", "its parent waits for it"
    assert [empty.place(each.task_id).place for each in (urgent, plain)] == [1, 2]
    empty.script.offset_ms += 31 * 60_000
    empty.sweep()
    assert [state(empty, each) for each in (urgent, plain)] == ["timed_out", "waiting"]
    assert empty.place(plain.task_id).reason is None
    empty.script.offset_ms += 90 * 60_000
    empty.sweep()
    assert state(empty, plain) == "timed_out", "the step's own default"


def test_parked_wait_whose_terms_are_lost_says_so_and_is_resumed_in_its_turn(empty, octopus, make_context):
    """If it is a child of the one that holds, neither goes on: a person is told what to do. The line that a variable
    brings would make it a child of whoever it names, which is granted at once.
    """
    context = make_context(empty)
    holder = works(octopus, "Holder")
    parked = parks_with(octopus, "Web", AMBIGUOUS, Note=NOTE.format(holder.task_id))

    assert rebuilds(context)

    assert "whom it runs for" in empty.place(parked.task_id).reason
    assert records(empty, kind="joined", task_id=parked.task_id)[0].detail["rebuilt"]
    octopus.cancel(holder)
    octopus.wait_for(holder, "Canceled")
    do_in(context, watch)
    do_in(context, resume)
    assert octopus.wait_for(parked)["State"] == "Success"


def test_lost_terms_are_answered_by_hand(empty, octopus, make_context):
    """The event of that is lost as well, and the intervention was raised before the run was put back in line."""
    context = make_context(empty)
    note = NOTE.format(works(octopus, "Holder").task_id)
    asks = manual("octowait", instructions=AMBIGUOUS, variables={"Octowait.Note": note})
    child = deploys(octopus, "Child", steps=[asks, work("deploy", machines=["web-01"], seconds=FOR_EVER)])
    octopus.wait_for(child, is_paused=True)
    empty.script.offset_ms += 600_000
    assert rebuilds(context)

    octopus.submit(octopus.pending(child)[0]["Id"])
    octopus.wait_for(child, "Executing")
    empty.script.offset_ms += 31_000
    do_in(context, reconcile)

    assert state(empty, child) == "observed"


def test_parked_wait_that_octowait_may_not_answer_is_taken_for_one_at_work(empty, octopus, make_context):
    """A person answers it, whenever that is; until then nobody is granted its machine."""
    context = make_context(empty)
    parked = parks_with(octopus, "Web", UNMARKED)

    assert rebuilds(context)

    assert state(empty, parked) == "observed"
    assert empty.place(parked.task_id).run.paused
