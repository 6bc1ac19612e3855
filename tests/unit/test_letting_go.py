"""Blocked requests of a process that stops are let go in their order, some at a time."""

import pytest

from app.coordination.wakes import LET_GO_AT_ONCE, MOST_LET_GO_SECONDS, Wakes
from app.store.keys import Keys


@pytest.mark.parametrize("count", [0, 1, LET_GO_AT_ONCE, 3 * LET_GO_AT_ONCE + 7, 20_000])
def test_who_blocks_is_let_go_some_at_a_time(count):
    wakes = Wakes(None, Keys("test"))
    sleepers = [wakes.sleeper(f"ServerTasks-{n}") for n in range(count)]
    for sleeper in sleepers:
        sleeper.__enter__()
    pauses = []

    def rest(seconds):
        pauses.append(seconds)
        let_go = len(pauses) * LET_GO_AT_ONCE
        assert sleepers[let_go - 1].sleep(0)
        assert not any(sleeper.sleep(0) for sleeper in sleepers[let_go : let_go + 1])

    wakes.close(rest)

    assert len(pauses) == count // LET_GO_AT_ONCE and sum(pauses) <= MOST_LET_GO_SECONDS
    assert all(sleeper.sleep(0) for sleeper in sleepers[len(pauses) * LET_GO_AT_ONCE :])


def test_who_is_woken_twice_is_woken_once():
    wakes = Wakes(None, Keys("test"))
    with wakes.sleeper("ServerTasks-1") as sleeper:
        wakes.close()
        wakes.close()

        assert sleeper.sleep(0) and not sleeper.sleep(0) and len(wakes) == 1
    assert len(wakes) == 0
