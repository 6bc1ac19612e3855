"""The snapshot that readers share: it is as good as one of their own, and costs what has changed."""

import json
import sys
from collections import Counter
from dataclasses import replace

import pytest

from app.coordination.snapshot import SharedSnapshot, take
from app.coordination.snapshot import shared as module
from app.coordination.snapshot.copy import IN_A_TURN, ROWS_IN_A_TURN
from app.domain.run import TaskEnd
from tests.bench.world import calls_of
from tests.integration.snapshots import assert_same

HOLDERS, WAITERS = 60, 3


@pytest.fixture
def shared(board, clock):
    return SharedSnapshot(board.client, board.keys, lambda: board.script.offset_ms)


def commands(board, do):
    """How many commands Redis executes for *do*, by name."""
    before = {name: stats["calls"] for name, stats in board.client.info("commandstats").items()}
    do()
    after = {name: stats["calls"] for name, stats in board.client.info("commandstats").items()}
    counts = {name.removeprefix("cmdstat_"): after[name] - before.get(name, 0) for name in after}
    return {name: count for name, count in counts.items() if count and name not in ("info", "multi", "exec")}


def a_fleet(board, a_run):
    """Machines that are held, each with a line."""
    holders = [board.join(a_run(), {f"Machines-{n}"}) for n in range(HOLDERS)]
    for n in range(HOLDERS):
        for _ in range(WAITERS):
            board.join(a_run(), {f"Machines-{n}"})
    return holders


def test_the_whole_board_is_read_once(board, shared, a_run):
    a_fleet(board, a_run)
    shared.now()

    counts = commands(board, shared.now)

    assert counts == {"time": 1, "hmget": 1, "xrange": 1, "zrange": 1, "hlen": 1}


def test_a_change_is_read_at_its_machines_only(board, shared, a_run):
    holders = a_fleet(board, a_run)
    shared.now()
    board.release(holders[7].task_id)

    counts = commands(board, shared.now)

    assert counts["zrangebylex"] == 2  # The holders and the line of one machine.
    assert "hgetall" not in counts and counts["hmget"] <= 6
    assert_same(shared.now(), take(board.client, board.keys))


def calls(do):
    """How many functions Python calls for *do*, its own and those of libraries in C."""
    counts = Counter()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: counts.update([event]))
    try:
        do()
    finally:
        sys.setprofile(before)
    return counts["call"] + counts["c_call"]


def test_a_change_costs_no_more_with_many_machines_than_with_few(board, shared, a_run):
    def read():
        snapshot = shared.now()
        return snapshot.tally, snapshot.machine("Machines-0"), snapshot.queue[:15]

    def cost_of_a_change():
        run = board.join(a_run(), {"Machines-0"})
        read()
        board.release(run.task_id)
        return calls(read)

    a_fleet(board, a_run)
    cost_of_a_change()
    few = cost_of_a_change()
    for n in range(HOLDERS, 5 * HOLDERS):
        board.join(a_run(), {f"Machines-{n}"})
        board.join(a_run(), {f"Machines-{n}"})
    read()
    many = cost_of_a_change()

    # To look at each of the others would take a call a machine at least.
    assert many - few < HOLDERS


def test_the_machines_are_counted_once_while_nothing_changes(board, shared, a_run):
    holders = a_fleet(board, a_run)
    tally = shared.now().tally

    assert shared.now().tally is tally

    board.release(board.join(a_run(), {"Machines-free"}).task_id)
    changed = shared.now()
    assert changed.tally == replace(tally, idle=1)
    board.release(holders[0].task_id)
    assert shared.now().tally.longest_wait == min(
        (run.requested_at_ms, run.task_id) for run in waiters_of(shared.now())
    )
    assert changed.tally.longest_wait != shared.now().tally.longest_wait


def waiters_of(snapshot):
    """All who wait in the lines of *snapshot*."""
    return [waiter for machine in snapshot.machines for waiter in machine.line]


def test_readers_at_the_same_time_share_one_reading(board, shared, a_run):
    a_run_waits = board.join(a_run(), {"Machines-1"})
    first = shared.now()

    # Who has asked before the last reading began is answered with it.
    shared._begun_at = float("inf")
    board.release(a_run_waits.task_id)

    assert commands(board, lambda: shared.now() is first) == {}


