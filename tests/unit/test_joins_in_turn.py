import threading

import pytest

from app.web.api.joins_in_turn import JoinsInTurn
from app.web.long_poll import PROBLEM
from tests.conftest import eventually


class Inside:
    """What the joins go to, which answers when it is told to."""

    def __init__(self):
        self.paths = []
        self.problems = []
        self.may_answer = threading.Semaphore(0)

    def __call__(self, environ, start_response):
        self.paths.append(environ["PATH_INFO"])
        self.problems.append(environ.get(PROBLEM))
        if environ["REQUEST_METHOD"] == "PUT" and PROBLEM not in environ:
            assert self.may_answer.acquire(timeout=10)
        return []


def call(app, method, path):
    thread = threading.Thread(
        target=app, args=({"REQUEST_METHOD": method, "PATH_INFO": path}, None), daemon=True
    )  # fmt: skip
    thread.start()
    return thread


def test_some_joins_are_under_way_at_once_and_the_others_come_in_their_order():
    inside = Inside()
    app = JoinsInTurn(inside, most=2)
    for number in range(1, 6):
        call(app, "PUT", f"/api/waits/ServerTasks-{number}")
        eventually(lambda number=number: len(inside.paths) + len(app._turns._waiting) == number)
    assert len(inside.paths) == 2

    for number in range(3, 6):
        inside.may_answer.release()
        eventually(lambda number=number: len(inside.paths) == number)

    assert inside.paths == [f"/api/waits/ServerTasks-{number}" for number in range(1, 6)]
    inside.may_answer.release(2)


def test_who_gives_back_or_polls_waits_for_no_join():
    inside = Inside()
    app = JoinsInTurn(inside, most=1)
    call(app, "PUT", "/api/waits/ServerTasks-1")
    eventually(lambda: inside.paths)

    for method, path in (("DELETE", "/api/waits/ServerTasks-2"), ("GET", "/api/waits/ServerTasks-3"), ("GET", "/")):
        call(app, method, path).join(10)

    assert inside.paths[1:] == ["/api/waits/ServerTasks-2", "/api/waits/ServerTasks-3", "/"]
    inside.may_answer.release()


def test_join_whose_turn_does_not_come_is_told_so_in_time():
    inside = Inside()
    app = JoinsInTurn(inside, most=1, longest=0.05)
    call(app, "PUT", "/api/waits/ServerTasks-1")
    eventually(lambda: inside.paths)

    call(app, "PUT", "/api/waits/ServerTasks-2").join(10)

    assert inside.problems[1].status == 503 and inside.problems[1].code == "too_many_joins"
    inside.may_answer.release()


def test_join_that_fails_keeps_no_turn():
    def fail(environ, _):
        raise LookupError(environ.get(PROBLEM))

    app = JoinsInTurn(fail, most=1, longest=0.05)

    for number in range(3):
        with pytest.raises(LookupError, match="None"):
            app({"REQUEST_METHOD": "PUT", "PATH_INFO": f"/api/waits/ServerTasks-{number}"}, None)
