"""Rule 17: a clock of Octopus that is wrong, by seconds or by minutes, with an API key and without one."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from app.coordination.board import Policy
from app.coordination.board.clock_offset import OffsetMeter
from app.domain.events import Effect, Event
from app.domain.records import Filter
from app.domain.run import RunRequest, TaskEnd
from app.history.timeline import Timeline
from tests.conftest import Clock
from tests.integration.rules.helpers import holders, minutes, seconds

#: Seconds that Octopus's clock is ahead.
OFFSETS = (8, -8, 600, -600)

ONE, TWO, THREE = (f"ServerTasks-{number}" for number in (1, 2, 3))
WEB = [{"id": "Machines-7", "name": "web-01"}]

#: How long a webhook is under way.
WAY = timedelta(milliseconds=300)


class Octopus:
    """Tells of what occurred *ago*, by a clock that is *ahead*."""

    def __init__(self, board, ahead, *, has_key):
        self.board, self.clock, self.ahead, self.has_key = board, Clock(board), timedelta(seconds=ahead), has_key
        self._number = 0

    def at_ms(self, ago=timedelta(0)):
        return self.clock.now_ms + (self.ahead - ago) // timedelta(milliseconds=1)

    def answers(self):
        """One of its answers, which say whole seconds."""
        meter = OffsetMeter(self.board.script, self.board.client, self.board.keys)
        now = time.monotonic()
        meter.note(self.at_ms() // 1000 * 1000, sent=now - 0.02, received=now)

    def tells(self, effect, task=ONE, *, ago=timedelta(0), via="webhook", confirmed=True, **fields):
        """An event; with a key Octopus then says the same of the end of a task if it is asked."""
        self._number += 1
        key = f"events-{self._number}"
        sent_ms = self.at_ms(WAY) if via == "webhook" else None
        event = Event(key=key, id=key, category="Deployment", effect=effect, occurred_ms=self.at_ms(ago), task_id=task,
                      deployment_id=None, sent_ms=sent_ms, **fields)  # fmt: skip
        outcome = self.board.deliver(event, via=via, confirm=self.has_key and via == "webhook")
        if outcome == "unconfirmed" and confirmed:
            self.says_it_ended(task, ago)
        return outcome

    def says_it_ended(self, task=ONE, ago=timedelta(0)):
        seen = self.board.place(task)
        self.board.release(task, cause="reconciled", seen=seen, ended=TaskEnd("succeeded", self.at_ms(ago)))


@pytest.fixture(params=[True, False], ids=["with a key", "without a key"])
def has_key(request):
    return request.param


@pytest.fixture(params=OFFSETS, ids=lambda ahead: f"{ahead:+} s")
def ahead(request):
    return request.param


@pytest.fixture
def board(make_board, has_key):
    return make_board(Policy(has_key=has_key, paused_holds=False))


#: What no record may say less than nothing of, and not much more than it was.
DURATIONS = ("held_ms", "waited_ms", "late_ms", "lag_ms")


@pytest.fixture
def octopus(board, ahead, has_key):
    octopus = Octopus(board, ahead, has_key=has_key)
    if has_key:
        octopus.answers()
    else:
        # Its webhooks have told of others before.
        octopus.tells(Effect.QUEUED, "ServerTasks-99")
    yield octopus
    for record in Timeline(board.client, board.keys).read(Filter()):
        durations = {name: ms for name, ms in record.detail.items() if name in DURATIONS}
        assert all(0 <= ms < 1_000_000 for ms in durations.values()), (record.kind, durations)


def state(board, task=ONE):
    return str(board.place(task).state)


def test_offset_is_known(board, octopus, ahead, has_key):
    offset = board.octopus_offset()

    assert offset.least_ms <= ahead * 1000 <= offset.most_ms
    assert offset.most_ms - offset.least_ms <= 2_000
    assert offset.source == ("answer" if has_key else "webhook")


@pytest.mark.parametrize(
    ("lasted", "is_start_told", "via"),
    [(seconds(2), True, "webhook"), (seconds(2), False, "catch_up"), (seconds(20), False, "webhook"),
     (minutes(9), True, "catch_up")],
)  # fmt: skip
def test_end_is_not_lost(board, octopus, clock, lasted, is_start_told, via):
    if is_start_told:
        octopus.tells(Effect.STARTED)
        clock.advance(seconds(3))
    board.join(RunRequest(ONE), {"Machines-7"})
    clock.advance(lasted)

    octopus.tells(Effect.ENDED, via=via)

    assert state(board) == "released"


@pytest.mark.parametrize("via", ["webhook", "catch_up"])
def test_next_is_granted_at_an_end(board, octopus, clock, via):
    board.join(RunRequest(ONE), {"Machines-7"})
    board.join(RunRequest(TWO), {"Machines-7"}, ttl=minutes(9))
    clock.advance(seconds(30))

    octopus.tells(Effect.ENDED, via=via)

    assert state(board, TWO) == "granted"


@pytest.mark.parametrize(
    ("ago", "told"), [(seconds(9), "both"), (seconds(40), "start"), (minutes(12), "nothing")]
)  # fmt: skip
def test_late_end_of_an_earlier_run_ends_nothing(board, octopus, clock, ago, told):
    """The task ran before, for three seconds, and runs again; its step asks before the old end comes."""
    if told != "nothing":
        octopus.tells(Effect.STARTED, ago=ago + seconds(3))
    if told == "both":
        octopus.tells(Effect.STARTED, ago=seconds(1))
    board.join(RunRequest(ONE), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=ago) == "ignored"

    assert state(board) == "granted"


def test_end_that_the_step_told_before_is_not_that_of_the_next_run(board, octopus, clock):
    board.join(RunRequest(ONE), {"Machines-7"})
    clock.advance(seconds(30))
    board.release(ONE)
    clock.advance(seconds(15))
    board.join(RunRequest(ONE), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=seconds(14)) == "ignored"
    assert state(board) == "granted"

    clock.advance(seconds(30))
    octopus.tells(Effect.ENDED)
    assert state(board) == "released"


def test_start_of_the_next_run_is_one_after_its_step_has_released(board, octopus, clock):
    board.join(RunRequest(ONE), {"Machines-7"})
    clock.advance(seconds(30))
    board.release(ONE)
    clock.advance(seconds(60))

    assert octopus.tells(Effect.STARTED, ago=seconds(20)) == "unresolved"


def test_late_start_of_a_run_that_has_released_is_none_of_a_next_one(board, octopus, clock):
    board.join(RunRequest(ONE), {"Machines-7"})
    clock.advance(seconds(30))
    board.release(ONE)
    clock.advance(seconds(20))

    assert octopus.tells(Effect.STARTED, ago=seconds(51)) == "applied"
    assert not board.place(ONE).is_to_resolve


def test_nobody_expires_and_no_dead_waiter_is_first(board, octopus, clock):
    board.join(RunRequest(ONE), {"Machines-7"})
    board.join(RunRequest(TWO), {"Machines-7"}, ttl=seconds(50))
    board.join(RunRequest(THREE), {"Machines-7"}, ttl=seconds(50))
    for _ in range(4):
        octopus.tells(Effect.STARTED, ago=seconds(30))
        clock.advance(seconds(20))
        board.poll(THREE)
    assert [state(board, task) for task in (ONE, TWO, THREE)] == ["granted", "expired", "waiting"]

    octopus.tells(Effect.ENDED)
    if octopus.has_key:
        octopus.says_it_ended(TWO)

    assert state(board, THREE) == "granted"


def test_pause_gives_way_and_an_old_one_does_not(board, octopus, clock):
    board.join(RunRequest(ONE), {"Machines-7"})
    octopus.tells(Effect.PAUSED, ago=seconds(40))
    assert state(board) == "granted"

    clock.advance(seconds(30))
    octopus.tells(Effect.PAUSED)

    assert state(board) == "released"


def test_parked_run_that_somebody_lets_go_on_is_observed(board, octopus, clock):
    board.join(RunRequest(TWO), {"Machines-7"})
    octopus.tells(Effect.STARTED, ago=seconds(3))
    board.join(RunRequest(ONE, parked=True), {"Machines-7"})
    octopus.tells(Effect.RESUMED, ago=seconds(30))
    assert state(board) == "waiting"
    clock.advance(seconds(30))

    octopus.tells(Effect.RESUMED)

    assert state(board) == "observed"


def test_observed_run_holds_until_its_end(board, octopus, clock):
    octopus.tells(Effect.STARTED)
    board.observe(ONE, WEB, info={})
    board.join(RunRequest(TWO), {"Machines-7"}, ttl=minutes(9))
    octopus.tells(Effect.ENDED, ago=seconds(20))
    assert holders(board, TWO) == [("observed", ONE)]
    clock.advance(minutes(3))

    octopus.tells(Effect.ENDED)

    assert state(board, TWO) == "granted"


def test_start_is_expected_to_ask_for_as_long_as_ever(board, octopus, clock):
    octopus.tells(Effect.STARTED, info={"project": {"id": "Projects-1"}})

    left = board.place(ONE).run.expected_until_ms - clock.now_ms
    assert 115_000 < left <= 120_000


@pytest.mark.parametrize("ahead", [600], indirect=True)
def test_webhook_that_only_claims_another_time_begins_nothing_later(board, octopus, clock):
    """Who knows the webhook's secret could begin a run so late that its own end would be that of an earlier one."""
    octopus.tells(Effect.STARTED, ago=-minutes(50))

    assert board.place(ONE).run.started_oct_ms <= octopus.at_ms(-seconds(3))


