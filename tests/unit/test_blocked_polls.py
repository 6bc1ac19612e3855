"""A poll that blocks sleeps once, however often Redis is asked about its run, and hears of its turn at any time."""

import socket
from collections import Counter
from dataclasses import replace

import gevent
import greenlet
import pytest
from gevent import socket as gevent_socket

from app.coordination.board import Poll, StillWaits
from app.coordination.wakes import Wakes
from app.domain.run import RunState, State
from app.domain.status import RunStatus
from app.store.errors import StoreError
from app.store.fair_queue import DearTurns
from app.store.fairness import serve
from app.store.keys import Keys
from app.web.errors import Problem
from app.web.polls.blocked import MOST_POLLS, BlockedPolls

WAITING = RunStatus(RunState("ServerTasks-1", State.WAITING, ttl_ms=120_000), 0)
GRANTED = replace(WAITING, run=replace(WAITING.run, state=State.GRANTED))


class Board:
    """A board on which all wait for what is not granted; a call takes a turn, in which others come."""

    def __init__(self):
        self.calls = []
        self.granted = set()
        self.error = None
        self.meanwhile = lambda: None

    def poll_many(self, polls):
        self.calls.append(list(polls))
        answers = [self._answer(poll) for poll in polls]
        self.meanwhile()
        gevent.sleep(0)
        if self.error:
            raise self.error
        return answers

    def _answer(self, poll):
        if poll.task_id in self.granted:
            return GRANTED
        return StillWaits(60) if poll.is_brief else WAITING


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def wakes():
    return Wakes(None, Keys("test"))


@pytest.fixture
def dear():
    return DearTurns()


@pytest.fixture
def polls(board, wakes, dear):
    return BlockedPolls(board, wakes, dear)


def wait(polls, task="ServerTasks-1", seconds=30.0, connection=None):
    return gevent.spawn(polls.wait, Poll(task, blocks=True), seconds, connection)


def wake(wakes, task):
    for sleeper in wakes._sleepers[task.lower()]:
        sleeper.wake()


def until(condition):
    assert any(gevent.sleep(0.001) or condition() for _ in range(1000))


def test_it_waits_to_its_end_with_two_looks_of_which_the_first_is_brief(board, polls):
    answer = wait(polls, seconds=0.02).get(timeout=5)

    assert answer is WAITING
    assert [[poll.is_brief for poll in call] for call in board.calls] == [[True], [False]]


def test_it_hears_of_its_turn(board, polls, wakes):
    waiting = wait(polls)
    until(lambda: len(board.calls) == 1)
    board.granted.add("ServerTasks-1")
    wake(wakes, "ServerTasks-1")

    assert waiting.get(timeout=5) is GRANTED
    assert len(wakes) == 0 and len(polls.ticks) == 0


@pytest.mark.parametrize("looks_before", [0, 1])
def test_a_wake_while_its_look_is_on_its_way_is_not_lost(board, polls, wakes, looks_before):
    waiting = wait(polls)
    until(lambda: len(board.calls) == 1)
    for _ in range(looks_before):
        wake(wakes, "ServerTasks-1")
        until(lambda: len(board.calls) == 1 + looks_before)

    def granted_behind_the_look():
        board.granted.add("ServerTasks-1")
        wake(wakes, "ServerTasks-1")
        board.meanwhile = lambda: None

    board.meanwhile = granted_behind_the_look
    wake(wakes, "ServerTasks-1")

    assert waiting.get(timeout=5) is GRANTED
    assert len(board.calls) == 3 + looks_before


def test_who_is_woken_often_looks_once(board, polls, wakes):
    waiting = wait(polls)
    until(lambda: len(board.calls) == 1)
    board.granted.add("ServerTasks-1")
    for _ in range(5):
        wake(wakes, "ServerTasks-1")

    assert waiting.get(timeout=5) is GRANTED and len(board.calls) == 2


def test_those_who_are_woken_together_look_together_and_are_switched_to_once(board, polls, wakes):
    tasks = [f"ServerTasks-{number}" for number in range(3 * MOST_POLLS)]
    waiting = [wait(polls, task) for task in tasks]
    until(lambda: sum(map(len, board.calls)) == len(tasks))
    board.calls.clear()
    board.granted.update(tasks)
    switches = Counter()

    def note(event, greenlets):
        switches[greenlets[1]] += event == "switch"

    before = greenlet.settrace(note)
    for task in tasks:
        wake(wakes, task)
    answers = {each.get(timeout=5) for each in waiting}
    greenlet.settrace(before)

    assert answers == {GRANTED} and [len(call) for call in board.calls] == [MOST_POLLS] * 3
    assert {switches[each] for each in waiting} == {1}


def test_who_is_woken_while_many_are_answered_does_not_wait_for_all_of_them(board, polls, wakes):
    many, late = [f"ServerTasks-{number}" for number in range(MOST_POLLS)], "ServerTasks-1000"
    order = []

    def waits(task):
        polls.wait(Poll(task, blocks=True), 30.0)
        order.append(task)
        if len(order) == 1:
            board.granted.add(late)
            wake(wakes, late)

    waiting = [gevent.spawn(waits, task) for task in [late, *many]]
    until(lambda: sum(map(len, board.calls)) == len(waiting))
    board.granted.update(many)
    for task in many:
        wake(wakes, task)
    gevent.joinall(waiting, timeout=5)

    assert len(order) == len(waiting) and order.index(late) < MOST_POLLS / 2


