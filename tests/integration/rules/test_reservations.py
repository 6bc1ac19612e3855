"""Rule 13: an operator can reserve a machine."""

import pytest

from app.domain.errors import InThePast
from tests.integration.rules.helpers import holders, minutes, seconds


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