def test_answers_say_more_together_than_each(board, octopus, ahead, has_key):
    if not has_key:
        return
    for _ in range(8):
        octopus.clock.advance(timedelta(milliseconds=370))
        octopus.answers()

    offset = board.octopus_offset()
    assert offset.least_ms <= ahead * 1000 <= offset.most_ms
    assert offset.most_ms - offset.least_ms < 700


def test_clock_of_octopus_that_is_set_is_measured_anew(board, octopus, ahead, has_key):
    octopus.ahead = timedelta(0)
    if has_key:
        octopus.answers()
    else:
        for _ in range(3):
            octopus.clock.advance(minutes(11))
            octopus.tells(Effect.QUEUED, "ServerTasks-99")

    offset = board.octopus_offset()
    assert offset.least_ms <= 0 <= offset.most_ms


def test_what_a_proxy_says_of_the_time_ends_no_lease(make_board):
    """It has another clock than the server behind it: Octopus, which is ahead, is asked."""
    board = make_board(Policy(has_key=True))
    octopus = Octopus(board, 0, has_key=True)
    octopus.answers()
    octopus.ahead = minutes(10)
    board.join(RunRequest(ONE), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=seconds(40), confirmed=False) == "unconfirmed"

    assert state(board) == "granted"


def test_end_of_which_the_clocks_do_not_decide_whose_it_is_is_asked_for(make_board):
    board = make_board(Policy(has_key=True, clock_tolerance=timedelta(0)))
    board.script("measure", -5_000, 5_000)
    octopus = Octopus(board, 0, has_key=True)
    board.join(RunRequest(ONE), {"Machines-7"})

    assert octopus.tells(Effect.ENDED, ago=seconds(2), confirmed=False) == "unconfirmed"
    assert state(board) == "granted"

    octopus.says_it_ended()
    assert state(board) == "released"


def test_without_a_key_such_an_end_counts(make_board):
    """Nobody can be asked, and no earlier run of the task is known."""
    board = make_board(Policy(clock_tolerance=timedelta(0)))
    octopus = Octopus(board, 0, has_key=False)
    octopus.tells(Effect.QUEUED, "ServerTasks-99")
    board.join(RunRequest(ONE), {"Machines-7"})

    octopus.tells(Effect.ENDED, ago=WAY / 3)

    assert state(board) == "released"


def test_time_that_no_clock_shows_is_not_believed(board, octopus, ahead, has_key):
    if has_key:
        return
    before = board.octopus_offset()
    octopus.ahead = timedelta(hours=2)

    octopus.tells(Effect.QUEUED, "ServerTasks-98")

    assert abs(board.octopus_offset().least_ms - before.least_ms) < 100
