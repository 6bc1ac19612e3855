"""Rule 10: a run that names a holder shares its lease, and nobody may wait for itself."""

from datetime import timedelta

import pytest

from app.domain.errors import ClosesCircle
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from tests.integration.octopus_tells import Octopus

A, B, C = "Machines-1", "Machines-2", "Machines-3"


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


@pytest.fixture
def join(board):
    """``join(3, {A}, of=1)``: ServerTasks-3 on behalf of ServerTasks-1."""

    def do(number, machines, *, of=None, **fields):
        parent = f"ServerTasks-{of}" if of else None
        return board.join(RunRequest(f"ServerTasks-{number}", on_behalf_of=parent, **fields), machines)

    return do


def state(board, number):
    return str(board.place(f"ServerTasks-{number}").state)


def test_child_of_a_holder_is_granted_what_it_holds(board, join):
    join(1, {A})

    child = join(2, {A}, of=1)

    assert child.is_granted
    assert child.fencing_token > board.place("ServerTasks-1").fencing_token
    assert [held.task_id for machine in child.machines for held in machine.holders] == ["ServerTasks-1"]


def test_child_goes_before_those_who_wait_for_its_family(board, join):
    join(1, {A})
    join(9, {A})

    assert join(2, {A}, of=1).is_granted


def test_machines_are_free_when_the_last_of_the_family_has_ended(board, join):
    join(1, {A})
    join(2, {A}, of=1)
    join(9, {A})

    board.release("ServerTasks-2")
    assert state(board, 9) == "waiting"
    board.release("ServerTasks-1")

    assert state(board, 9) == "granted"


def test_cancelled_parent_does_not_free_a_machine_its_child_uses(board, join, octopus):
    join(1, {A})
    join(2, {A}, of=1)
    join(9, {A})

    octopus.tells(Effect.ENDED, "ServerTasks-1", outcome="canceled")

    assert state(board, 1) == "released"
    assert state(board, 9) == "waiting"
    board.release("ServerTasks-2")
    assert state(board, 9) == "granted"


def test_grandchild_shares_the_same_lease(board, join):
    join(1, {A})
    join(2, {A}, of=1)
    board.release("ServerTasks-1")

    assert join(3, {A}, of=2).is_granted


def test_siblings_of_one_parent_run_side_by_side(board, join):
    join(1, {A, B})

    assert join(2, {A}, of=1).is_granted
    assert join(3, {A, B}, of=1).is_granted


def test_child_in_other_letters_finds_its_parent(board):
    board.join(RunRequest("ServerTasks-1"), {A})

    assert board.join(RunRequest("ServerTasks-2", on_behalf_of="servertasks-1"), {A.upper()}).is_granted


@pytest.mark.parametrize("of", ["ServerTasks-77", "ServerTasks-2"], ids=["unknown", "itself"])
def test_on_behalf_of_that_does_not_hold_is_an_ordinary_wait(board, join, of):
    join(1, {A})

    assert board.join(RunRequest("ServerTasks-2", on_behalf_of=of), {A}).is_waiting


def test_on_behalf_of_one_that_waits_or_has_ended_is_an_ordinary_wait(board, join):
    join(1, {A})
    join(3, {A})
    join(4, {B})
    board.release("ServerTasks-4")

    assert join(5, {A}, of=3).is_waiting
    assert join(6, {A}, of=4).is_waiting


def test_child_shares_with_a_parent_that_was_only_observed(board, join, octopus):
    octopus.runs("ServerTasks-1", [{"id": A, "name": "web-01"}])

    assert join(2, {A}, of=1).is_granted


def test_child_that_waits_goes_on_when_its_parent_is_observed(board, join, octopus):
    octopus.tells(Effect.STARTED, "ServerTasks-1")
    octopus.tells(Effect.STARTED, "ServerTasks-9")
    board.observe("ServerTasks-9", [{"id": A, "name": "web-01"}], info={})
    assert join(2, {A}, of=1).is_waiting

    octopus.tells(Effect.ENDED, "ServerTasks-9")
    board.observe("ServerTasks-1", [{"id": A, "name": "web-01"}], info={})

    assert state(board, 2) == "granted"


def test_family_that_is_seen_together_is_no_overlap(board, join, octopus, timeline):
    octopus.tells(Effect.STARTED, "ServerTasks-1")
    join(2, {A}, of=1)

    board.observe("ServerTasks-1", [{"id": A, "name": "web-01"}], info={})

    assert "overlapped" not in [record.kind for record in timeline.read(Filter())]


def test_child_shares_on_a_machine_that_was_reserved_meanwhile(board, join):
    join(1, {A})
    board.reserve(A, note="new disk", by="ann")

    assert join(2, {A}, of=1).is_granted


