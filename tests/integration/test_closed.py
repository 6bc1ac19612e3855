"""Rule 15: after a loss nobody is granted until it is known who runs where."""

import re
from datetime import timedelta

import pytest

from app.coordination.snapshot import take
from app.domain.events import Effect
from app.domain.records import Filter
from app.domain.run import RunRequest
from app.history.timeline import Timeline
from app.store.scripts import Scripts
from tests.conftest import TOKENS, Clock, app_client_on
from tests.integration.octopus_tells import WEB, Octopus
from tests.open_board import OpenBoard


@pytest.fixture
def empty(redis_url, make_board):
    """A board whose Redis has just come up empty."""
    board = make_board()
    board.lose_all()
    return board


def test_empty_board_grants_nobody_and_says_why(empty):
    place = empty.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert place.is_waiting
    assert [held.kind for held in place.machines[0].holders] == ["rebuilding"]
    assert "lost its memory" in place.message
    assert "nobody is granted" in place.reason


def test_loss_is_recorded_once(empty):
    for number in range(3):
        empty.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})

    closed = list(Timeline(empty.client, empty.keys).read(Filter(kind="closed")))
    assert [record.cause for record in closed] == ["empty"]


def test_opening_grants_who_is_first(empty):
    empty.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    empty.join(RunRequest("ServerTasks-2"), {"Machines-7"})

    assert empty.open("rebuilt", run_count=2)

    assert empty.place("ServerTasks-1").is_granted
    assert empty.place("ServerTasks-2").is_waiting
    assert not empty.open("rebuilt")


def test_waiters_start_in_the_order_in_which_octopus_started_them(empty):
    clock = Clock(empty)
    octopus = Octopus(empty, clock)
    for number in (3, 1, 2):
        empty.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})
    empty.join(RunRequest("ServerTasks-9", priority=5), {"Machines-7"})
    for number in (1, 2, 3, 9):
        octopus.tells(Effect.STARTED, f"ServerTasks-{number}", ago=timedelta(minutes=60 - number))

    empty.open("rebuilt")

    order = []
    for _ in range(4):
        granted = [n for n in (1, 2, 3, 9) if empty.place(f"ServerTasks-{n}").is_granted]
        order += granted
        empty.release(f"ServerTasks-{granted[0]}")
    assert order == [9, 1, 2, 3]
    *_, reopened = Timeline(empty.client, empty.keys).read(Filter(kind="opened"))
    assert reopened.detail["order"] == [f"ServerTasks-{number}" for number in (1, 2, 3, 9)]


def test_who_was_found_running_is_there_when_the_board_opens(empty):
    octopus = Octopus(empty, Clock(empty))
    empty.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    octopus.runs("ServerTasks-1", WEB)

    empty.open("rebuilt")

    assert empty.place("ServerTasks-2").is_waiting
    empty.release("ServerTasks-1")
    assert empty.place("ServerTasks-2").is_granted


def test_operator_closes_and_opens(board, timeline):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    assert board.close(by="ann", reason="restored a backup")
    assert board.join(RunRequest("ServerTasks-2"), {"Machines-8"}).is_waiting
    assert board.place("ServerTasks-1").is_granted
    assert board.open("operator", by="ann", reason="I looked")

    assert board.place("ServerTasks-2").is_granted
    records = [r for r in timeline.read(Filter()) if r.kind in ("closed", "opened")]
    assert [(r.kind, r.cause, r.detail["by"]) for r in records] == [
        ("closed", "operator", "ann"), ("opened", "operator", "ann"),
    ]  # fmt: skip


def test_fencing_tokens_grow_across_a_loss(board, make_board):
    before = board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).fencing_token
    board.lose_all()

    board.open("operator")

    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).fencing_token > before


def test_snapshot_shows_that_the_board_is_closed(empty):
    empty.join(RunRequest("ServerTasks-1"), {"Machines-7"})

    snapshot = take(empty.client, empty.keys)

    assert snapshot.closed_since_ms
    assert [held.kind for held in snapshot.machines[0].holders] == ["rebuilding"]
    empty.open("rebuilt")
    assert take(empty.client, empty.keys).closed_since_ms is None


def test_closed_board_expires_nobody(empty):
    """What it knows may be old. The dead go when it opens, before anybody is granted."""
    clock = Clock(empty)
    for number in (1, 2):
        empty.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})

    for _ in range(40):
        clock.advance(timedelta(seconds=8))
        assert not empty.sweep(serving=True).more, "nothing is due that a sweep could end"
        empty.poll("ServerTasks-2")

    assert str(empty.place("ServerTasks-1").state) == "waiting"
    empty.open("rebuilt")
    assert str(empty.place("ServerTasks-1").state) == "expired"
    assert empty.place("ServerTasks-2").is_granted


def test_opening_ends_all_who_died_before_it_grants(empty):
    """More than a script ends at once."""
    clock = Clock(empty)
    for number in range(250):
        empty.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})
    empty.join(RunRequest("ServerTasks-900"), {"Machines-7"})
    for _ in range(20):
        clock.advance(timedelta(seconds=8))
        empty.sweep(serving=True)
        empty.poll("ServerTasks-900")
    assert str(empty.place("ServerTasks-0").state) == "waiting"

    empty.open("rebuilt")

    assert {str(empty.place(f"ServerTasks-{number}").state) for number in range(250)} == {"expired"}
    assert empty.place("ServerTasks-900").is_granted


