"""Who waited for whom, by the rule that app/domain/analysis/attribution.py states."""

import json
from dataclasses import dataclass, field

import pytest

from app.domain.analysis.replay import Hold, Replay, Wait


@dataclass(frozen=True)
class Told:
    """A record as the timeline has it."""

    at_ms: int
    kind: str
    task_id: str | None = None
    machines: tuple[str, ...] = ("Machines-7",)
    project_id: str | None = None
    environment_id: str | None = None
    cause: str | None = None
    detail: dict = field(default_factory=dict)
    run: int = 1


def of(number, at_ms, kind, *machines, cause=None, **detail):
    machines = tuple(f"Machines-{machine}" for machine in machines) or ("Machines-7",)
    return Told(at_ms, kind, f"ServerTasks-{number}", machines, f"Projects-{number}", "Environments-1", cause, detail)


def replayed(*records, from_ms=0, to_ms=None):
    """The waits by task number, and the holds."""
    replay = Replay(from_ms=from_ms)
    told = [ended for ended in map(replay.apply, records) if ended]
    told += replay.waiting(to_ms) if to_ms is not None else []
    waits = {int(t.task_id.split("-")[1]): t for t in told if isinstance(t, Wait)}
    return waits, [t for t in told if isinstance(t, Hold)]


def in_the_way(wait):
    """``(ms, reason, who)`` of each stretch."""
    return [(s.to_ms - s.from_ms, str(s.reason), s.task_id or s.machine_id) for s in wait.stretches]


def test_the_holder_counts_and_then_who_holds_next():
    waits, holds = replayed(
        of(1, 0, "joined"), of(1, 0, "granted"), of(2, 5, "joined"), of(3, 6, "joined"),
        of(1, 20, "released"), of(2, 20, "granted"), of(2, 50, "released"), of(3, 50, "granted"),
    )  # fmt: skip

    assert in_the_way(waits[3]) == [(14, "holder", "ServerTasks-1"), (30, "holder", "ServerTasks-2")]
    assert (waits[3].stretches[0].project_id, waits[3].stretches[0].machine_id) == ("Projects-1", "Machines-7")
    assert [(h.task_id, h.held_ms, h.waited_ms) for h in holds] == [("ServerTasks-1", 20, 0), ("ServerTasks-2", 30, 15)]


def test_of_several_holders_the_longest_counts_until_it_goes():
    waits, _ = replayed(
        of(1, 0, "joined", 7), of(1, 0, "granted", 7), of(2, 3, "joined", 8), of(2, 3, "granted", 8),
        of(3, 10, "joined", 7, 8), of(1, 15, "released", 7), of(2, 40, "released", 8), of(3, 40, "granted", 7, 8),
    )  # fmt: skip

    assert in_the_way(waits[3]) == [(5, "holder", "ServerTasks-1"), (25, "holder", "ServerTasks-2")]


def test_who_is_ahead_counts_only_where_nobody_holds():
    waits, _ = replayed(
        of(1, 0, "joined", 8), of(1, 0, "granted", 8), of(2, 1, "joined", 7, 8), of(3, 2, "joined", 7),
        of(1, 30, "released", 8), of(2, 30, "granted", 7, 8), of(2, 45, "released", 7, 8), of(3, 45, "granted", 7),
    )  # fmt: skip

    assert in_the_way(waits[3]) == [(28, "ahead", "ServerTasks-2"), (15, "holder", "ServerTasks-2")]


def test_a_higher_priority_comes_ahead_and_a_move_changes_who_does():
    waits, _ = replayed(
        of(1, 0, "joined", 8), of(1, 0, "granted", 8), of(2, 1, "joined", 7, 8), of(3, 2, "joined", 7, 8),
        of(4, 3, "joined", 7), of(3, 10, "prioritized", 7, 8, to=5), of(4, 20, "prioritized", 7, to=9),
        of(4, 20, "granted", 7),
    )  # fmt: skip

    assert in_the_way(waits[4]) == [(7, "ahead", "ServerTasks-2"), (10, "ahead", "ServerTasks-3")]