def test_child_that_wants_more_waits_for_the_rest_only(board, join):
    join(1, {A})
    join(9, {B})

    child = join(2, {A, B}, of=1)

    assert child.is_waiting
    assert {machine.id: machine.place for machine in child.machines} == {A: 0, B: 1}
    assert "ServerTasks-9" in child.message
    board.release("ServerTasks-9")
    assert state(board, 2) == "granted"


def test_child_that_waits_for_more_is_granted_all_or_none(board, join):
    join(1, {A})
    join(9, {B})
    join(2, {A, B}, of=1)
    join(3, {A})

    board.release("ServerTasks-1")

    assert state(board, 2) == "waiting"
    assert state(board, 3) == "waiting", "the child came first and waits for the machine like anybody by now"
    board.release("ServerTasks-9")
    assert state(board, 2) == "granted"
    assert state(board, 3) == "waiting"


def test_run_anew_of_a_parent_is_no_family_of_its_old_children(board, join, octopus):
    join(1, {A})
    join(2, {A}, of=1)
    octopus.tells(Effect.ENDED, "ServerTasks-1")

    again = join(1, {A})

    assert again.is_waiting


def test_parent_that_reaches_its_wait_step_after_its_child_shares_with_it(board, join, octopus):
    octopus.runs("ServerTasks-1", [{"id": A, "name": "web-01"}])
    join(2, {A}, of=1)

    assert join(1, {A}).is_granted


def test_child_that_closes_a_circle_is_refused_with_the_circle_named(board, join):
    join(1, {A})
    join(9, {A, B})

    refused = join(3, {A, B}, of=1)

    assert str(refused.state) == "refused"
    assert refused.message == (
        "ServerTasks-3 may not wait (it would wait for itself: ServerTasks-3 waits for Machines-2, behind "
        "ServerTasks-9, which waits for Machines-1, held by ServerTasks-1, which waits for its child ServerTasks-3)."
    )


def test_two_families_that_wait_for_each_other_are_told(board, join):
    join(1, {A})
    join(2, {B})
    assert join(3, {A, B}, of=1).is_waiting

    refused = join(4, {A, B}, of=2)

    assert str(refused.state) == "refused"
    assert refused.message == (
        "ServerTasks-4 may not wait (it would wait for itself: ServerTasks-4 waits for Machines-1, behind "
        "ServerTasks-3, which waits for Machines-2, held by ServerTasks-2, which waits for its child ServerTasks-4)."
    )
    board.release("ServerTasks-2")
    assert state(board, 3) == "granted"


def test_refused_child_stands_in_no_line_and_may_ask_again(board, join, timeline):
    join(1, {A})
    join(2, {B})
    join(3, {A, B}, of=1)
    join(4, {A, B}, of=2)

    assert [record.cause for record in timeline.read(Filter(kind="refused"))] == ["circle"]
    board.release("ServerTasks-3")
    board.release("ServerTasks-1")
    assert join(4, {A, B}, of=2).is_granted


def test_higher_priority_that_would_close_a_circle_is_refused(board, join):
    join(1, {A})
    join(2, {B})
    join(3, {A, B}, of=1)
    join(9, {A, B})

    with pytest.raises(ClosesCircle, match="ServerTasks-9 waits for Machines-1, held by ServerTasks-1, which waits"):
        board.prioritize("ServerTasks-9", 10, by="ann", reason="hotfix")

    assert board.place("ServerTasks-9").run.priority == 0
    board.release("ServerTasks-2")
    assert state(board, 3) == "granted"


def test_newcomer_with_priority_that_would_close_a_circle_is_refused(board, join):
    join(1, {A})
    join(2, {B})
    join(3, {A, B}, of=1)

    assert str(join(9, {A, B}, priority=5).state) == "refused"


def test_circle_that_closes_when_a_parent_is_observed_is_broken(board, join, octopus):
    octopus.tells(Effect.STARTED, "ServerTasks-1")
    join(2, {B})
    join(8, {A})
    join(9, {A, B})
    assert join(3, {B}, of=1).is_waiting

    board.observe("ServerTasks-1", [{"id": A, "name": "web-01"}], info={})

    assert state(board, 3) == "refused"


@pytest.mark.parametrize("waits_first", [False, True])
def test_circle_that_closes_when_a_parent_is_granted_is_broken(board, join, waits_first):
    """Its child came before it, so that nobody knew for whom it would wait."""
    join(8, {A})
    if waits_first:
        join(7, {B})
    join(9, {A, B})
    assert join(3, {A}, of=1).is_waiting

    join(1, {B}, priority=1)
    if waits_first:
        assert state(board, 3) == "waiting"
        board.release("ServerTasks-7")

    assert [state(board, number) for number in (1, 3, 9)] == ["granted", "refused", "waiting"]


