"""Blocked requests of a process that stops are let go in their order, some at a time."""

import pytest

from app.coordination.wakes import LET_GO_AT_ONCE, MOST_LET_GO_SECONDS, Wakes
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
