"""One small test for each fact of the rules in docs: who may run, in which order, and what an event changes."""

from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.coordination.timeline import Filter
from app.domain.errors import GateError, HoldsOthers, InThePast, InvalidId, NoMachines, NotWaiting, UnknownRun
from app.domain.events import Effect
from app.domain.run import MAX_PRIORITY, Run
from tests.conftest import Clock
from tests.integration.octopus_tells import WEB, Octopus


def seconds(number):
    return timedelta(seconds=number)


def minutes(number):
    return timedelta(minutes=number)


@pytest.fixture
def octopus(board, clock):
    return Octopus(board, clock)


def kinds(timeline, **wanted):
    return [record.kind for record in timeline.read(Filter(**wanted))]


def holders(board, task_id):
    return [(held.kind, held.task_id) for machine in board.place(task_id).machines for held in machine.holders]


# Rule 1: exclusion


def test_first_run_is_granted_at_once(board, a_run):
    place = board.join(a_run(), {"Machines-7"})

    assert place.is_granted
    assert place.is_new


def test_second_run_waits_and_sees_the_holder(board, a_run):
    board.join(a_run(info={"project": {"id": "Projects-7", "name": "Api"}}), {"Machines-7"})

    place = board.join(a_run(), {"Machines-7"})

    assert (place.state, place.place) == ("waiting", 1)
    assert "ServerTasks-1 (Api)" in place.message


def test_release_grants_the_next(board, a_run):
    first, second = a_run(), a_run()
    board.join(first, {"Machines-7"})
    board.join(second, {"Machines-7"})

    assert board.release(first.task_id) == "released"

    assert board.place(first.task_id).state == "released"
    assert board.place(second.task_id).is_granted


def test_runs_on_different_machines_do_not_wait_for_each_other(board, a_run):
    board.join(a_run(), {"Machines-7"})

    assert board.join(a_run(), {"Machines-70"}).is_granted
    assert board.join(a_run(), {"Machines-"}).is_granted


def test_nobody_is_granted_while_an_observed_run_is_there(board, a_run, octopus):
    octopus.runs("ServerTasks-900")

    place = board.join(a_run(), {"Machines-7"})

    assert place.is_waiting
    assert holders(board, place.task_id) == [("observed", "ServerTasks-900")]


def test_end_of_an_observed_run_grants_the_next(board, a_run, octopus):
    octopus.runs("ServerTasks-900")
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    octopus.tells(Effect.ENDED, "ServerTasks-900")

    assert board.place(waiter.task_id).is_granted


def test_fencing_tokens_grow_with_every_grant(board, a_run):
    runs = [a_run() for _ in range(5)]
    for run in runs:
        board.join(run, {"Machines-7"})

    tokens = []
    for run in runs:
        tokens.append(board.place(run.task_id).fencing_token)
        board.release(run.task_id)

    assert tokens == sorted(set(tokens))


# Rule 2: all or none


def test_run_gets_none_of_its_machines_while_one_is_busy(board, a_run):
    board.join(a_run(), {"Machines-7"})
    board.join(a_run(), {"Machines-7", "Machines-8"})

    third = board.join(a_run(), {"Machines-8"})

    assert third.is_waiting
    assert third.machines[0].holders == ()


def test_two_runs_that_want_the_same_two_machines_do_not_lock_each_other(board, a_run):
    holder, one, other = a_run(), a_run(), a_run()
    board.join(holder, {"Machines-7", "Machines-8"})
    board.join(one, ["Machines-7", "Machines-8"])
    board.join(other, ["Machines-8", "Machines-7"])

    board.release(holder.task_id)

    assert board.place(one.task_id).is_granted
    assert board.place(other.task_id).is_waiting


def test_machine_given_twice_is_one(board, a_run):
    place = board.join(a_run(), ["Machines-7", "machines-7", "Machines-7"])

    assert [machine.id for machine in place.machines] == ["Machines-7"]


def test_thousands_of_machines_in_one_run(board, a_run):
    machines = [f"Machines-{number}" for number in range(9_000)]

    place = board.join(a_run(), machines)

    assert place.is_granted
    assert len(place.machines) == 9_000


# Rule 3: order


def test_place_is_the_largest_of_all_lines(board, a_run):
    board.join(a_run(), {"Machines-7", "Machines-8"})
    for _ in range(3):
        board.join(a_run(), {"Machines-7"})

    place = board.join(a_run(), {"Machines-7", "Machines-8"})

    assert [machine.place for machine in place.machines] == [4, 1]
    assert place.place == 4
    assert place.machines[0].ahead == ("ServerTasks-2", "ServerTasks-3", "ServerTasks-4")


def test_a_long_list_of_those_ahead_is_cut(board, a_run):
    for _ in range(31):
        board.join(a_run(), {"Machines-7"})

    place = board.join(a_run(), {"Machines-7"})

    assert place.place == 31
    assert len(place.machines[0].ahead) == 20


def test_higher_priority_is_granted_first(board, a_run):
    first = a_run()
    board.join(first, {"Machines-7"})
    low, high = a_run(priority=-1), a_run(priority=3)
    board.join(low, {"Machines-7"})
    middle = board.join(a_run(), {"Machines-7"})
    board.join(high, {"Machines-7"})

    order = []
    for _ in range(3):
        board.release(order[-1] if order else first.task_id)
        order += [t for t in (low.task_id, middle.task_id, high.task_id) if board.place(t).is_granted]

    assert order == [high.task_id, middle.task_id, low.task_id]


def test_run_that_is_first_at_one_machine_only_is_not_granted(board, a_run):
    board.join(a_run(), {"Machines-9"})
    first = a_run()
    board.join(first, {"Machines-7", "Machines-9"})

    second = board.join(a_run(), {"Machines-7", "Machines-8"})

    assert second.is_waiting
    assert [(machine.id, machine.place) for machine in second.machines] == [("Machines-7", 2), ("Machines-8", 1)]