def test_refused_parked_child_has_its_intervention_answered(board, join, octopus, clock):
    octopus.tells(Effect.STARTED, "ServerTasks-1")
    join(2, {B})
    join(8, {A})
    join(9, {A, B})
    join(3, {B}, of=1, parked=True)

    board.observe("ServerTasks-1", [{"id": A, "name": "web-01"}], info={})

    assert board.sweep().resumes


def test_records_name_the_family(board, join, timeline):
    join(1, {A})
    join(2, {A}, of=1)

    joined = next(timeline.read(Filter(task_id="ServerTasks-2", kind="joined")))
    assert joined.detail["on_behalf_of"] == "ServerTasks-1"
    assert joined.detail["family"] == board.place("ServerTasks-1").run.family


def test_dead_child_leaves_its_family_no_trace(board, join, clock):
    join(1, {A})
    join(9, {B})
    join(2, {A, B}, of=1)

    clock.advance(timedelta(minutes=5))
    board.sweep()

    assert state(board, 2) == "expired"
    assert not board.client.exists(board.keys.children)
    assert not board.client.exists(board.keys.blocking)


def test_circle_is_found_in_time_behind_thousands(board, join):
    """It took more than a second behind a thousand, and nobody else was served meanwhile."""
    join(1, {A})
    join(8, {B})
    for number in range(100, 1300):
        join(number, {B}, parked=True)
    join(9, {A, B}, parked=True)
    board.client.config_resetstat()

    assert str(join(2, {B}, of=1, parked=True).state) == "refused"
    assert join(3, {A}, of=1, parked=True).is_granted

    assert board.client.info("commandstats")["cmdstat_evalsha"]["usec"] < 500_000


def test_child_that_is_left_by_its_sibling_does_not_wait_in_a_circle(board, join):
    """What the sibling held it shared; from its end on it would wait there for who waits for its parent."""
    join(1, {A})
    join(2, {B}, of=1)
    join(9, {A, B})
    join(8, {C})
    assert join(3, {B, C}, of=1).is_waiting

    board.release("ServerTasks-2")

    assert state(board, 3) == "refused"
    assert (
        "behind ServerTasks-9, which waits for Machines-1, held by ServerTasks-1"
        in board.place("ServerTasks-3").message
    )


def test_child_that_is_left_by_a_dead_sibling_does_not_wait_in_a_circle(board, join, clock):
    join(1, {A})
    board.join(RunRequest("ServerTasks-7", parked=True), {B})
    join(2, {B}, of=1, parked=True)
    board.release("ServerTasks-7")
    assert state(board, 2) == "granted"
    join(9, {A, B}, parked=True)
    board.join(RunRequest("ServerTasks-8", parked=True), {C})
    join(3, {B, C}, of=1, parked=True)

    board.release("ServerTasks-2", cause="forced", by="ann", reason="stuck")

    assert state(board, 3) == "refused"


def test_child_shares_what_its_sibling_is_granted(board, join):
    join(1, {A})
    join(8, {B})
    join(2, {A, B}, of=1)
    join(9, {B})
    join(3, {B}, of=1)

    board.release("ServerTasks-8")

    assert [state(board, number) for number in (2, 3, 9)] == ["granted", "granted", "waiting"]


def test_child_goes_on_when_the_stranger_on_its_familys_machine_has_ended(board, join, octopus):
    """It is not first there, for who waits for its family came before it."""
    join(1, {A})
    join(9, {A})
    join(8, {B})
    join(2, {A, B}, of=1)
    octopus.runs("ServerTasks-7", [{"id": A, "name": "web-01"}])
    board.release("ServerTasks-8")
    assert state(board, 2) == "waiting"

    octopus.tells(Effect.ENDED, "ServerTasks-7")

    assert state(board, 2) == "granted"


def test_child_whose_parent_is_heard_of_later_shares_with_it(board, join, octopus):
    """Octopus holds the event of the parent's start back for half a minute."""
    join(8, {A})
    assert join(2, {A}, of=1).is_waiting

    octopus.runs("ServerTasks-1", [{"id": A, "name": "web-01"}])
    board.release("ServerTasks-8")

    assert state(board, 2) == "granted"
    assert board.place("ServerTasks-1").run.family == board.place("ServerTasks-2").run.family


def test_parent_that_nobody_ever_hears_of_is_forgotten(board, join, clock):
    join(2, {A}, of=1)

    clock.advance(timedelta(days=91))
    board.sweep()

    assert board.place("ServerTasks-1") is None
