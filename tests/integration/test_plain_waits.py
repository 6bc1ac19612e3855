"""Calls as the step scripts send them are carried out in front of Flask: the same answer, and the next one sooner."""

import json
import re
import time
from dataclasses import asdict

import pytest
from flask import request

from app.domain.run import RunState
from app.store.errors import StoreUnreachable
from app.web.api.joins_in_turn import JoinsInTurn, NoTurnYet
from app.web.peers import group_of
from tests.bench.world import INFO
from tests.conftest import TOKENS, app_client_on, opened

CLAIM = "c" * 32

#: The secrets of another owner, of one of whose runs one may wait, and of one that may do little.
OTHER, FULL, LOW = (f"{name}-token-of-a-step-0123456789" for name in ("another", "full", "low"))
MORE_TOKENS = (
    f",step:other:{OTHER};projects=Projects-9,step:full:{FULL};max_waiting=1,"
    f"step:low:{LOW};spaces=Spaces-1;max_priority=5"
)

SCRIPTS = {
    "bash": {"Accept": "text/plain", "X-Octowait-Version": "2", "X-Octowait-Claim": CLAIM},
    "python": {"Accept": "application/json", "X-Octowait-Version": "2", "X-Octowait-Claim": CLAIM},
    "bash of version 1": {"Accept": "text/plain"},
    "python of version 1": {"Accept": "application/json"},
}

PATH = "/api/waits/ServerTasks-7"
BODY = {"machines": ["Machines-1", "Machines-2"], **INFO, "tenant": {"id": "", "name": "T\u00fcrkis ##octopus[x]"}}


@pytest.fixture
def make_client(board, redis_url):
    def make(**settings):
        client = app_client_on(board, redis_url, more_tokens=MORE_TOKENS, **settings)
        client.viewed = []
        client.application.before_request(lambda: client.viewed.append(request.path))
        return client

    return make


@pytest.fixture
def client(make_client):
    return make_client()


def join(client, headers, *, task="ServerTasks-7", machines=BODY["machines"], **more):
    data = json.dumps({**BODY, "machines": machines, **more})
    return client.put(
        f"/api/waits/{task}", data=data, headers=headers, content_type="application/json; charset=utf-8"
    )  # fmt: skip


def confirm(client, headers):
    return client.get(f"{PATH}?block_seconds=0", headers=headers)


def release(client, headers):
    return client.delete(PATH, headers=headers)


def join_by_name(client, headers):
    return join(client, headers, machines=["web-01"], release=None, priority=-7, timeout_seconds=60, parked=True)


CALLS = {"PUT": join, "PUT by name": join_by_name, "GET": confirm, "DELETE": release}


def unknown(client, headers):
    pass


def granted(client, headers):
    join(client, headers)


def waiting(client, headers):
    join(client, {}, task="ServerTasks-90")
    join(client, headers)


def told(client, headers):
    granted(client, headers)
    client.get(f"{PATH}?block_seconds=0.01", headers=headers)


def followed(client, headers):
    """Another execution of the step has followed the one that asks."""
    granted(client, headers)
    join(client, {"X-Octowait-Claim": "d" * 32})


BEGINNINGS = {each.__name__: each for each in (unknown, granted, waiting, told, followed)}

#: What differs from one time to the next.
CHANGES = re.compile(r'\b\d+ s\b|\b\d{13}\b|(?<=_ms":) *\d+|\b(family|seen) \S+|"(family|seen)": *"\S+"')

COUNTED = ("token", "granted_change", "order", "family_word")


def left_behind(board):
    """What a call has left: the run, and the kinds of records; without what differs from one time to the next."""
    place = board.place("ServerTasks-7")
    run = asdict(place.run if place else RunState("none", "known"))
    kept = {name: value for name, value in run.items() if not name.endswith("_ms") and name not in COUNTED}
    kinds = [fields[b"kind"] for _, fields in board.client.xrange(board.keys.timeline)]
    return kept, kinds, sorted(board.client.zrange(board.keys.holders, 0, -1))


