"""Releases by force: they end the run that somebody has decided about, and never the next run of its task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from werkzeug.wrappers import Request, Response

from app.domain.errors import RunChanged
from app.domain.run import TaskEnd
from app.domain.status import RunStatus
from tests.conftest import TOKENS, app_client_on
from tests.integration.reconciling import holds, state

PATH = "/api/waits/ServerTasks-{}/force-release"
ADMIN = {"Authorization": f"Bearer {TOKENS['admin']}"}

#: How a run ends here, by the cause. Of the first two nobody has seen its task end.
ENDS = {"step": {}, "forced": {"by": "bob", "reason": "stuck"}, "reconciled": {"ended": TaskEnd("success")}}


@pytest.fixture(params=ENDS)
def run_again(board, request):
    """Ends the run that holds Machines-1, and lets its task ask again and have the machine."""

    def run() -> None:
        board.release("ServerTasks-1", cause=request.param, **ENDS[request.param])
        holds(board, 1, "Machines-1")

    holds(board, 1, "Machines-1")
    return run


def force(board, number: int, seen: RunStatus | None) -> str:
    return board.release(f"ServerTasks-{number}", cause="forced", by="ann", reason="stuck", seen=seen)


def test_word_about_an_earlier_run_leaves_the_next_one_its_machines(board, run_again):
    before = board.place("ServerTasks-1")
    run_again()

    with pytest.raises(RunChanged, match="ServerTasks-1 has changed since this was decided, and is granted now"):
        force(board, 1, before)
    assert state(board, 1) == "granted"
    assert force(board, 1, board.place("ServerTasks-1")) == "released"


def test_word_about_a_run_that_waited_leaves_it_what_it_was_granted_since(board):
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-1")
    before = board.place("ServerTasks-2")
    board.release("ServerTasks-1")

    with pytest.raises(RunChanged, match="and is granted now"):
        force(board, 2, before)
    assert state(board, 2) == "granted"


def test_polls_of_a_run_that_waits_do_not_change_it(board, clock):
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-1")
    before = board.place("ServerTasks-2")
    for _ in range(3):
        clock.advance(timedelta(seconds=20))
        board.poll("ServerTasks-2")

    assert force(board, 2, before) == "left"


def test_word_about_a_run_that_is_over_changes_nothing(board):
    holds(board, 1, "Machines-1")
    before = board.place("ServerTasks-1")
    board.release("ServerTasks-1")

    assert force(board, 1, before) == "nothing"


@pytest.fixture
def answering(httpserver):
    """Octopus, which says that a task has ended after it has done what is to happen meanwhile."""

    def answer_after(what: Callable[[], object]) -> str:
        def answer(_: Request) -> Response:
            what()
            return Response(json.dumps({"Id": "ServerTasks-1", "State": "Success", "SpaceId": "Spaces-1"}))

        httpserver.expect_request(re.compile("/api/.*tasks.*")).respond_with_handler(answer)
        return str(httpserver.url_for(""))

    return answer_after


def test_task_that_runs_anew_while_octopus_is_asked_keeps_its_machines(board, redis_url, run_again, answering):
    client = app_client_on(board, redis_url, octopus_url=answering(run_again), octopus_api_key="API-TEST")

    found = client.post(PATH.format(1), json={"reason": "it has ended"}, headers=ADMIN)

    assert (found.status_code, found.json["code"]) == (409, "run_changed"), found.json
    assert state(board, 1) == "granted"


def test_run_that_is_granted_while_octopus_is_asked_keeps_its_machines(board, redis_url, answering):
    holds(board, 1, "Machines-1")
    holds(board, 2, "Machines-1")
    octopus = answering(lambda: board.release("ServerTasks-1"))
    client = app_client_on(board, redis_url, octopus_url=octopus, octopus_api_key="API-TEST")

    found = client.post(PATH.format(2), json={"reason": "it has ended"}, headers=ADMIN)

    assert (found.status_code, found.json["code"]) == (409, "run_changed"), found.json
    assert state(board, 2) == "granted"


def test_task_that_ran_anew_before_octopus_is_asked_is_told_so_at_once(board, redis_url, run_again, answering):
    version = board.place("ServerTasks-1").run.v
    run_again()
    asked = []
    client = app_client_on(board, redis_url, octopus_url=answering(lambda: asked.append(1)), octopus_api_key="API-TEST")

    found = client.post(PATH.format(1), json={"reason": "it has ended", "version": version}, headers=ADMIN)

    assert (found.status_code, found.json["code"], asked) == (409, "run_changed", []), found.json
    assert state(board, 1) == "granted"


@pytest.mark.parametrize(
    ("given", "status", "word"),
    [(-1, 422, "invalid"), ("1", 422, "invalid"), (10**400, 409, "run_changed"), (None, 200, "released")],
)
def test_caller_can_say_which_version_is_meant(board, redis_url, given, status, word):
    holds(board, 1, "Machines-1")
    client = app_client_on(board, redis_url)

    answer = client.post(PATH.format(1), json={"reason": "stuck", "version": given}, headers=ADMIN)

    assert (answer.status_code, answer.json.get("code") or answer.json["outcome"]) == (status, word), answer.json


def test_version_is_that_of_the_answer_about_the_run(board, redis_url, run_again):
    client = app_client_on(board, redis_url)
    run_again()
    version = client.get("/api/runs/ServerTasks-1", headers=ADMIN).json["version"]

    answer = client.post(PATH.format(1), json={"reason": "stuck", "version": version}, headers=ADMIN)

    assert (answer.status_code, answer.json["outcome"]) == (200, "released")
