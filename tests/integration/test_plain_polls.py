"""A poll as the step scripts send it is answered in front of Flask: the same answer, at less cost."""

import re
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from urllib.parse import quote

import gevent
import pytest
from flask import request

from app.coordination.board import Policy, Poll
from app.coordination.wakes import Wakes
from app.domain.access.identity import Identity
from app.domain.errors import AnotherOwner
from app.domain.run import RunRequest
from app.store.fair_queue import DearTurns
from app.web.polls.blocked import MOST_POLLS, BlockedPolls
from tests.bench.world import calls_of
from tests.conftest import TOKENS, app_client_on

#: The same to the view, and nothing that is answered in front of it.
PLAIN, OTHER = "0.05", "5e-2"

SCRIPTS = {
    "bash": {"Accept": "text/plain", "X-Octowait-Version": "2", "X-Octowait-Claim": "c" * 32},
    "python": {"Accept": "application/json", "X-Octowait-Version": "2", "X-Octowait-Claim": "c" * 32},
    "bash of version 1": {"Accept": "text/plain"},
    "python of version 1": {"Accept": "application/json"},
}


@pytest.fixture
def make_client(board, redis_url):
    return partial(app_client_on, board, redis_url)


@pytest.fixture
def client(make_client):
    return make_client()


def ask(client, task, headers, seconds):
    return client.get(f"/api/waits/{task}", query_string=f"block_seconds={seconds}", headers=headers)


def without_times(answer):
    """The text of an answer but for the seconds in it: one is asked for a moment after the other."""
    return re.sub(r'\b\d+ s\b|(?<="waited_ms":)\s*\d+', "some", answer.text)


def headers_of(answer):
    return sorted((name, value) for name, value in answer.headers if name != "Content-Length")


def scripts_run(board, do):
    before = calls_of(board.client, "evalsha")
    answer = do()
    return calls_of(board.client, "evalsha") - before, answer


def waiting(board, run):
    board.join(replace(run, task_id="ServerTasks-90", claim=None), {"Machines-1"})
    board.join(run, {"Machines-1"})


def with_a_name_that_is_a_command(board, run):
    blocker = replace(run, task_id="ServerTasks-90", claim=None, info={"project": {"name": "##octopus[x]#\x1b"}})
    board.join(blocker, {"Machines-1"})
    board.join(run, {"Machines-1"})


def granted(board, run):
    board.join(run, {"Machines-1"})


def expired(board, run):
    waiting(board, run)
    board.release(run.task_id, cause="forced", by="ann", reason="too long")


@pytest.mark.parametrize("headers", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("begin", [waiting, with_a_name_that_is_a_command, granted, expired])
@pytest.mark.parametrize("settings", [{}, {"public_url": "https://octowait.example.com"}], ids=["http", "https"])
def test_a_plain_poll_is_answered_as_the_view_answers(board, make_client, a_run, begin, headers, settings):
    run = replace(a_run(), claim=headers.get("X-Octowait-Claim"))
    begin(board, run)

    # Of two processes: one alone would let the second poll sleep for a second.
    plain, other = (ask(make_client(**settings), run.task_id, headers, seconds) for seconds in (PLAIN, OTHER))

    assert plain.status == other.status
    assert headers_of(plain) == headers_of(other) and plain.content_length == len(plain.data)
    assert without_times(plain) == without_times(other)


@pytest.mark.parametrize("headers", [SCRIPTS["bash"], SCRIPTS["python"]], ids=["text", "json"])
@pytest.mark.parametrize("seconds", [0, 1])
def test_a_step_hears_why_it_is_refused_although_its_task_was_seen_at_work(
    make_board, redis_url, a_run, headers, seconds
):
    board = make_board(Policy(has_key=True, task_cap=3, task_cap_reserve=1))
    for number in (7, 8):
        board.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"})
    run = replace(a_run(), claim="c" * 32)
    refused = board.join(run, {"Machines-7"})
    assert refused.state == "refused"
    board.observe(run.task_id, [{"id": "Machines-7", "name": "web-01"}], info={})

    answer = ask(app_client_on(board, redis_url), run.task_id, headers, seconds)

    assert answer.status_code == 200
    assert refused.message in answer.text and "refused" in answer.text


@pytest.fixture
def viewed(client):
    """The paths of the requests that come as far as Flask."""
    paths = []

    @client.application.before_request
    def note():
        paths.append(request.path)

    return paths


@pytest.mark.parametrize("begin", [waiting, granted])
def test_a_plain_poll_does_not_come_as_far_as_flask(board, client, viewed, a_run, begin):
    run = a_run()
    begin(board, run)
    # The first one connects, and tells Redis the script.
    ask(client, run.task_id, SCRIPTS["bash of version 1"], PLAIN)

    count, answer = scripts_run(board, lambda: ask(client, run.task_id, SCRIPTS["bash of version 1"], PLAIN))

    assert (answer.status_code, viewed) == (200, [])
    # When it comes, and where it sleeps once more when it is answered.
    assert count == (2 if begin is waiting else 1)


def test_a_plain_poll_keeps_its_pace(board, client, viewed, a_run):
    run = a_run()
    waiting(board, run)

    ask(client, run.task_id, SCRIPTS["bash of version 1"], PLAIN)
    began = time.monotonic()
    ask(client, run.task_id, SCRIPTS["bash of version 1"], PLAIN)

    # The next one sleeps until a second is over, although it asks for less.
    assert time.monotonic() - began > 0.5 and viewed == []


@pytest.mark.parametrize("change, status", [
    ({"path": "?block_seconds=0.05&look=1"}, 200), ({"path": "?block_seconds=0.05&typo=1"}, 422),
    ({"path": "?block_seconds=x"}, 422), ({"headers": {"Accept": "text/html"}}, 200), ({"data": b"{}"}, 415),
    ({"token": "viewer"}, 403), ({"token": None}, 401),
])  # fmt: skip
def test_what_is_not_plain_is_left_to_the_view(board, client, viewed, a_run, change, status):
    run = a_run()
    waiting(board, run)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKENS.get(change.get('token', 'step'), 'none')}"

    path = f"/api/waits/{run.task_id}{change.get('path', '?block_seconds=0.05')}"
    headers = {"Accept": "text/plain", **change.get("headers", {})}
    answer = client.get(path, headers=headers, data=change.get("data"))

    assert (answer.status_code, len(viewed)) == (status, 1)
    assert ("problem" in answer.content_type) == (answer.status_code != 200)