@pytest.mark.parametrize("headers", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_plain_call_is_answered_as_the_view_answers(make_client, board, call, begin, headers):
    answers = []
    # At level debug each request is logged, in the view.
    for level in ("info", "debug"):
        client = make_client(log_level=level, witness_key="k" * 32)
        begin(client, headers)
        client.viewed.clear()
        answer = call(client, headers)
        is_error = answer.status_code >= 400
        assert len(client.viewed) == (level == "debug" or is_error)
        answers.append((answer, CHANGES.sub("some", answer.text), left_behind(board)))
        board.client.flushdb()
        opened(board)

    (plain, *plain_facts), (viewed, *viewed_facts) = answers
    assert plain_facts == viewed_facts and plain.status == viewed.status
    assert sorted(plain.headers.keys()) == sorted(viewed.headers.keys())
    assert plain.content_type == viewed.content_type and plain.content_length == len(plain.data)


@pytest.mark.parametrize("method, change, status", [
    ("DELETE", {"path": f"{PATH}?reason=over"}, 200),
    ("DELETE", {"path": f"{PATH}?typo=1"}, 422),
    ("DELETE", {"path": "/api/waits/Server_7"}, 200),
    ("DELETE", {"data": b"{}"}, 415),
    ("GET", {"path": f"{PATH}?block_seconds=0&look=1"}, 200),
    ("GET", {"path": f"{PATH}?block_seconds=0&typo=1"}, 422),
    ("GET", {"path": "/api/waits/ServerTasks-8?block_seconds=0"}, 404),
    ("GET", {"path": f"{PATH}?block_seconds=0", "data": b"{}"}, 415),
    ("PUT", {"path": f"{PATH}?query=1"}, 200),
    ("PUT", {"content_type": "text/plain"}, 415),
    ("PUT", {"content_type": None}, 415),
    ("PUT", {"data": b""}, 400),
    ("PUT", {"data": b"{"}, 400),
    ("PUT", {"data": b"[" * 100_000}, 400),
    ("PUT", {"data": b'{"machines": []}'}, 422),
    ("PUT", {"data": b'{"machines": ["Machines-1"], "typo": 1}'}, 422),
    ("PUT", {"data": b'{"machines": ["Machines-1"], "priority": "7"}'}, 422),
    ("PUT", {"data": json.dumps(dict.fromkeys(map(str, range(101)), 1)).encode()}, 422),
    ("PUT", {"data": b" " * (2 << 20)}, 413),
    # It holds others.
    ("PUT", {"data": b'{"machines": ["Machines-3"]}'}, 409),
    ("PUT", {"data": b'{"machines": ["Machines-1"], "on_behalf_of": "ServerTasks-1"}'}, 200),
    *((method, {"headers": {"Accept": "text/html"}}, 200) for method in ("PUT", "DELETE")),
    *((method, {"headers": {"X-Octowait-Claim": "short"}}, 422) for method in ("PUT", "GET", "DELETE")),
    *((method, {"token": TOKENS["viewer"]}, 403) for method in ("PUT", "GET", "DELETE")),
    *((method, {"token": "wrong"}, 401) for method in ("PUT", "GET", "DELETE")),
    *((method, {"token": OTHER}, 200) for method in ("PUT", "DELETE")),
])  # fmt: skip
def test_what_is_not_plain_is_left_to_the_view(make_client, method, change, status):
    client = make_client()
    granted(client, {})
    client.viewed.clear()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {change.get('token', TOKENS['step'])}"

    answer = client.open(
        change.get("path", PATH), method=method, headers={"Accept": "text/plain", **change.get("headers", {})},
        data=change.get("data", json.dumps(BODY) if method == "PUT" else None),
        content_type=change.get("content_type", "application/json" if method == "PUT" else None),
    )  # fmt: skip

    assert (answer.status_code, len(client.viewed)) == (status, 1)
    assert ("problem" in answer.content_type) == (status != 200)


@pytest.mark.parametrize("token, change, state, why", [
    (OTHER, {}, "refused", "projects-9"),
    (FULL, {}, "waiting", "max_waiting"),
    (LOW, {"space_id": "Spaces-2"}, "refused", "Spaces-2"),
])  # fmt: skip
def test_what_a_token_may_not_do_is_refused_and_counted_once(make_client, board, token, change, state, why):
    client = make_client()
    join(client, {}, task="ServerTasks-90")
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {FULL}"
    assert join(client, SCRIPTS["python"], task="ServerTasks-91").json["state"] == "waiting"
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"

    answer = join(client, SCRIPTS["python"], **change)

    assert answer.json["state"] == state and why in answer.json["reason"]
    [refusal] = client.application.extensions["octowait"].refusals.recent()
    assert refusal.count == 1 and why in refusal.why
    assert board.place("ServerTasks-7") is None


def test_a_priority_is_lowered_to_what_the_token_allows(client, board):
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {LOW}"

    plain = join(client, SCRIPTS["python"], priority=5)
    lowered = join(client, SCRIPTS["python"], task="ServerTasks-8", priority=6)

    assert plain.status_code == lowered.status_code == 201
    assert [board.place(f"ServerTasks-{number}").run.priority for number in (7, 8)] == [5, 5]
    assert len(client.viewed) == 1 and board.place("ServerTasks-8").run.remark


def test_a_run_belongs_to_the_token_that_joins_it(client, board):
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {LOW}"

    join(client, SCRIPTS["bash"])

    run = board.place("ServerTasks-7").run
    assert (run.owner, client.viewed) == ("low", []) and run.credential


@pytest.mark.parametrize("call", [*CALLS.values(), lambda client, headers: client.get(f"{PATH}?block_seconds=1")])
def test_a_wrong_token_counts_as_one_attempt(client, board, call):
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer wrong"

    answer = call(client, SCRIPTS["bash"])

    attempts = board.client.get(board.keys.named("sign-in:", f"bearer:{group_of('127.0.0.1')}"))
    assert (answer.status_code, attempts) == (401, b"1")


@pytest.mark.parametrize("call, verb", [(join, "join"), (confirm, "poll"), (release, "release")])
@pytest.mark.parametrize("error, status", [(StoreUnreachable("Redis is away"), 503), (RuntimeError("a mistake"), 500)])
def test_a_call_that_fails_is_made_once(client, board, monkeypatch, call, verb, error, status):
    made = []

    def fail(*args, **more):
        made.append(verb)
        raise error

    monkeypatch.setattr(board, verb, fail)
    answer = call(client, SCRIPTS["bash"])

    assert (answer.status_code, len(client.viewed), made) == (status, 1, [verb])
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("headers, status", [(SCRIPTS["bash"], 503), (SCRIPTS["bash of version 1"], 200)])
def test_a_join_whose_turn_does_not_come_waits_for_it_once(client, monkeypatch, headers, status):
    waited = []

    def turn(self, *_):
        waited.append(self)
        raise NoTurnYet(503, "too_many_joins", "others asked before")

    monkeypatch.setattr(JoinsInTurn, "turn", turn)
    answer = join(client, headers)

    assert (answer.status_code, len(waited)) == (status, 1)
    assert "others asked before" in answer.text


@pytest.mark.parametrize("more", [{}, {"on_behalf_of": "ServerTasks-90"}])
def test_a_join_has_one_turn_wherever_it_is_carried_out(client, monkeypatch, more):
    waiting(client, SCRIPTS["python"])
    turns, turn = [], JoinsInTurn.turn
    monkeypatch.setattr(JoinsInTurn, "turn", lambda self, *asked: turns.append(asked) or turn(self, *asked))

    answer = join(client, SCRIPTS["python"], task="ServerTasks-8", **more)

    assert (answer.status_code, len(turns)) == (201, 1)


def test_a_plain_call_that_redis_cannot_do_is_an_error_of_the_view(client, board):
    board.client.set(board.keys.runs, "no hash")

    answers = [call(client, SCRIPTS["bash"]) for call in (join, confirm, release)]

    board.client.delete(board.keys.runs)
    assert [answer.status_code for answer in answers] == [503] * 3 and len(client.viewed) == 3
    assert all(board.keys.runs in answer.json["detail"] for answer in answers)


def test_a_run_that_asks_again_and_again_whether_it_is_its_turn_is_slowed_down(client):
    waiting(client, SCRIPTS["bash"])
    client.viewed.clear()

    confirm(client, SCRIPTS["bash"])
    assert client.viewed == []
    began = time.monotonic()
    confirm(client, SCRIPTS["bash"])

    assert time.monotonic() - began > 0.5


def test_the_names_of_new_machines_are_asked_for(make_client, board):
    client = make_client(octopus_url="https://octopus.example.com", octopus_api_key="API-KEY")

    join(client, SCRIPTS["bash"])

    assert client.viewed == []
    assert board.client.zrange(board.keys.unnamed, 0, -1) == [b"ServerTasks-7"]


class BrokenStream:
    def read(self, size=-1):
        raise ConnectionResetError("the client hung up")


def test_a_join_whose_body_breaks_off_is_an_error_of_the_view(client, board):
    broken = {"wsgi.input": BrokenStream(), "CONTENT_LENGTH": "50"}

    answer = client.put(PATH, headers=SCRIPTS["bash"], content_type="application/json", environ_overrides=broken)

    assert (answer.status_code, answer.json["code"], len(client.viewed)) == (400, "broken_body", 1)
    assert board.place("ServerTasks-7") is None
