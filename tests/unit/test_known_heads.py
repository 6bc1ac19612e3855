"""A head that is known is read as gunicorn reads it, and what is not certain to mean the same is left to gunicorn."""

from __future__ import annotations

import string
from contextlib import suppress
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create
from hypothesis import given
from hypothesis import strategies as st

from app.web.polls.known_heads import MOST_HEADS, KnownHeads, head_of

CFG = Config()
NAME, PEER = ("127.0.0.1", 8080), ("192.0.2.1", 4711)

#: What is made anew for each request, and means the same.
OF_ONE = {"wsgi.input", "wsgi.errors", "wsgi.early_hints"}

#: As curl sends it for the step in Bash.
LINES = ["Host: octowait.example.com:8080", "User-Agent: octowait-wait/2 (bash)", "Accept: text/plain",
         "Authorization: Bearer token-of-steps", "X-Octowait-Version: 2", "X-Octowait-Claim: claim-of-the-first-one",
         "X-Octowait-Seen: e1.t17.a1.c2lnbmF0dXJl"]  # fmt: skip


def data_of(lines, target="/api/waits/ServerTasks-1?block_seconds=50", method="GET", version="1.1", behind=""):
    return (
        f"{method} {target} HTTP/{version}\r\n" + "".join(f"{line}\r\n" for line in lines) + f"\r\n{behind}"
    ).encode()


def by_gunicorn(data, peer=PEER):
    """The request, and its environment."""
    request = Request(CFG, IterUnreader([data]), peer)
    request.proxy_protocol_info = {}
    return request, create(request, SimpleNamespace(send=len), peer, NAME, CFG)[1] | {"gunicorn.socket": None}


def by_known_heads(heads, data, peer=PEER):
    head = head_of(data, NAME)
    return head and heads.request(head, None, peer)


def learn(heads, data):
    head = head_of(data, NAME)
    if head:
        heads.learn(head, *by_gunicorn(data))
    return head


def common_part(environ):
    return {name: value for name, value in environ.items() if name not in OF_ONE}


VALUES = st.text(string.ascii_letters + string.digits + "._~+/=-", min_size=1, max_size=80)
TASKS = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=100)
QUERIES = st.from_regex(r"block_seconds=[0-9]{1,2}(\.[0-9]{1,9})?", fullmatch=True)


@st.composite
def pairs_of_polls(draw):
    """Two polls that differ in nothing but their task and their values; the names are written in any way."""
    names = draw(st.permutations(["Authorization: Bearer ", "X-Octowait-Claim: ", "X-Octowait-Seen: "]))
    own = [draw(st.sampled_from([name, name.lower(), name.upper()])) for name in names[: draw(st.integers(0, 3))]]
    others = draw(st.lists(st.sampled_from([
        "Host: a", "host: b:80", "User-Agent: curl/8", "Accept: */*", "Accept:  text/plain ", "Connection: close",
        "Connection: keep-alive", "X-Forwarded-For: 192.0.2.7", "Accept: application/json",
    ]), max_size=5, unique_by=lambda line: line.partition(":")[0].lower()))  # fmt: skip
    order = draw(st.permutations(range(len(own) + len(others))))

    def poll():
        lines = [name + draw(VALUES) for name in own] + others
        return data_of([lines[at] for at in order], f"/api/waits/{draw(TASKS)}?{draw(QUERIES)}")

    return poll(), poll()


@given(pairs_of_polls(), st.integers(1, 65535))
def test_a_known_head_is_read_as_gunicorn_reads_it(polls, port):
    heads, (first, second) = KnownHeads(), polls
    learn(heads, first)

    request = by_known_heads(heads, second, ("192.0.2.9", port))
    theirs, environ = by_gunicorn(second, ("192.0.2.9", port))

    assert common_part(request.environ) == common_part(environ)
    assert request.environ["wsgi.input"].read() == b""
    assert (request.method, request.version, request.path) == (theirs.method, theirs.version, theirs.path)
    assert request.should_close() == theirs.should_close()