def test_closed_board_ends_no_reservation_and_no_time_out(board, clock):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2", parked=True, timeout=timedelta(minutes=5)), {"Machines-7"})
    board.reserve("Machines-8", note="disk", by="ann", until_ms=clock.now_ms + 300_000)
    board.close(by="ann")
    clock.advance(timedelta(minutes=6))

    board.sweep(serving=True)

    assert board.place("ServerTasks-2").is_waiting
    assert take(board.client, board.keys, offset_ms=board.script.offset_ms).machine("Machines-8").reservation
    board.open("operator")
    assert str(board.place("ServerTasks-2").state) == "timed_out"
    assert not take(board.client, board.keys).machine("Machines-8").reservation


def test_family_does_not_grow_while_the_board_is_closed(board):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.close(by="ann")

    assert board.join(RunRequest("ServerTasks-2", on_behalf_of="ServerTasks-1"), {"Machines-7"}).is_waiting
    board.open("operator")
    assert board.place("ServerTasks-2").is_granted


def test_board_of_another_namespace_is_closed_for_itself(board):
    other = OpenBoard(board.client, namespace=f"{board.keys.namespace}x")

    assert other.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_waiting
    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_granted


def test_child_behind_others_goes_on_when_the_board_opens(board):
    """Its parent waits for it, and they wait for its parent."""
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"})
    board.close(by="ann")
    assert board.join(RunRequest("ServerTasks-2", on_behalf_of="ServerTasks-1"), {"Machines-7"}).is_waiting

    board.open("operator")

    assert board.place("ServerTasks-2").is_granted


def test_family_finds_together_after_a_loss(empty):
    """The parent's lease is lost, and its child comes back before Octopus has said that the parent runs."""
    octopus = Octopus(empty, Clock(empty))
    assert empty.join(RunRequest("ServerTasks-2", on_behalf_of="ServerTasks-1"), {"Machines-7"}).is_waiting
    octopus.runs("ServerTasks-1", WEB)

    empty.open("rebuilt")

    assert empty.place("ServerTasks-2").is_granted


def test_who_waited_before_the_board_was_closed_keeps_the_order(board):
    """Octopus started them in another order than they came to their wait steps (rule 3)."""
    octopus = Octopus(board, Clock(board))
    for number in (1, 2, 3):
        board.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})
        octopus.tells(Effect.STARTED, f"ServerTasks-{number}", ago=timedelta(minutes=number))
    board.close(by="ann")
    board.join(RunRequest("ServerTasks-4"), {"Machines-7"})
    octopus.tells(Effect.STARTED, "ServerTasks-4", ago=timedelta(minutes=60))

    board.open("operator")

    assert [board.place(f"ServerTasks-{number}").place for number in (2, 3, 4)] == [1, 2, 3]


def test_opening_leaves_the_order_of_arrival_across_priorities(board):
    """A later change of priority then finds the order in which they came."""
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-2"), {"Machines-7"})
    board.join(RunRequest("ServerTasks-3", priority=5), {"Machines-7"})
    board.close(by="ann")
    board.open("operator")

    board.prioritize("ServerTasks-3", 0, by="ann", reason="no hotfix")

    assert [board.place(f"ServerTasks-{number}").place for number in (2, 3)] == [1, 2]


def test_rebuild_of_what_was_lost_again_does_not_open(board):
    """Redis loses its data once more between what the rebuild found and its end."""
    board.close(by="ann")
    closed_ms = board.closed_since_ms()
    board.lose_all()

    assert not board.open("rebuilt", run_count=3, closed_ms=closed_ms)

    assert board.closed_since_ms()
    assert board.join(RunRequest("ServerTasks-1"), {"Machines-7"}).is_waiting


class Interrupted(Scripts):
    """Something happens before the script that opens the board."""

    def __init__(self, board, happens):
        super().__init__(board.client, board.keys)
        self.happens = happens

    def __call__(self, name, *args):
        if name == "open":
            self.happens()
        return super().__call__(name, *args)


def test_who_joins_while_the_board_is_being_opened_has_its_place(board):
    """Octopus started it first, and it asks when the others have been put in order."""
    octopus, late = Octopus(board, Clock(board)), iter(["ServerTasks-3"])
    board.close(by="ann")
    for number in (1, 2):
        board.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})
        octopus.tells(Effect.STARTED, f"ServerTasks-{number}", ago=timedelta(minutes=number))

    def join():
        for task in late:
            board.join(RunRequest(task), {"Machines-7"})
            octopus.tells(Effect.STARTED, task, ago=timedelta(minutes=60))

    board.script = Interrupted(board, join)
    board.open("operator")

    assert board.place("ServerTasks-3").is_granted
    assert [board.place(f"ServerTasks-{number}").place for number in (2, 1)] == [1, 2]


def test_board_opens_although_somebody_always_joins(board):
    tasks = (f"ServerTasks-{number}" for number in range(2, 1000))
    board.close(by="ann")
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.script = Interrupted(board, lambda: board.join(RunRequest(next(tasks)), {"Machines-7"}))

    assert board.open("operator")

    assert board.closed_since_ms() is None
    assert board.place("ServerTasks-1").is_granted


def test_dashboard_says_closed_of_machines_that_nobody_has_reserved(board, redis_url):
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    board.close(by="dana")
    board.join(RunRequest("ServerTasks-2"), {"Machines-8"})

    page = app_client_on(board, redis_url).get("/", headers={"Authorization": f"Bearer {TOKENS['viewer']}"}).text

    assert re.findall(r'<span class="status [^>]*>(\w+)<', page) == ["Busy", "Closed"]
    assert "an operator has closed octowait" in page and "it opens by itself as soon as that is known" in page
