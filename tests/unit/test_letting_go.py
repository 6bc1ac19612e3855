"""Blocked requests of a process that stops are let go in their order, some at a time."""

import pytest

from app.coordination.wakes import LET_GO_AT_ONCE, MOST_LET_GO_SECONDS, MOST_REMEMBERED, REMEMBERED_SECONDS, Wakes
from app.store.keys import Keys


class Sleeper:
    def __init__(self):
        self.wakes = 0

    def wake(self):
        self.wakes += 1


@pytest.mark.parametrize("count", [0, 1, LET_GO_AT_ONCE, 3 * LET_GO_AT_ONCE + 7, 20_000])
def test_who_blocks_is_let_go_some_at_a_time(count):
    wakes = Wakes(None, Keys("test"))
    sleepers = [Sleeper() for _ in range(count)]
    for number, sleeper in enumerate(sleepers):
        wakes.add(f"servertasks-{number}", sleeper)
    pauses = []

    def rest(seconds):
        pauses.append(seconds)
        let_go = len(pauses) * LET_GO_AT_ONCE
        assert sleepers[let_go - 1].wakes == 1
        assert not any(sleeper.wakes for sleeper in sleepers[let_go : let_go + 1])

    wakes.close(rest)

    assert len(pauses) == count // LET_GO_AT_ONCE and sum(pauses) <= MOST_LET_GO_SECONDS
    assert wakes.is_closed and all(sleeper.wakes == 1 for sleeper in sleepers)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("seconds", [0, 4.9, 9.9, 15.1, 1000])
def test_a_wake_is_remembered_for_who_blocks_a_moment_later(seconds):
    clock = Clock()
    wakes = Wakes(None, Keys("test"), now=clock)
    for _ in range(3):  # Wherever in the time for which it is remembered it comes.
        wakes._wake("servertasks-1")
        clock.now += 1
    clock.now += seconds - 1

    assert wakes.has_woken("servertasks-1") or seconds >= REMEMBERED_SECONDS
    assert not wakes.has_woken("servertasks-1") or seconds <= 2 * REMEMBERED_SECONDS
    assert not wakes.has_woken("servertasks-2")


def test_no_more_wakes_are_remembered_than_there_is_room_for():
    wakes = Wakes(None, Keys("test"), now=Clock())
    for number in range(MOST_REMEMBERED + 1):
        wakes._wake(f"servertasks-{number}")

    assert len(wakes._woken) <= MOST_REMEMBERED and wakes.has_woken("servertasks-0")


def test_nobody_knows_what_was_missed_while_nobody_listened():
    clock = Clock()
    wakes = Wakes(None, Keys("test"), now=clock)
    wakes._note_gap()
    assert not wakes.has_woken("servertasks-1")

    wakes._note_gap()

    assert wakes.has_woken("servertasks-1")
    clock.now += REMEMBERED_SECONDS
    assert not wakes.has_woken("servertasks-1")


def test_who_has_gone_is_woken_no_more():
    wakes = Wakes(None, Keys("test"))
    gone, stays = Sleeper(), Sleeper()
    for sleeper in (gone, stays):
        wakes.add("servertasks-1", sleeper)
    wakes.remove("servertasks-1", gone)
    wakes.wake_all()

    assert (gone.wakes, stays.wakes, len(wakes)) == (0, 1, 1)
    wakes.remove("servertasks-1", stays)
    assert len(wakes) == 0
