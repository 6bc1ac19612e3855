"""A release as the step scripts send it is carried out in front of Flask: the same answer, and the next one sooner."""

import pytest
from flask import request

from tests.conftest import TOKENS, app_client_on

CLAIM = "c" * 32

#: The secret of another owner.
OTHER = "another-token-of-a-step-0123456789"

SCRIPTS = {
    "bash": {"Accept": "text/plain", "X-Octowait-Version": "2", "X-Octowait-Claim": CLAIM},
    "python": {"Accept": "application/json", "X-Octowait-Version": "2", "X-Octowait-Claim": CLAIM},
    "bash of version 1": {"Accept": "text/plain"},
    "python of version 1": {"Accept": "application/json"},
}


@pytest.fixture
def make_client(board, redis_url):
    def make(**settings):
        client = app_client_on(
            board, redis_url, more_tokens=f",step:other:{OTHER};projects=Projects-9", **settings
        )  # fmt: skip
        client.viewed = []
        client.application.before_request(lambda: client.viewed.append(request.path))
        return client

    return make


def join(client, task_id, headers):
    assert client.put(f"/api/waits/{task_id}", json={"machines": ["Machines-1"]}, headers=headers).status_code == 201


def granted(client, headers):
    join(client, "ServerTasks-7", headers)


def waiting(client, headers):
    join(client, "ServerTasks-90", {})
    join(client, "ServerTasks-7", headers)


def unknown(client, headers):
    pass


@pytest.mark.parametrize("headers", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("begin", [granted, waiting, unknown])
def test_a_plain_release_is_answered_as_the_view_answers(make_client, board, begin, headers):
    answers = []
    # At level debug each request is logged, in the view.
    for level in ("info", "debug"):
        client = make_client(log_level=level)
        begin(client, headers)
        client.viewed.clear()
        answers.append(client.delete("/api/waits/ServerTasks-7", headers=headers))
        state = board.place("ServerTasks-7")
        answers[-1].left = (state and state.state, sorted(board.client.zrange(board.keys.holders, 0, -1)))
        assert len(client.viewed) == (level == "debug")
        board.client.flushdb()
        board.open("test")

    plain, viewed = answers
    assert (plain.status, plain.data, plain.left) == (viewed.status, viewed.data, viewed.left)
    assert sorted(plain.headers) == sorted(viewed.headers)


@pytest.mark.parametrize("change, status", [
    ({"path": "ServerTasks-7?reason=over"}, 200), ({"path": "ServerTasks-7?typo=1"}, 422), ({"path": "Server_7"}, 200),
    ({"headers": {"Accept": "text/html"}}, 200), ({"headers": {"X-Octowait-Claim": "short"}}, 422),
    ({"data": b"{}"}, 415), ({"token": TOKENS["viewer"]}, 403), ({"token": "wrong"}, 401),
    ({"token": OTHER}, 200),
])  # fmt: skip
def test_what_is_not_plain_is_left_to_the_view(make_client, board, change, status):
    client = make_client()
    granted(client, {})
    client.viewed.clear()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {change.get('token', TOKENS['step'])}"

    headers = {"Accept": "text/plain", **change.get("headers", {})}
    answer = client.delete(
        f"/api/waits/{change.get('path', 'ServerTasks-7')}", headers=headers, data=change.get("data")
    )

    assert (answer.status_code, len(client.viewed)) == (status, 1)
    is_carried_out = status == 200 and "token" not in change and "Server_7" not in change.get("path", "")
    assert board.place("ServerTasks-7").is_granted is not is_carried_out


def test_a_plain_release_that_redis_cannot_do_is_an_error_of_the_view(make_client, board):
    client = make_client()
    board.client.set(board.keys.runs, "no hash")

    answer = client.delete("/api/waits/ServerTasks-7", headers=SCRIPTS["bash"])

    board.client.delete(board.keys.runs)
    assert (answer.status_code, len(client.viewed)) == (503, 1)