def test_a_machine_alone_costs_what_is_there(board, shared, a_run):
    a_fleet(board, a_run)

    counts = commands(board, lambda: shared.machines_alone(["machines-7", "Machines-unknown"]))

    assert counts == {"time": 1, "hmget": 4, "zrangebylex": 4}
    alone = shared.machines_alone(["MACHINES-7"])
    assert alone.machines == (take(board.client, board.keys).machine("Machines-7"),)


def names(board, run):
    board.name(run.task_id, {"project": {"id": "Projects-1", "name": "Web shop"}}, [])


def machine_names(board, run):
    board.name(run.task_id, {}, [{"id": "Machines-1", "name": "web-01"}])


def a_child(board, run):
    # The first child makes a family of its parent, whose record is not written for that.
    board.join(replace(run, task_id="ServerTasks-90", on_behalf_of=run.task_id), {"Machines-1"})


def parking(board, run):
    board.join(replace(run, task_id="ServerTasks-91"), {"Machines-1"})
    yield
    board.join(replace(run, task_id="ServerTasks-91", parked=True), {"Machines-1"})


def reservation(board, run):
    board.reserve("Machines-2", note="disk", by="ann")
    yield
    board.unreserve("Machines-2", by="ann")


def forced(board, run):
    board.release(run.task_id, cause="forced", by="ann", reason="it hangs")


def reconciled(board, run):
    board.release(run.task_id, cause="reconciled", ended=TaskEnd("failed", None))


def closing(board, run):
    board.close(by="ann", reason="a test")
    yield
    board.open("operator")


def lost(board, run):
    """Redis is empty of a sudden, and somebody else is there."""
    board.lose_all()
    yield
    board.open("test")
    board.join(replace(run, task_id="ServerTasks-92"), {"Machines-9"})


@pytest.mark.parametrize(
    "change", [names, machine_names, a_child, parking, reservation, forced, reconciled, closing, lost]
)
def test_a_change_is_seen_by_the_next_reader(board, shared, a_run, change):
    run = replace(a_run(), info={"project": {"id": "Projects-1"}})
    board.join(run, {"Machines-1"})
    board.join(a_run(), {"Machines-1", "Machines-2"})
    shared.now()

    for _ in change(board, run) or ():
        assert_same(shared.now(), take(board.client, board.keys))

    assert_same(shared.now(), take(board.client, board.keys))


def test_many_changes_are_seen_at_once(board, shared, a_run):
    shared.now()
    for n in range(module.MOST_CHANGES):
        board.join(a_run(), {f"Machines-{n % 7}"})

    assert_same(shared.now(), take(board.client, board.keys))


def test_what_nobody_reads_is_given_up(board, shared, a_run, monkeypatch):
    board.join(a_run(), {"Machines-1"})
    shared.now()
    monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)

    shared.forget_if_idle()

    assert "hgetall" in commands(board, shared.now)
    assert calls_of(board.client, "hgetall")


def test_reading_the_whole_board_gives_turns(board, shared, monkeypatch):
    turns = []
    monkeypatch.setattr("app.store.fairness.time.sleep", turns.append)
    count = 3 * ROWS_IN_A_TURN
    board.client.hset(
        board.keys.machines, mapping={f"machines-{n}": json.dumps({"id": f"Machines-{n}"}) for n in range(count)}
    )
    shared.now()

    # Rows are made, and taken; then machines are made of them and sorted.
    assert len(turns) >= 3 + 2 + count // IN_A_TURN


def test_where_very_many_machines_changed_the_whole_board_is_read(board, shared, a_run, monkeypatch):
    monkeypatch.setattr(module, "MOST_MACHINES", HOLDERS // 2)
    a_fleet(board, a_run)
    shared.now()
    board.join(a_run(), {f"Machines-{n}" for n in range(HOLDERS)})

    assert "zrangebylex" not in commands(board, shared.now)
    assert_same(shared.now(), take(board.client, board.keys, offset_ms=board.script.offset_ms))