def test_a_reservation_counts_from_when_nobody_older_holds():
    reserved = Told(5, "reserved", detail={"note": "disk", "by": "ann"})
    waits, _ = replayed(
        of(1, 0, "joined"), of(1, 0, "granted"), reserved, of(2, 6, "joined"), of(1, 10, "released"),
        Told(12, "reserved", detail={"note": "disk swap", "by": "bob"}), Told(30, "unreserved"), of(2, 30, "granted"),
    )  # fmt: skip

    assert in_the_way(waits[2]) == [(4, "holder", "ServerTasks-1"), (20, "reservation", "Machines-7")]
    assert waits[2].stretches[1].note == "disk swap, by bob"


def test_a_closed_board_counts_whoever_holds():
    closed, opened = Told(10, "closed", machines=()), Told(25, "opened", machines=())
    waits, _ = replayed(
        of(1, 0, "joined"), of(1, 0, "granted"), of(2, 5, "joined"), closed, opened,
        of(1, 40, "released"), of(2, 40, "granted"),
    )  # fmt: skip

    assert in_the_way(waits[2]) == [
        (5, "holder", "ServerTasks-1"),
        (15, "rebuilding", None),
        (15, "holder", "ServerTasks-1"),
    ]


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_board_that_is_closed_for_another_cause_is_opened_once(is_loaded):
    """A roll call that not all answer: it is recorded, later that somebody is missing, and at the end one opening."""
    replay = Replay()
    for record in (Told(10, "closed", machines=()), Told(20, "closed", machines=()), Told(25, "opened", machines=())):
        replay.apply(record)
    if is_loaded:
        replay = Replay({**Replay().dump(), "closures": [[10, None], [20, 25]]})
    waits = [replay.apply(record) for record in (
        of(1, 26, "joined"), of(1, 26, "granted"), of(2, 30, "joined"), of(1, 40, "released"), of(2, 40, "granted"),
    )]  # fmt: skip

    assert replay.closures == [(10, 25)]
    assert in_the_way(waits[-1]) == [(10, "holder", "ServerTasks-1")]


def test_an_opened_board_has_the_order_that_its_record_tells():
    waits, _ = replayed(
        of(1, 0, "joined", 8), of(1, 0, "granted", 8), Told(1, "closed", machines=()),
        of(2, 2, "joined", 7, 8), of(3, 3, "joined", 7, 8), of(4, 4, "joined", 7),
        Told(10, "opened", machines=(), detail={"order": ["ServerTasks-3", "ServerTasks-2", "ServerTasks-4"]}),
        to_ms=15,
    )  # fmt: skip

    assert in_the_way(waits[4]) == [(6, "rebuilding", None), (5, "ahead", "ServerTasks-3")]


def test_a_run_whose_grant_is_withdrawn_stands_where_it_stood():
    waits, _ = replayed(
        of(1, 0, "joined", 8), of(1, 0, "granted", 8), of(2, 1, "joined", 8), of(3, 2, "joined", 8),
        of(1, 3, "released", 8), of(2, 3, "granted", 8), of(2, 10, "released", 8, cause="withdrawn"),
        of(2, 10, "joined", 8, withdrawn=True), to_ms=15,
    )  # fmt: skip

    assert in_the_way(waits[3]) == [(1, "holder", "ServerTasks-1"), (7, "holder", "ServerTasks-2"),
                                    (5, "ahead", "ServerTasks-2")]  # fmt: skip


def test_what_its_family_holds_is_not_in_its_way():
    child = {"family": 1, "on_behalf_of": "servertasks-1"}
    waits, holds = replayed(
        of(1, 0, "joined", 7), of(1, 0, "granted", 7), of(2, 0, "joined", 8), of(2, 0, "granted", 8),
        of(3, 5, "joined", 7, 8, **child), of(4, 6, "joined", 7), of(2, 20, "released", 8),
        of(3, 20, "granted", 7, 8, family=1), of(1, 30, "released", 7), of(3, 50, "released", 7, 8),
        of(4, 50, "granted", 7),
    )  # fmt: skip

    assert in_the_way(waits[3]) == [(15, "holder", "ServerTasks-2")]
    assert in_the_way(waits[4]) == [(24, "holder", "ServerTasks-1"), (20, "holder", "ServerTasks-3")]
    assert holds[-1].waited_ms == 15