def test_what_one_request_changes_no_other_one_sees():
    heads = KnownHeads()
    learn(heads, data_of(LINES))
    by_known_heads(heads, data_of(LINES)).environ["octowait.token"] = "of the first"

    assert "octowait.token" not in by_known_heads(heads, data_of(LINES)).environ


@pytest.mark.parametrize("data", [
    data_of(LINES, method="PUT"), data_of(LINES, method="DELETE"), data_of(LINES, version="1.0"),
    data_of(LINES, "/api/waits/ServerTasks-1"), data_of(LINES, "/api/waits/ServerTasks-1?look=1"),
    data_of(LINES, "/api/waits/ServerTasks-1?block_seconds=50&look=1"),
    data_of(LINES, "/api/waits/a%2Fb?block_seconds=50"), data_of(LINES, "//api/waits/ServerTasks-1?block_seconds=50"),
    data_of(LINES, "/api/machines"), data_of(LINES, behind="GET / HTTP/1.1\r\n\r\n"), data_of(LINES, behind="x"),
    data_of(LINES)[:-1], data_of(LINES)[:-2], data_of(LINES)[:40], b"", b"\r\n" + data_of(LINES),
    data_of(LINES).replace(b"\r\n", b"\n"),
])  # fmt: skip
def test_what_is_more_or_less_than_a_poll_is_no_head_of_one(data):
    assert head_of(data, NAME) is None


@pytest.mark.parametrize("line", [
    "Expect: 100-continue", "Content-Length: 0", "Content-Length: 3", "Transfer-Encoding: chunked", "Upgrade: h2c",
    "X-Octowait-Claim: another-one-of-the-same", "Authorization: Bearer another", "Cookie: a=b",
    "Content-Type: text/plain", "Unheard-Of: 1",
])  # fmt: skip
def test_what_could_mean_more_than_its_value_is_not_learnt(line):
    heads, data = KnownHeads(), data_of([*LINES, line])
    head = head_of(data, NAME)
    with suppress(ParseException):
        learn(heads, data)

    assert head is not None and by_known_heads(heads, data) is None and len(heads) == 0


@pytest.mark.parametrize("line", [
    "X-Octowait-Claim: with a blank", "X-Octowait-Seen: tab\tinside", "Authorization: Basic YTpi",
    "X-Octowait-Seen: \x01",
    "X-Octowait-Claim:no-blank", "X_Octowait_Claim: x", "X-Octowait-Claim : x", " X-Octowait-Claim: x", "Host: other",
    f"X-Octowait-Seen: {'x' * 4001}",
])  # fmt: skip
def test_a_line_that_is_another_one_is_not_known(line):
    heads = KnownHeads()
    learn(heads, data_of(LINES))

    for at in range(len(LINES)):
        assert by_known_heads(heads, data_of([*LINES[:at], line, *LINES[at + 1 :]])) is None
        assert by_known_heads(heads, data_of([*LINES[:at], line, *LINES[at:]])) is None


def test_a_head_that_came_to_another_listener_is_not_known():
    heads = KnownHeads()
    learn(heads, data_of(LINES))

    assert heads.request(head_of(data_of(LINES), ("127.0.0.1", 8081)), None, PEER) is None


def test_few_heads_are_remembered_those_of_late():
    heads = KnownHeads()
    polls = [data_of([f"Host: {number}", *LINES[1:]]) for number in range(2 * MOST_HEADS)]
    for data in polls:
        learn(heads, data)

    assert len(heads) == MOST_HEADS
    assert [bool(by_known_heads(heads, data)) for data in polls] == [False] * MOST_HEADS + [True] * MOST_HEADS


def test_nothing_that_opens_anything_is_remembered():
    heads = KnownHeads()
    learn(heads, data_of(LINES))

    assert "token-of-steps" not in repr(vars(heads)) and "claim-of-the-first-one" not in repr(vars(heads))