def test_equal_priorities_are_granted_by_arrival(board, a_run):
    holder, *runs = [a_run(priority=5) for _ in range(12)]
    board.join(holder, {"Machines-7"})
    for run in runs:
        board.join(run, {"Machines-7"})

    assert [board.place(run.task_id).place for run in runs] == list(range(1, 12))


def test_largest_priorities_keep_the_order(board, a_run):
    board.join(a_run(), {"Machines-7"})
    low, high = a_run(priority=-MAX_PRIORITY), a_run(priority=MAX_PRIORITY)
    board.join(low, {"Machines-7"})
    board.join(high, {"Machines-7"})

    assert board.place(high.task_id).place == 1
    assert board.place(low.task_id).place == 2


@pytest.mark.parametrize("priority", [MAX_PRIORITY + 1, -MAX_PRIORITY - 1, 10**12])
def test_priority_that_would_spoil_the_line_is_refused(board, a_run, priority):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    with pytest.raises(GateError, match="expected -1000000 to 1000000"):
        board.join(a_run(priority=priority), {"Machines-7"})
    with pytest.raises(GateError, match="expected -1000000 to 1000000"):
        board.prioritize(waiter.task_id, priority, by="ann", reason="urgent")


def test_run_that_wants_many_machines_does_not_starve(board, a_run):
    one, other, wide = a_run(), a_run(), a_run()
    board.join(one, {"Machines-7"})
    board.join(other, {"Machines-8"})
    board.join(wide, {"Machines-7", "Machines-8"})
    late = board.join(a_run(), {"Machines-7"})

    board.release(one.task_id)
    assert board.place(late.task_id).is_waiting
    board.release(other.task_id)

    assert board.place(wide.task_id).is_granted


def test_prioritizing_moves_a_waiter_to_the_front(board, a_run):
    holder, first, second = a_run(), a_run(), a_run()
    for run in (holder, first, second):
        board.join(run, {"Machines-7"})

    place = board.prioritize(second.task_id, 1, by="ann", reason="hotfix")

    assert place.place == 1
    assert board.place(first.task_id).place == 2


def test_prioritizing_keeps_the_arrival_among_equals(board, a_run):
    _, first, second = runs = [a_run() for _ in range(3)]
    for run in runs:
        board.join(run, {"Machines-7"})

    board.prioritize(second.task_id, 4, by="ann", reason="hotfix")
    board.prioritize(first.task_id, 4, by="ann", reason="hotfix too")

    assert board.place(first.task_id).place == 1


def test_prioritizing_down_grants_who_was_behind(board, a_run):
    blocker, wide, narrow = a_run(), a_run(), a_run()
    board.join(blocker, {"Machines-7"})
    board.join(wide, {"Machines-7", "Machines-8"})
    board.join(narrow, {"Machines-8"})

    board.prioritize(wide.task_id, -1, by="ann", reason="not now")

    assert board.place(narrow.task_id).is_granted


def test_prioritizing_up_grants_who_is_ready_now(board, a_run):
    blocker, wide, narrow = a_run(), a_run(), a_run()
    board.join(blocker, {"Machines-7"})
    board.join(wide, {"Machines-7", "Machines-8"})
    board.join(narrow, {"Machines-8"})

    assert board.prioritize(narrow.task_id, 1, by="ann", reason="hotfix").is_granted


def test_only_a_waiter_can_be_prioritized(board, a_run):
    run = a_run()
    board.join(run, {"Machines-7"})

    with pytest.raises(NotWaiting, match="ServerTasks-1 is granted"):
        board.prioritize(run.task_id, 1, by="ann", reason="hotfix")
    with pytest.raises(UnknownRun):
        board.prioritize("ServerTasks-404", 1, by="ann", reason="hotfix")


# Rule 4: asking again is free