def test_a_crowd_looks_together_when_the_next_period_begins(board, polls):
    waiting = [wait(polls, f"ServerTasks-{number}") for number in range(50)]
    until(lambda: sum(map(len, board.calls)) == 50)

    # The first ones are not many yet.
    assert len(board.calls) <= 4 and len(board.calls[-1]) >= 40
    gevent.killall(waiting)
    assert len(polls.ticks) == 0


def test_who_of_a_crowd_was_woken_before_it_could_block_looks_at_once(board, polls, wakes):
    crowd = [wait(polls, f"ServerTasks-{number}") for number in range(50)]
    until(lambda: board.calls)
    board.granted.add("ServerTasks-99")
    wakes._wake("servertasks-99")

    assert wait(polls, "ServerTasks-99").get(timeout=5) is GRANTED
    assert sum(map(len, board.calls)) < 50
    gevent.killall(crowd)


@pytest.mark.parametrize("has_gone", [False, True])
def test_nothing_is_collected_for_who_has_hung_up(board, polls, wakes, has_gone):
    here, there = gevent_socket.socketpair()
    with here, there:
        waiting = wait(polls, connection=here)
        until(lambda: len(board.calls) == 1)
        there.shutdown(socket.SHUT_RDWR) if has_gone else there.send(b"the next request")
        board.granted.add("ServerTasks-1")
        wake(wakes, "ServerTasks-1")
        gevent.joinall([waiting], timeout=5)

    assert (type(waiting.exception) is Problem) == has_gone and (waiting.value is GRANTED) != has_gone
    assert len(board.calls) == (1 if has_gone else 2)


def test_who_is_let_go_hears_the_whole_answer(board, polls, wakes):
    waiting = wait(polls)
    until(lambda: len(board.calls) == 1)
    wakes.close()

    assert waiting.get(timeout=5) is WAITING
    assert [call[0].is_brief for call in board.calls] == [True, False]


def test_who_is_let_go_while_he_looks_looks_once_more(board, polls, wakes):
    board.meanwhile = lambda: setattr(wakes, "is_closed", True)

    assert wait(polls).get(timeout=5) is WAITING
    assert [call[0].is_brief for call in board.calls] == [True, False]


def test_all_hear_that_redis_is_away_and_the_next_ones_are_answered(board, polls):
    board.error = StoreError("Redis does not answer")
    waiting = gevent.joinall([wait(polls, f"ServerTasks-{number}", 0.01) for number in range(3)])
    assert [type(each.exception) for each in waiting] == [StoreError] * 3

    board.error = None
    assert wait(polls, seconds=0.01).get(timeout=5) is WAITING


def test_who_is_killed_is_asked_about_no_more(board, polls, wakes):
    waiting = wait(polls)
    until(lambda: len(board.calls) == 1)
    waiting.kill(block=False)
    wake(wakes, "ServerTasks-1")
    other = wait(polls, "ServerTasks-2", 0.01)

    assert other.get(timeout=5) is WAITING
    assert [poll.task_id for call in board.calls[1:] for poll in call] == ["ServerTasks-2"] * 2


def ask_for(polls, group, task):
    """As a request of a token does it: whose answer it is."""
    serve(group)
    return polls.wait(Poll(task), 0) and group


def test_polls_of_whoever_takes_long_keep_no_others_waiting(board, polls, dear):
    """The first shows that its token is dear: the others of that token go apart, and one script answers all else."""
    order = []

    def poll_many(asked):
        board.calls.append([poll.task_id for poll in asked])
        first = asked[0].task_id
        answers = [WAITING] * (1 if first.startswith("wide") else len(asked))
        dear.note(100 if first.startswith("wide") else 0.2, len(answers))
        for _ in range(9 if first.startswith("wide") else 1):
            gevent.sleep(0)
        return answers

    board.poll_many = poll_many
    asking = []
    for number in range(6):
        for group in ("wide", "small"):
            asking.append(gevent.spawn(ask_for, polls, group, f"{group}-{number}"))
            asking[-1].link(lambda each: order.append(each.value))
    gevent.joinall(asking, raise_error=True)

    assert board.calls[1] == [f"small-{number}" for number in range(6)]
    assert order == ["wide", *["small"] * 6, *["wide"] * 5]
    assert [call[0] for call in board.calls if call[0].startswith("wide")] == [f"wide-{number}" for number in range(6)]


def test_nobody_is_forgotten_whom_a_script_has_not_answered(board, polls):
    answer_all = board.poll_many
    board.poll_many = lambda asked: answer_all(asked[:7])

    asking = [gevent.spawn(ask_for, polls, "small", f"small-{number}") for number in range(40)]
    gevent.joinall(asking, raise_error=True)

    assert [each.value for each in asking] == ["small"] * 40
    assert [poll.task_id for call in board.calls for poll in call] == [f"small-{number}" for number in range(40)]