@pytest.mark.parametrize(
    ("kind", "cause", "outcome"),
    [
        ("left", "step", "left"),
        ("expired", "silence", "expired"),
        ("timed_out", "timeout", "timed_out"),
        ("refused", "task_cap", "refused"),
        ("observed", "by_hand", "observed"),
        ("joined", None, "lost"),
    ],
)
def test_every_way_out_of_a_line_ends_the_wait(kind, cause, outcome):
    waits, _ = replayed(of(1, 0, "joined"), of(1, 0, "granted"), of(2, 5, "joined"), of(2, 9, kind, cause=cause))

    assert (waits[2].outcome, waits[2].cause, in_the_way(waits[2])) == (
        outcome,
        cause,
        [(4, "holder", "ServerTasks-1")],
    )


def test_a_run_without_a_lease_gives_its_machines_up_when_it_joins_others():
    waits, holds = replayed(
        of(1, 0, "observed", 7), of(2, 1, "joined", 7), of(1, 10, "joined", 8, cause="observed"),
        of(2, 10, "granted", 7), of(1, 10, "granted", 8),
    )  # fmt: skip

    assert in_the_way(waits[2]) == [(9, "holder", "ServerTasks-1")]
    assert [(h.task_id, h.outcome, h.waited_ms) for h in holds] == [("ServerTasks-1", "lost", None)]


def test_only_the_part_in_the_range_is_told_and_what_goes_on_is_told_too():
    waits, _ = replayed(
        of(1, 0, "joined"), of(1, 0, "granted"), of(2, 5, "joined"), of(3, 6, "joined"),
        of(1, 20, "released"), of(2, 20, "granted"), from_ms=10, to_ms=30,
    )  # fmt: skip

    assert (waits[2].waited_ms, waits[2].lost_ms) == (15, 10)
    assert in_the_way(waits[3]) == [(10, "holder", "ServerTasks-1"), (10, "holder", "ServerTasks-2")]
    assert waits[3].outcome == "waiting"


def test_what_is_older_than_the_record_has_nobody_in_its_way():
    waits, _ = replayed(of(1, 50, "granted", waited_ms=30))

    assert in_the_way(waits[1]) == [(30, "nobody", None)]


def test_a_state_goes_through_json_and_on():
    records = [
        of(1, 0, "joined", 7), of(1, 0, "granted", 7), of(2, 1, "joined", 7, 8, priority=3),
        of(3, 2, "joined", 7, family=4),
        Told(3, "reserved", machines=("Machines-8",), detail={"note": "disk", "by": "ann"}),
        Told(4, "closed", machines=()),
        Told(9, "opened", machines=()), of(1, 20, "released", 7), Told(30, "unreserved", machines=("Machines-8",)),
        of(2, 30, "granted", 7, 8),
    ]  # fmt: skip
    for cut in range(len(records)):
        first = Replay()
        for record in records[:cut]:
            first.apply(record)
        state = json.loads(json.dumps(first.dump()))
        begin = records[cut].at_ms
        on, whole = Replay(state, from_ms=begin), Replay(from_ms=begin)

        told_on = [on.apply(record) for record in records[cut:]]
        told_whole = [whole.apply(record) for record in records][cut:]

        assert told_on == told_whole
        assert list(on.waiting(40)) == list(whole.waiting(40))


def test_parents_of_whom_nothing_more_is_heard_are_forgotten():
    """Without webhooks a parent that only starts others has no record of its own; its entry would stay for good."""
    replay = Replay()
    for number in range(0, 10_000, 2):
        replay.apply(of(number, number, "joined", family=number, on_behalf_of=f"ServerTasks-{number + 1}"))
        replay.apply(of(number, number, "granted", family=number))
        replay.apply(of(number, number, "released"))
    assert len(replay.dump()["families"]) <= 1_001

    newest = replay.apply(of(9_999, 10_001, "observed"))

    assert newest is None
    assert replay.present["servertasks-9999"].family == 9_998
