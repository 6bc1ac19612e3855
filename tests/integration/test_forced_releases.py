"""Releases by force: they end the run that somebody has decided about, and never the next run of its task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from werkzeug.wrappers import Request, Response

from app.domain.errors import RunChanged
from app.domain.run import RunMeant, TaskEnd
from tests.conftest import TOKENS, app_client_on
from tests.integration.reconciling import holds, state

PATH = "/api/waits/ServerTasks-{}/force-release"
ADMIN = {"Authorization": f"Bearer {TOKENS['admin']}"}


@pytest.fixture
def run_again(board):
    """Ends the run that holds Machines-1, and lets the next run of its task have the machine."""

    def run() -> None:
        board.release("ServerTasks-1", cause="reconciled", ended=TaskEnd("success", board.now_ms()))
        holds(board, 1, "Machines-1")

    holds(board, 1, "Machines-1")
    return run


def stands(board, number: int = 1) -> tuple[int, str]:
    return board.place(f"ServerTasks-{number}").run.run, state(board, number)


def force(board, number: int, *meant: object) -> str:
    return board.release(f"ServerTasks-{number}", cause="forced", by="ann", reason="stuck", meant=RunMeant(*meant))


def test_word_about_an_earlier_run_leaves_the_next_one_its_machines(board, run_again):
    run_again()

    with pytest.raises(RunChanged, match="expected its run 1, granted, and it is run 2 now, granted"):
        force(board, 1, 1, "granted")
    assert stands(board) == (2, "granted")
    assert force(board, 1, 2, "granted") == "released"


def test_word_about_a_run_that_waited_leaves_it_what_it_was_granted_since(board, run_again):
    holds(board, 2, "Machines-1")
    board.release("ServerTasks-1")

    with pytest.raises(RunChanged, match="expected its run 1, waiting, and it is run 1 now, granted"):
        force(board, 2, 1, "waiting")
    assert stands(board, 2) == (1, "granted")


def test_word_about_a_run_that_is_over_changes_nothing(board, run_again):
    board.release("ServerTasks-1")

    assert force(board, 1, 1, "granted") == "nothing"


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
    assert stands(board) == (2, "granted")


def test_run_that_is_granted_while_octopus_is_asked_keeps_its_machines(board, redis_url, run_again, answering):
    holds(board, 2, "Machines-1")
    octopus = answering(lambda: board.release("ServerTasks-1"))
    client = app_client_on(board, redis_url, octopus_url=octopus, octopus_api_key="API-TEST")

    found = client.post(PATH.format(2), json={"reason": "it has ended"}, headers=ADMIN)

    assert (found.status_code, found.json["code"]) == (409, "run_changed"), found.json
    assert stands(board, 2) == (1, "granted")


@pytest.mark.parametrize(
    ("meant", "status", "word"),
    [
        ({"run": 1}, 409, "run_changed"), ({"state": "waiting"}, 409, "run_changed"),
        ({"run": 1, "state": "granted"}, 409, "run_changed"),
        ({"run": 0}, 422, "invalid"), ({"run": "2"}, 422, "invalid"), ({"state": "on fire"}, 422, "invalid"),
        ({}, 200, "released"), ({"run": 2}, 200, "released"),
        ({"run": 2, "state": "granted"}, 200, "released"),
    ],
)  # fmt: skip
def test_caller_can_say_which_run_is_meant_and_where_it_stood(board, redis_url, run_again, meant, status, word):
    run_again()

    answer = app_client_on(board, redis_url).post(
        PATH.format(1), json={"reason": "stuck", "confirm": True, **meant}, headers=ADMIN
    )

    assert (answer.status_code, answer.json.get("code") or answer.json["outcome"]) == (status, word)
    assert stands(board) == (2, "granted" if status > 200 else "released")
