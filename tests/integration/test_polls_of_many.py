"""Polls that come together are answered by one script: each as if it had come alone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.coordination.board import Poll, StillWaits
from app.domain.run import RunRequest
from app.store.errors import StoreError
from tests.bench.world import calls_of
from tests.integration.test_witness import Backup, doors

CLAIM = "c" * 32


@pytest.fixture
def waiters(board):
    """Runs in one line behind the one that holds the machine."""
    board.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    runs = [RunRequest(f"ServerTasks-{number}", claim=CLAIM) for number in range(10, 60)]
    for run in runs:
        board.join(run, {"Machines-7"})
    return runs


def brief(run):
    return Poll(run.task_id, run.claim, blocks=True, is_brief=True)


def blocking(run):
    return Poll(run.task_id, run.claim, blocks=True)


def scripts_run(board, polls):
    before = calls_of(board.client, "evalsha")
    answers = []
    while len(answers) < len(polls):
        answers += board.poll_many(polls[len(answers) :])
    return calls_of(board.client, "evalsha") - before, answers


def test_one_script_answers_many(board, waiters):
    count, answers = scripts_run(board, [*map(blocking, waiters), *map(brief, waiters), Poll("ServerTasks-99")])

    assert count == 1
    assert [answer.task_id for answer in answers[:50]] == [run.task_id for run in waiters]
    assert [answer.place for answer in answers[:50]] == [*range(1, 51)]
    assert {type(answer) for answer in answers[50:100]} == {StillWaits} and answers[100] is None


def test_each_of_many_shows_life(board, clock, waiters):
    clock.advance(timedelta(seconds=100))
    board.poll_many([*map(blocking, waiters[:25]), *map(brief, waiters[25:])])
    clock.advance(timedelta(seconds=100))

    assert all(board.place(run.task_id).is_waiting for run in waiters)


def test_run_with_a_broken_record_is_its_own_trouble(board, waiters):
    broken = waiters[3].task_id
    record = board.client.hget(board.keys.named("runs"), broken.lower())
    board.client.hset(board.keys.named("runs"), broken.lower(), "no JSON")

    _, answers = scripts_run(board, [*map(blocking, waiters[:10]), *map(brief, waiters[:10])])
    board.client.hset(board.keys.named("runs"), broken.lower(), record)

    assert isinstance(answers[3], StoreError) and isinstance(answers[13], StoreError)
    assert [answer.place for at, answer in enumerate(answers[:10]) if at != 3] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert sum(isinstance(answer, StillWaits) for answer in answers[10:]) == 9


def test_poll_that_broke_off_collects_nothing_when_it_is_asked_again(board, waiters):
    """The first time may have noted that its step was told."""
    run = waiters[0]
    board.release("ServerTasks-1")
    board.poll(run.task_id, claim=CLAIM, blocks=True)
    script = board.script

    class Breaking:
        def __call__(self, name, *args):
            return [b"polled", [b"failed"]] if name == "poll_many" else script(name, *args)

    board.script = Breaking()
    [answer] = board.poll_many([Poll(run.task_id, CLAIM)])
    board.script = script

    assert answer.is_granted and not answer.run.collected
    assert board.poll(run.task_id, claim=CLAIM).run.collected


def test_wide_runs_are_spread_over_several_scripts(board):
    machines = [f"Machines-{number}" for number in range(400)]
    runs = [RunRequest(f"ServerTasks-{number}", claim=CLAIM) for number in range(1, 13)]
    for run in runs:
        board.join(run, machines)

    count, answers = scripts_run(board, [blocking(run) for run in runs])

    assert count == 4
    assert [answer.task_id for answer in answers] == [run.task_id for run in runs]


def test_each_of_many_confirms_its_own_grant(board):
    runs = [RunRequest(f"ServerTasks-{number}", claim=CLAIM) for number in range(1, 4)]
    for run in runs:
        board.join(run, {f"Machines-{run.task_id}"})

    board.poll_many([blocking(run) for run in runs])
    confirmed = board.poll_many([Poll(run.task_id, CLAIM) for run in runs[:2]])

    assert [answer.run.collected for answer in confirmed] == [True, True]
    assert not board.place(runs[2].task_id).run.collected


def test_each_of_many_steps_is_a_witness(board, make_board):
    other = make_board()
    other.join(RunRequest("ServerTasks-1"), {"Machines-7"})
    known = other.script.witness.latest
    backup = Backup(board)
    other.release("ServerTasks-1")
    lost = other.script.witness.latest
    backup.restore()

    board.poll_many([replace(brief(RunRequest("ServerTasks-2")), seen=(seen,)) for seen in (known, lost)])

    assert doors(board) == [("closed", "rolled_back")]