@pytest.mark.parametrize("query", [
    "block_seconds=0.05&typo=1", "block_seconds=0.05&typo", "block_seconds=\u0663", "block_seconds=\uff11",
    "block_seconds=-1", "block_seconds=1e9", "block_seconds=nan", "block_seconds=0x1", "block_seconds=",
])  # fmt: skip
def test_nobody_sleeps_with_a_query_that_is_refused(client, a_run, monkeypatch, query):
    asleep = []
    monkeypatch.setattr(client.application.extensions["octowait.polls"], "wait", asleep.append)

    answer = client.get(f"/api/waits/{a_run().task_id}?{quote(query, safe='=&')}", headers=SCRIPTS["bash"])

    assert (answer.status_code, asleep) == (422, [])


class CountingBoard:
    """A board that counts how many are asked about at once."""

    def __init__(self, board):
        self._board = board
        self.sizes = []

    def poll_many(self, polls):
        self.sizes.append(len(polls))
        gevent.sleep(0)  # As the way to Redis: others come meanwhile.
        return self._board.poll_many(polls)


def test_polls_that_come_together_go_together(board, a_run):
    runs = [a_run() for _ in range(250)]
    for run in runs:
        board.join(run, {"Machines-1"})
    counting = CountingBoard(board)
    blocked = BlockedPolls(counting, Wakes(board.client, board.keys), DearTurns())

    answers = [gevent.spawn(blocked.wait, Poll(run.task_id), 0) for run in runs]
    gevent.joinall(answers)

    assert [answer.value.task_id for answer in answers] == [run.task_id for run in runs]
    assert [answer.value.place for answer in answers] == [None, *range(1, 250)]
    assert max(counting.sizes) == MOST_POLLS and len(counting.sizes) <= 4


def test_each_of_many_gets_its_own_answer(board, a_run, clock):
    mine, ended = a_run(), a_run()
    board.join(mine, {"Machines-1"})
    board.join(ended, {"Machines-1"})
    board.client.script_flush()
    clock.advance(timedelta(hours=1))  # Something is due, and Redis has lost its scripts.

    answers = board.poll_many([Poll(mine.task_id), Poll("ServerTasks-99"), Poll(ended.task_id)])

    assert [answer and answer.state for answer in answers] == [board.place(mine.task_id).state, None, "expired"]


def test_who_asks_for_the_run_of_another_hears_so_alone(board, a_run):
    run = replace(a_run(), identity=Identity("web"))
    board.join(run, {"Machines-1"})

    own, others = board.poll_many([Poll(run.task_id, owner="web"), Poll(run.task_id, owner="other")])

    assert own.is_granted and isinstance(others, AnotherOwner)
