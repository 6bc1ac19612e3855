"""Rule 5: a dead waiter leaves the line."""

from tests.integration.rules.helpers import kinds, minutes, seconds


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