def test_waiter_that_asks_again_keeps_its_place(board, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"})
    board.join(a_run(), {"Machines-7"})

    again = board.join(waiter, {"Machines-7"})

    assert (again.state, again.place, again.is_new) == ("waiting", 1, False)


def test_holder_that_asks_again_gets_the_same_token(board, a_run):
    run = a_run()
    token = board.join(run, {"Machines-7"}).fencing_token

    again = board.join(run, {"Machines-7"})

    assert again.is_granted
    assert again.fencing_token == token


def test_holder_that_asks_for_fewer_is_granted_and_keeps_all(board, a_run):
    run = a_run()
    board.join(run, {"Machines-7", "Machines-8"})

    assert board.join(run, {"Machines-8"}).is_granted
    assert board.join(a_run(), {"Machines-7"}).is_waiting


@pytest.mark.parametrize(("before", "verb"), [("Machines-7", "holds"), ("Machines-9", "waits for")])
def test_asking_for_more_is_refused_and_changes_nothing(board, a_run, before, verb):
    board.join(a_run(), {"Machines-9"})
    run = Run("ServerTasks-4711")
    board.join(run, {before})

    with pytest.raises(HoldsOthers) as refused:
        board.join(run, {before, "Machines-12"})

    assert str(refused.value) == f"ServerTasks-4711 {verb} {before}: release before asking for Machines-12"
    assert [machine.id for machine in board.place(run.task_id).machines] == [before]
    assert board.join(a_run(), {"Machines-12"}).is_granted


def test_asking_for_no_machine_is_an_error(board, a_run):
    with pytest.raises(NoMachines):
        board.join(a_run(), set())


@pytest.mark.parametrize(("task", "machine"), [("ServerTasks-1\0", "Machines-7"), ("ServerTasks-1", "a/b"), ("", "m")])
def test_ids_that_could_break_out_of_a_key_are_refused(board, task, machine):
    with pytest.raises(InvalidId):
        board.join(Run(task), {machine})


@pytest.mark.parametrize("again", [True, False])
def test_ids_compare_without_regard_to_letter_case(board, a_run, octopus, again):
    holder, waiter = Run("ServerTasks-1"), Run("ServerTasks-2")
    board.join(holder, {"Machines-7"})
    assert board.join(waiter, {"MACHINES-7"}).is_waiting
    if again:
        assert board.join(Run("servertasks-2"), {"machines-7"}).place == 1

    octopus.tells(Effect.ENDED, "SERVERTASKS-1")

    assert board.poll("SERVERtasks-2").is_granted
    assert board.poll("servertasks-2").task_id == "ServerTasks-2"
    assert board.release("servertasks-2") == "released"


@pytest.mark.parametrize(
    "info",
    [
        {"project": {"name": "Web"}, "environment": {"name": "Prod"}},
        {"project": {"id": None, "name": "Web"}},
        {"project": {"id": ""}},
        {"project": None, "environment": None, "deployment_id": None, "runbook_run_id": None},
        {"project": "Web", "tenant": [], "url": "x" * 2000},
    ],
)
def test_info_of_any_shape_does_not_stop_a_run(board, a_run, info):
    first, second = a_run(info=info), a_run(info=info)
    board.join(first, {"Machines-7"})
    board.join(second, {"Machines-7"})

    board.release(first.task_id)

    assert board.place(second.task_id).is_granted
    assert board.release(second.task_id) == "released"


# Rule 5: a dead waiter leaves the line


def test_next_waiter_is_granted_when_the_one_before_it_dies(board, clock, a_run):
    holder, dead, alive = a_run(), a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(dead, {"Machines-7"}, ttl=minutes(1))
    board.join(alive, {"Machines-7"}, ttl=minutes(9))

    clock.advance(minutes(2))
    board.release(holder.task_id)

    assert board.place(dead.task_id).state == "expired"
    assert board.place(alive.task_id).is_granted


def test_every_poll_is_a_sign_of_life(board, clock, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"}, ttl=minutes(1))

    for _ in range(5):
        clock.advance(seconds(59))
        board.poll(waiter.task_id)

    assert board.place(waiter.task_id).is_waiting


def test_somebody_elses_look_is_no_sign_of_life(board, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"}, ttl=minutes(1))

    clock.advance(seconds(59))
    board.place(waiter.task_id)
    clock.advance(seconds(2))

    assert board.place(waiter.task_id).state == "expired"


def test_waiter_removed_by_silence_is_told_and_joins_at_the_end(board, clock, a_run):
    holder, silent, other = a_run(), a_run(), a_run()
    for run in (holder, silent, other):
        board.join(run, {"Machines-7"}, ttl=minutes(60 if run is other else 1))

    clock.advance(minutes(2))
    told = board.poll(silent.task_id)
    again = board.join(silent, {"Machines-7"})

    assert told.state == "expired"
    assert "nothing was heard" in told.message
    assert (again.state, again.place) == ("waiting", 2)
    assert "removed from the line" in again.reason


def test_uncollected_grant_is_taken_back(board, clock, a_run):
    holder, gone, alive = a_run(), a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(gone, {"Machines-7"}, ttl=minutes(1))
    board.join(alive, {"Machines-7"}, ttl=minutes(60))
    board.release(holder.task_id)

    clock.advance(seconds(59))
    assert board.place(gone.task_id).is_granted
    clock.advance(seconds(2))

    assert board.place(gone.task_id).state == "expired"
    assert "not collected" in board.place(gone.task_id).reason
    assert board.place(alive.task_id).is_granted


def test_collected_grant_is_not_taken_back(board, clock, a_run):
    holder, next_one = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(next_one, {"Machines-7"}, ttl=minutes(1))
    board.release(holder.task_id)

    board.poll(next_one.task_id)
    clock.advance(minutes(600))
    board.sweep()

    assert board.place(next_one.task_id).is_granted


def test_grant_that_came_with_the_answer_is_collected(board, clock, a_run):
    run = a_run()
    board.join(run, {"Machines-7"}, ttl=minutes(1))

    clock.advance(minutes(600))
    board.sweep()

    assert board.place(run.task_id).is_granted


def test_those_who_died_together_do_not_get_the_machine_one_after_the_other(board, clock, a_run):
    blocker, *dead = [a_run() for _ in range(4)]
    board.join(blocker, {"Machines-8"})
    board.join(dead[0], {"Machines-7", "Machines-8"}, ttl=seconds(60))
    for number, run in enumerate(dead[1:], start=61):
        board.join(run, {"Machines-7"}, ttl=seconds(number))
    alive = board.join(a_run(), {"Machines-7"}, ttl=minutes(60))

    clock.advance(minutes(2))
    board.sweep()

    assert [board.place(run.task_id).state for run in dead] == ["expired"] * 3
    assert board.place(alive.task_id).is_granted


def test_more_than_a_hundred_dead_are_all_removed_in_the_end(board, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    for _ in range(250):
        board.join(a_run(), {"Machines-7"}, ttl=minutes(1))

    clock.advance(minutes(2))

    assert [board.sweep().more for _ in range(3)] == [True, True, False]
    assert board.join(a_run(), {"Machines-7"}).place == 1


def test_wait_that_reached_its_timeout_ends(board, clock, a_run):
    holder, impatient = a_run(), a_run(timeout=minutes(2))
    board.join(holder, {"Machines-7"})
    board.join(impatient, {"Machines-7"}, ttl=minutes(60))

    clock.advance(minutes(3))
    told = board.poll(impatient.task_id)

    assert told.state == "timed_out"
    assert "time-out" in told.message


def test_wait_that_timed_out_in_silence_ends_once(board, timeline, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run(timeout=minutes(1))
    board.join(waiter, {"Machines-7"}, ttl=minutes(2))

    clock.advance(minutes(3))
    board.sweep()

    assert board.place(waiter.task_id).state == "timed_out"
    assert kinds(timeline, task_id=waiter.task_id) == ["joined", "timed_out"]


def test_timeout_of_the_wait_does_not_end_the_lease(board, clock, a_run):
    run = a_run(timeout=minutes(2))
    board.join(run, {"Machines-7"})

    clock.advance(minutes(3))

    assert board.poll(run.task_id).is_granted


def test_parked_run_needs_no_sign_of_life(board, clock, a_run):
    holder, parked = a_run(), a_run(parked=True)
    board.join(holder, {"Machines-7"})
    board.join(parked, {"Machines-7"})

    clock.advance(minutes(600))
    board.release(holder.task_id)
    clock.advance(minutes(600))

    assert board.place(parked.task_id).is_granted


def test_waiters_get_their_time_again_after_an_outage(board, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.sweep(serving=True)
    board.join(waiter, {"Machines-7"}, ttl=minutes(1))

    clock.advance(minutes(30))
    board.sweep(serving=True)

    assert board.poll(waiter.task_id).is_waiting


def test_after_the_grace_of_an_outage_the_silent_are_removed(board, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.sweep(serving=True)
    board.join(waiter, {"Machines-7"}, ttl=minutes(1))
    clock.advance(minutes(30))
    board.sweep(serving=True)

    for _ in range(13):
        clock.advance(seconds(5))
        board.sweep(serving=True)

    assert board.place(waiter.task_id).state == "expired"


def test_first_poll_after_an_outage_does_not_remove_the_others(board, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    one, other = a_run(), a_run()
    board.sweep(serving=True)
    board.join(one, {"Machines-7"}, ttl=minutes(1))
    board.join(other, {"Machines-7"}, ttl=minutes(1))

    clock.advance(minutes(30))
    board.poll(other.task_id)
    board.sweep(serving=True)

    assert board.poll(one.task_id).place == 1
    assert board.poll(other.task_id).place == 2


# Rule 6: a holder lives as long as its task


def test_silent_holder_keeps_its_machines(board, clock, a_run):
    holder, waiter = a_run(), a_run(parked=True)
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})

    clock.advance(timedelta(days=30))
    board.sweep()

    assert board.place(holder.task_id).is_granted
    assert board.place(waiter.task_id).is_waiting


@pytest.mark.parametrize("cause", ["step", "forced", "reconciled"])
def test_release_says_why(board, timeline, a_run, cause):
    run = a_run()
    board.join(run, {"Machines-7"})

    assert board.release(run.task_id, cause=cause, by="ann", reason="stuck") == "released"

    [record] = timeline.read(Filter(kind="released"))
    assert (record.cause, record.detail["by"], record.detail["reason"]) == (cause, "ann", "stuck")
    assert "held_ms" in record.detail


def test_releasing_twice_is_nothing(board, a_run):
    run = a_run()
    board.join(run, {"Machines-7"})
    board.release(run.task_id)

    assert board.release(run.task_id) == "nothing"
    assert board.release("ServerTasks-404") == "nothing"


def test_releasing_a_waiter_takes_it_out_of_the_line(board, a_run):
    holder, leaving, last = a_run(), a_run(), a_run()
    for run in (holder, leaving, last):
        board.join(run, {"Machines-7"})

    assert board.release(leaving.task_id) == "left"

    assert board.place(leaving.task_id).state == "left"
    assert board.place(last.task_id).place == 1


def test_end_event_releases_the_lease(board, octopus, clock):
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, outcome="failed") == "applied"

    assert board.place("ServerTasks-1").state == "released"
    assert board.place("ServerTasks-1").run["outcome"] == "failed"


def test_end_event_takes_a_waiter_out_of_the_line(board, octopus):
    board.join(Run("ServerTasks-2"), {"Machines-7"})
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    octopus.tells(Effect.ENDED, outcome="canceled")

    assert board.place("ServerTasks-1").state == "left"


def test_longest_hold_ends_a_lease_where_it_is_set(make_board, a_run):
    board = make_board(Policy(max_hold=minutes(10)))
    clock = Clock(board)
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"}, ttl=minutes(60))

    clock.advance(minutes(9))
    assert board.poll(waiter.task_id).is_waiting
    clock.advance(minutes(2))

    assert board.poll(waiter.task_id).is_granted
    assert "longest time" in board.place(holder.task_id).reason


# Rule 7: events are idempotent and free of order


def test_same_event_five_times_takes_effect_once(board, timeline, octopus):
    event = octopus.event(Effect.STARTED)

    outcomes = [board.deliver(event) for _ in range(5)]

    assert outcomes == ["unresolved"] + ["duplicate"] * 4
    assert kinds(timeline) == ["event"]


def test_end_before_its_start_leaves_nothing_held(board, a_run, octopus):
    octopus.tells(Effect.ENDED, ago=seconds(1))

    assert octopus.tells(Effect.STARTED, ago=seconds(60)) == "applied"
    assert board.observe("ServerTasks-1", WEB, info={}) == "late"
    assert board.join(a_run(task_id="ServerTasks-2"), {"Machines-7"}).is_granted


def test_start_and_end_of_the_same_moment_leave_nothing_held(board, octopus):
    end = octopus.event(Effect.ENDED, ago=seconds(1))
    board.deliver(end)

    octopus.tells(Effect.STARTED, occurred_ms=end.occurred_ms)

    assert board.observe("ServerTasks-1", WEB, info={}) == "late"


def test_late_start_after_release_leaves_nothing_held(board, clock, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(20))
    board.release("ServerTasks-1")

    assert octopus.tells(Effect.STARTED, ago=seconds(21)) == "applied"

    assert board.place("ServerTasks-1").state == "released"
    assert board.observe("ServerTasks-1", WEB, info={}) == "late"


def test_start_of_a_holder_that_comes_late_changes_nothing(board, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.STARTED, ago=seconds(3)) == "applied"

    assert board.place("ServerTasks-1").is_granted


def test_old_end_does_not_end_the_re_run(board, clock, octopus):
    """ServerTasks-1 ends, Octopus holds its event back, a trigger re-runs it, and only then the event arrives."""
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1")
    clock.advance(seconds(20))
    assert board.join(Run("ServerTasks-1"), {"Machines-7"}).is_granted

    assert octopus.tells(Effect.ENDED, ago=seconds(19)) == "ignored"
    assert board.place("ServerTasks-1").is_granted
    clock.advance(seconds(60))
    octopus.tells(Effect.ENDED)

    assert board.place("ServerTasks-1").state == "released"


def test_owed_end_of_the_same_moment_does_not_end_who_asked_again(board, clock, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    board.release("ServerTasks-1")
    assert board.join(Run("ServerTasks-1"), {"Machines-7"}).is_granted

    assert octopus.tells(Effect.ENDED) == "ignored"
    assert board.place("ServerTasks-1").is_granted
    clock.advance(seconds(10))
    assert octopus.tells(Effect.ENDED) == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_old_end_does_not_end_the_re_run_that_asks_while_its_lease_is_still_there(board, clock, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    assert not board.join(Run("ServerTasks-1"), {"Machines-7"}).is_new

    assert octopus.tells(Effect.ENDED, ago=seconds(30)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_re_run_that_was_observed_is_not_ended_by_the_old_end(board, clock, octopus, a_run):
    octopus.runs()
    clock.advance(seconds(60))
    held_back = octopus.event(Effect.ENDED)
    clock.advance(seconds(10))
    octopus.tells(Effect.STARTED)

    assert board.deliver(held_back) == "ignored"

    assert board.place("ServerTasks-1").state == "observed"


def test_re_run_after_an_end_is_another_run(board, clock, octopus):
    octopus.runs()
    octopus.tells(Effect.ENDED)
    clock.advance(seconds(10))

    octopus.runs()

    place = board.place("ServerTasks-1")
    assert (place.state, place.run["run"]) == ("observed", 2)


@pytest.mark.parametrize(("cause", "number"), [("reconciled", 2), ("step", 1)])
def test_who_asks_again_after_its_task_was_found_ended_is_another_run(board, cause, number):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    board.release("ServerTasks-1", cause=cause)

    assert board.join(Run("ServerTasks-1"), {"Machines-7"}).run["run"] == number


def test_late_start_after_a_reconciled_end_leaves_nothing_held(board, clock, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1", cause="reconciled")

    assert octopus.tells(Effect.STARTED, ago=seconds(61)) == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_re_run_after_a_reconciled_end_is_observed(board, clock, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1", cause="reconciled")
    clock.advance(seconds(60))

    assert octopus.tells(Effect.STARTED) == "unresolved"

    assert board.place("ServerTasks-1").run["run"] == 2


def test_end_seen_after_a_reconciled_end_lets_a_quick_re_run_be_observed(board, clock, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    clock.advance(seconds(60))
    board.release("ServerTasks-1", cause="reconciled")
    octopus.tells(Effect.ENDED, ago=seconds(30))

    assert octopus.tells(Effect.STARTED, ago=seconds(20)) == "unresolved"


def test_unknown_category_is_kept_in_the_timeline_and_changes_nothing(board, timeline, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.OTHER, category="DeploymentFrozen") == "ignored"

    assert board.place("ServerTasks-1").is_granted
    [record] = timeline.read(Filter(kind="event"))
    assert record.detail["category"] == "DeploymentFrozen"


def test_event_without_a_task_is_linked_by_its_deployment(board, octopus):
    board.join(Run("ServerTasks-1", {"deployment_id": "Deployments-51"}), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, None, deployment_id="deployments-51") == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_event_that_cannot_be_linked_is_not_remembered(board, octopus):
    event = octopus.event(Effect.ENDED, None, deployment_id="Deployments-51")
    assert [board.deliver(event), board.deliver(event)] == ["unlinked", "unlinked"]

    board.join(Run("ServerTasks-1", {"deployment_id": "Deployments-51"}), {"Machines-7"})

    assert board.deliver(event) == "applied"


# Rule 8: observed runs


def test_started_run_holds_nothing_until_its_machines_are_known(board, octopus):
    octopus.tells(Effect.STARTED, "ServerTasks-900")

    assert board.place("ServerTasks-900").state == "started"
    assert board.join(Run("ServerTasks-1"), {"Machines-7"}).is_granted


def test_observed_run_gives_up_its_hold_when_it_asks(board, a_run, octopus):
    octopus.runs("ServerTasks-900")
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    asked = board.join(Run("ServerTasks-900"), {"Machines-7"})

    assert board.place(waiter.task_id).is_granted
    assert (asked.state, asked.place) == ("waiting", 1)
    assert "seen running" in asked.reason


def test_observed_run_that_asks_for_other_machines_frees_the_first(board, a_run, octopus):
    octopus.runs("ServerTasks-900")
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    assert board.join(Run("ServerTasks-900"), {"Machines-8"}).is_granted

    assert board.place(waiter.task_id).is_granted


def test_overlap_that_nobody_could_prevent_is_recorded(board, timeline, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    octopus.runs("ServerTasks-900")

    [record] = timeline.read(Filter(kind="overlapped"))
    assert (record.task_id, record.machines, record.detail["with"]) == (
        "ServerTasks-900", ("Machines-7",), "ServerTasks-1",
    )  # fmt: skip


def test_run_that_was_there_before_a_reservation_is_no_overlap(board, timeline, octopus):
    board.reserve("Machines-7", note="new disk", by="ann")

    octopus.runs("ServerTasks-900")

    assert kinds(timeline) == ["reserved", "event", "observed"]


def test_machine_stays_busy_until_both_of_an_overlap_have_ended(board, a_run, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    octopus.runs("ServerTasks-900")
    waiter = a_run(task_id="ServerTasks-2")
    board.join(waiter, {"Machines-7"})

    board.release("ServerTasks-1")
    assert board.place(waiter.task_id).is_waiting
    octopus.tells(Effect.ENDED, "ServerTasks-900")

    assert board.place(waiter.task_id).is_granted


def test_resolving_is_late_when_the_run_holds_a_lease_by_now(board, octopus):
    octopus.tells(Effect.STARTED)
    board.join(Run("ServerTasks-1"), {"Machines-8"})

    assert board.observe("ServerTasks-1", WEB, info={}) == "late"
    assert board.join(Run("ServerTasks-2"), {"Machines-7"}).is_granted


def test_run_without_machines_is_observed_and_ends(board, octopus):
    octopus.runs(machines=[])

    octopus.tells(Effect.ENDED)

    assert board.place("ServerTasks-1").state == "ended"


# Rule 9: paused is busy


def test_paused_holder_keeps_its_machines(board, a_run, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.PAUSED) == "applied"

    place = board.join(Run("ServerTasks-2"), {"Machines-7"})
    assert place.is_waiting
    assert "is paused on it" in place.message


def test_resumed_holder_is_no_longer_shown_as_paused(board, octopus, clock):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    clock.advance(seconds(5))
    octopus.tells(Effect.RESUMED)

    assert "has held it" in board.join(Run("ServerTasks-2"), {"Machines-7"}).message


@pytest.fixture
def yielding(make_board):
    board = make_board(Policy(paused_holds=False))
    return board, Octopus(board, Clock(board)), Clock(board)


def test_paused_holder_gives_way_where_the_setting_says_so(yielding):
    board, octopus, _ = yielding
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    board.join(Run("ServerTasks-2"), {"Machines-7"})

    octopus.tells(Effect.PAUSED)

    assert "give way" in board.place("ServerTasks-1").reason
    assert board.place("ServerTasks-2").is_granted


def test_run_that_gave_way_is_observed_when_it_resumes(yielding):
    board, octopus, clock = yielding
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    clock.advance(minutes(5))

    assert octopus.tells(Effect.RESUMED) == "applied"

    assert board.place("ServerTasks-1").state == "observed"
    assert board.join(Run("ServerTasks-2"), {"Machines-7"}).is_waiting


def test_resuming_into_the_lease_of_another_is_an_overlap(yielding, timeline):
    board, octopus, clock = yielding
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    board.join(Run("ServerTasks-2"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    assert board.poll("ServerTasks-2").is_granted
    clock.advance(minutes(5))

    octopus.tells(Effect.RESUMED)

    [record] = timeline.read(Filter(kind="overlapped"))
    assert record.detail["with"] == "ServerTasks-2"


def test_pause_that_arrives_after_its_resumption_takes_nothing_away(yielding):
    board, octopus, clock = yielding
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    clock.advance(minutes(5))
    octopus.tells(Effect.RESUMED, ago=seconds(1))

    assert octopus.tells(Effect.PAUSED, ago=seconds(60)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_pause_of_an_earlier_run_takes_nothing_away(yielding):
    board, octopus, clock = yielding
    octopus.tells(Effect.ENDED, ago=seconds(60))
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.PAUSED, ago=seconds(90)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_resumption_that_arrives_after_the_end_leaves_nothing_held(yielding):
    board, octopus, clock = yielding
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.PAUSED)
    clock.advance(minutes(5))
    octopus.tells(Effect.ENDED)

    octopus.tells(Effect.RESUMED, ago=seconds(60))

    assert board.join(Run("ServerTasks-2"), {"Machines-7"}).is_granted


# Rule 13: reservations


def test_reserved_machine_is_granted_to_nobody_new(board, a_run):
    board.reserve("Machines-7", note="new disk", by="ann")

    place = board.join(a_run(), {"Machines-7", "Machines-8"})

    assert place.is_waiting
    assert holders(board, place.task_id) == [("reservation", None)]
    assert "a reservation by ann (new disk)" in place.message


def test_running_work_goes_on_under_a_reservation(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})

    board.reserve("MACHINES-7", note="new disk", by="ann")
    assert board.place(holder.task_id).is_granted
    board.release(holder.task_id)

    assert board.place(waiter.task_id).is_waiting


def test_end_of_a_reservation_grants_the_next(board, a_run):
    board.reserve("Machines-7", note="new disk", by="ann")
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    assert board.unreserve("machines-7", by="ann")

    assert board.place(waiter.task_id).is_granted
    assert not board.unreserve("Machines-7", by="ann")


def test_reservation_ends_by_itself(board, clock, a_run):
    board.reserve("Machines-7", note="new disk", by="ann", until_ms=clock.now_ms + 60_000)
    waiter = a_run()
    board.join(waiter, {"Machines-7"}, ttl=minutes(60))

    clock.advance(seconds(59))
    assert board.poll(waiter.task_id).is_waiting
    clock.advance(seconds(2))

    assert board.poll(waiter.task_id).is_granted


def test_reservation_that_was_ended_by_hand_is_due_no_more(board, clock):
    board.reserve("Machines-7", note="new disk", by="ann", until_ms=clock.now_ms + 60_000)
    board.unreserve("Machines-7", by="ann")

    clock.advance(minutes(2))

    assert not board.sweep().more


def test_reserving_again_changes_the_end(board, clock, a_run):
    first = board.reserve("Machines-7", note="new disk", by="ann", until_ms=clock.now_ms + 60_000)
    clock.advance(seconds(10))
    second = board.reserve("machines-7", note="newer disk", by="bob")

    clock.advance(minutes(10))

    assert (second["since_ms"], second["id"]) == (first["since_ms"], "Machines-7")
    assert board.join(a_run(), {"Machines-7"}).is_waiting


def test_reservation_that_would_have_ended_is_refused(board, clock, a_run):
    with pytest.raises(InThePast):
        board.reserve("Machines-7", note="new disk", by="ann", until_ms=clock.now_ms - 1)

    assert board.join(a_run(), {"Machines-7"}).is_granted


def test_dead_waiter_is_not_granted_when_a_reservation_ends_first(board, clock, a_run):
    board.reserve("Machines-7", note="new disk", by="ann", until_ms=clock.now_ms + 30_000)
    dead, alive = a_run(), a_run()
    board.join(dead, {"Machines-7"}, ttl=minutes(1))
    board.join(alive, {"Machines-7"}, ttl=minutes(60))

    clock.advance(minutes(2))
    board.sweep()

    assert board.place(dead.task_id).state == "expired"
    assert board.place(alive.task_id).is_granted


# Rule 16: every change is one record


def test_every_change_writes_exactly_one_record(board, timeline, clock, octopus):
    def grown(change):
        before = len(kinds(timeline))
        change()
        return kinds(timeline)[before:]

    one, two = Run("ServerTasks-1"), Run("ServerTasks-2")
    assert grown(lambda: board.join(one, {"Machines-7", "Machines-8"})) == ["joined", "granted"]
    assert grown(lambda: board.join(two, {"Machines-7"}, ttl=minutes(1))) == ["joined"]
    assert grown(lambda: board.prioritize("ServerTasks-2", 3, by="ann", reason="x")) == ["prioritized"]
    assert grown(lambda: board.reserve("Machines-9", note="x", by="ann")) == ["reserved"]
    assert grown(lambda: board.unreserve("Machines-9", by="ann")) == ["unreserved"]
    assert grown(lambda: octopus.tells(Effect.STARTED, "ServerTasks-900")) == ["event"]
    assert grown(lambda: board.observe("ServerTasks-900", WEB, info={})) == ["observed", "overlapped"]
    assert grown(lambda: octopus.tells(Effect.ENDED, "ServerTasks-900")) == ["event", "ended"]
    assert grown(lambda: board.release("ServerTasks-1")) == ["released", "granted"]
    clock.advance(minutes(2))
    assert grown(board.sweep) == ["expired"]


def test_what_changes_nothing_writes_nothing(board, timeline, octopus, a_run):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    board.join(Run("ServerTasks-2"), {"Machines-7"})
    event = octopus.event(Effect.OTHER)
    board.deliver(event)
    before = kinds(timeline)

    board.join(Run("ServerTasks-2"), {"Machines-7"})
    board.poll("ServerTasks-2")
    board.place("ServerTasks-1")
    board.release("ServerTasks-404")
    board.unreserve("Machines-7", by="ann")
    board.deliver(event)
    board.sweep()

    assert kinds(timeline) == before


def test_records_carry_ids_cause_and_durations(board, timeline, clock):
    info = {"project": {"id": "Projects-7"}, "environment": {"id": "Environments-2"}}
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    board.join(Run("ServerTasks-2", info), {"Machines-7"})
    clock.advance(seconds(50))

    board.release("ServerTasks-1")

    [granted] = timeline.read(Filter(kind="granted", task_id="ServerTasks-2"))
    assert (granted.project_id, granted.environment_id, granted.machines) == (
        "Projects-7", "Environments-2", ("Machines-7",),
    )  # fmt: skip
    assert 50_000 <= granted.detail["waited_ms"] < 60_000
    assert granted.detail["token"] == board.place("ServerTasks-2").fencing_token


# Rule 17: one clock


def test_end_within_the_tolerance_before_the_request_counts(board, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=seconds(4)) == "applied"

    assert board.place("ServerTasks-1").state == "released"


def test_end_before_the_request_by_more_than_the_tolerance_is_of_an_earlier_run(board, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=seconds(6)) == "ignored"

    assert board.place("ServerTasks-1").is_granted


def test_timeline_does_not_go_back_when_the_clock_does(board, timeline, clock, a_run):
    board.join(a_run(), {"Machines-7"})
    clock.advance(-minutes(10))

    board.join(a_run(), {"Machines-7"})

    records = list(timeline.read(Filter()))
    assert [record.kind for record in records] == ["joined", "granted", "joined"]
    assert len({record.id for record in records}) == 3


# Wakes


def test_wake_list_has_the_new_state_once(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    assert not board.client.exists(board.keys.wake(waiter.task_id))

    board.release(holder.task_id)

    assert board.client.lrange(board.keys.wake(waiter.task_id), 0, -1) == [b"granted"]
    assert 0 < board.client.pttl(board.keys.wake(waiter.task_id)) <= 60_000


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (lambda board, clock: board.release("ServerTasks-2"), b"left"),
        (lambda board, clock: (clock.advance(minutes(2)), board.sweep()), b"expired"),
    ],
)
def test_wake_list_tells_of_every_end_of_a_wait(board, clock, end, word):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    board.join(Run("ServerTasks-2"), {"Machines-7"}, ttl=minutes(1))

    end(board, clock)

    assert board.client.lrange(board.keys.wake("ServerTasks-2"), 0, -1) == [word]


def test_grant_is_published(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    with board.client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(board.keys.wakes)
        subscription.get_message(timeout=5)

        board.release(holder.task_id)

        assert subscription.get_message(timeout=5)["data"] == waiter.task_id.lower().encode()


def test_old_wake_does_not_wake_who_joins_again(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    board.release(waiter.task_id)

    board.join(waiter, {"Machines-7"})

    assert not board.client.exists(board.keys.wake(waiter.task_id))


def test_waiting_returns_at_once_when_the_wake_came_before(board, a_run):
    holder, waiter = a_run(), a_run()
    board.join(holder, {"Machines-7"})
    board.join(waiter, {"Machines-7"})
    board.release(holder.task_id)

    place = board.wait(waiter.task_id, timeout=minutes(1))

    assert place.is_granted
    assert place.run["collected"]


def test_waiting_returns_a_waiter_when_its_time_is_over(board, a_run):
    board.join(a_run(), {"Machines-7"})
    waiter = a_run()
    board.join(waiter, {"Machines-7"})

    assert board.wait(waiter.task_id, timeout=timedelta(milliseconds=30)).is_waiting
    assert board.wait("ServerTasks-404", timeout=timedelta(0)) is None


# Retention


def test_run_that_ended_before_the_retention_is_forgotten(board, clock, octopus):
    board.join(Run("ServerTasks-1", {"deployment_id": "Deployments-51"}), {"Machines-7"})
    board.release("ServerTasks-1")

    clock.advance(timedelta(days=91))
    board.sweep()

    assert board.place("ServerTasks-1") is None
    assert octopus.tells(Effect.ENDED, None, deployment_id="Deployments-51") == "unlinked"


def test_run_that_still_holds_is_not_forgotten(board, clock, octopus):
    board.join(Run("ServerTasks-1"), {"Machines-7"})
    octopus.tells(Effect.QUEUED, "ServerTasks-2")
    octopus.runs("ServerTasks-2", [{"id": "Machines-8"}])

    clock.advance(timedelta(days=91))
    board.sweep()

    assert board.place("ServerTasks-1").is_granted
    assert board.place("ServerTasks-2").state == "observed"


def test_event_ids_are_remembered_for_as_long_as_the_retention(board, clock, octopus):
    event = octopus.event(Effect.OTHER)
    board.deliver(event)

    clock.advance(timedelta(days=89))
    board.sweep()
    assert board.deliver(event) == "duplicate"
    clock.advance(timedelta(days=2))
    board.sweep()

    assert not board.client.exists(board.keys.events)


@pytest.mark.parametrize("effect", [Effect.QUEUED, Effect.PAUSED, Effect.OTHER])
def test_run_that_never_started_is_forgotten_too(board, clock, octopus, effect):
    octopus.tells(effect)

    clock.advance(timedelta(days=91))
    board.sweep()

    assert board.place("ServerTasks-1") is None
    assert not board.client.exists(board.keys.index("run", "ServerTasks-1"))


def test_an_end_that_was_found_out_about_an_earlier_request_changes_nothing(board, clock, a_run):
    run = a_run()
    seen = board.join(run, {"Machines-7"})
    clock.advance(seconds(1))
    board.join(run, {"Machines-7"})

    assert board.release(run.task_id, cause="reconciled", seen=seen) == "nothing"
    assert board.release(run.task_id, cause="reconciled", seen=board.place(run.task_id)) == "released"


def test_a_second_event_of_the_end_that_was_owed_does_not_end_the_next_run(board, octopus, clock, a_run):
    run, other = a_run(), a_run()
    board.join(run, {"Machines-7"})
    board.release(run.task_id)
    clock.advance(seconds(3))
    board.join(run, {"Machines-7"})
    board.join(other, {"Machines-7"})

    first = octopus.tells(Effect.ENDED, run.task_id, ago=seconds(2))
    second = octopus.tells(Effect.ENDED, run.task_id, ago=timedelta(seconds=1.9))

    assert (first, second) == ("ignored", "ignored")
    assert board.place(run.task_id).is_granted
    assert board.place(other.task_id).is_waiting


def test_a_second_event_of_an_end_that_was_seen_does_not_end_the_next_run(board, octopus, clock, a_run):
    run, other = a_run(), a_run()
    board.join(run, {"Machines-7"})
    clock.advance(seconds(100))
    octopus.tells(Effect.ENDED, run.task_id)
    clock.advance(seconds(3))
    board.join(run, {"Machines-7"})
    board.join(other, {"Machines-7"})

    assert octopus.tells(Effect.ENDED, run.task_id, ago=seconds(3)) == "ignored"
    assert board.place(run.task_id).is_granted
    assert board.place(other.task_id).is_waiting


def test_a_resume_after_the_release_begins_no_new_run(board, octopus, clock, a_run):
    run, other = a_run(), a_run()
    octopus.tells(Effect.STARTED, run.task_id)
    board.join(run, {"Machines-7"})
    board.release(run.task_id)
    clock.advance(seconds(60))

    assert octopus.tells(Effect.RESUMED, run.task_id) == "ignored"
    assert board.observe(run.task_id, WEB, info={}) == "late"
    assert board.join(other, {"Machines-7"}).is_granted


def test_a_run_paused_before_its_machines_are_known_gives_way_where_paused_runs_do(make_board):
    board = make_board(Policy(paused_holds=False))
    octopus = Octopus(board, Clock(board))
    octopus.tells(Effect.STARTED, ago=seconds(2))
    octopus.tells(Effect.PAUSED, ago=seconds(1))

    assert board.observe("ServerTasks-1", WEB, info={}) == "late"
    assert board.place("ServerTasks-1").state == "ended"
    assert octopus.tells(Effect.RESUMED) == "applied"
    assert board.place("ServerTasks-1").state == "observed"


def test_a_resume_from_before_the_pause_changes_nothing(board, clock, octopus):
    octopus.runs()
    clock.advance(seconds(10))
    octopus.tells(Effect.PAUSED, ago=seconds(1))

    assert octopus.tells(Effect.RESUMED, ago=seconds(2)) == "ignored"
    assert board.place("ServerTasks-1").run["paused"]


def test_an_event_of_the_far_future_is_not_believed(board, octopus):
    assert octopus.tells(Effect.STARTED, ago=-timedelta(days=2)) == "implausible"
    assert board.place("ServerTasks-1") is None
