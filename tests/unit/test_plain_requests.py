"""A head that is read with one expression says what it says when gunicorn reads it line by line."""

from __future__ import annotations

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import example, given
from hypothesis import strategies as st

from app.web.http1.requests import PlainRequest
from tests.bench.wire import http, step_http

PEER = ("192.0.2.1", 4711)

FIELDS = ("method", "uri", "path", "query", "fragment", "version", "headers", "trailers", "scheme", "must_close",
          "_expected_100_continue")  # fmt: skip


@pytest.fixture(scope="module")
def cfg():
    config = Config()
    config.set("forwarded_allow_ips", "")
    config.set("forwarder_headers", "")
    return config


def what_comes_of(kind, cfg, pieces, peer=PEER):
    """What is known of the first request in *pieces*, with its body and what is left behind it; or its error."""
    unreader = IterUnreader(list(pieces))
    try:
        request = kind(cfg, unreader, peer)
        body = request.body.read()
    except Exception as error:
        return type(error), str(error)
    return [getattr(request, name) for name in FIELDS], request.should_close(), body, unreader.read()


names = st.sampled_from(
    "Host Accept Authorization X-Octowait-Claim x-octowait-seen Content-Length Content-Type Connection Expect "
    "Transfer-Encoding Upgrade X-Forwarded-Proto X_Octowait_Claim Forwarded Cookie A Bad\x7f".split()
) | st.text("ab-_ :\t", max_size=4)
values = st.sampled_from(["0", "5", "05", "+5", "close", "keep-alive", "100-continue", "chunked", "gzip", "https", "",
                          " ", "a b", " a", "a ", "a\tb", "a\x00b", "é", "a: b", "localhost", "x" * 9000]) | st.text(
    "ab,;=\" '\t", max_size=6)  # fmt: skip
targets = st.sampled_from([
    "/", "//x", "/api/waits/ServerTasks-1", "/api/waits/ServerTasks-1?block_seconds=50", "/a?b?c", "/a#b", "/a%2fb",
    "/a?b=%20", "*", "http://x/y", "/a b", "/é", "", "?a", "/a/../b", "/a;b?c", "/a?", "/" + "a" * 5000,
])  # fmt: skip
methods = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "get", "G", "CONNECT", "OPTIONS", ""])
versions = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.10", "http/1.1", ""])
ends = st.sampled_from(["\r\n"] * 8 + ["\n", "\r", "\r\n "])
lines = st.tuples(names, st.sampled_from([": "] * 6 + [":", " :", ":  "]), values, ends).map("".join)
heads = st.tuples(
    st.tuples(methods, targets, versions).map(" ".join), ends, st.lists(lines, max_size=8).map("".join), ends
).map("".join)


@given(heads, st.sampled_from([b"", b"12345", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"]), st.integers(0, 400))
@example("GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", 0)
@example("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", b"12345", 0)
@example("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"", 0)
@example("GET /a HTTP/1.1\r\nX-A: a\r\nX-A: b\r\n\r\n", b"", 0)
@example("GET /a HTTP/1.1\r\nConnection: close\r\n\r\n", b"", 0)
@example("POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"12345", 0)
def test_request_is_what_gunicorn_reads(cfg, head, behind, cut):
    data = head.encode() + behind
    pieces = [piece for piece in (data[:cut], data[cut:]) if piece]

    assert what_comes_of(PlainRequest, cfg, pieces) == what_comes_of(Request, cfg, pieces)


@pytest.fixture
def slow(monkeypatch):
    """The heads that are read line by line."""
    heads = []
    parse = Request.parse
    monkeypatch.setattr(Request, "parse", lambda self, unreader: heads.append(1) or parse(self, unreader))
    return heads


@pytest.mark.parametrize(
    "data",
    [
        step_http("GET", "ServerTasks-1", "s" * 32, "?block_seconds=50", seen="1764150000000-ab.17.c0ffee.Zm9v_-"),
        step_http("PUT", "ServerTasks-1", "s" * 32, body='{"machines": ["Machines-7"]}'),
        step_http("DELETE", "ServerTasks-1", "s" * 32),
        http("POST", "/webhooks/octopus", "s" * 32, body="{}", X_Octowait_Secret="w" * 32),
        b"GET /api/waits/ServerTasks-1?block_seconds=50 HTTP/1.1\r\nAccept-Encoding: identity\r\nHost: a.b:8080\r\n"
        b"User-Agent: octowait-wait/2 (python)\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
    ],
)
def test_requests_of_steps_and_of_octopus_are_plain(cfg, slow, data):
    assert what_comes_of(PlainRequest, cfg, [data]) and not slow


@pytest.mark.parametrize(
    ("peer", "name", "value"),
    [("", "bind", "unix:/run/x"), (PEER, "forwarded_allow_ips", "192.0.2.1"), (PEER, "proxy_protocol", "auto")],
)
def test_what_a_peer_may_say_is_left_to_gunicorn(slow, peer, name, value):
    config = Config()
    config.set("forwarded_allow_ips", "")
    config.set(name, value)
    data = b"GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\n\r\n"

    assert what_comes_of(PlainRequest, config, [data], peer) == what_comes_of(Request, config, [data], peer)
    assert len(slow) == 2


def test_plain_head_is_not_longer_than_gunicorn_takes(cfg):
    """So that none of its limits is passed over."""
    from app.web.http1.requests import _PLAIN

    longest = b"GET /" + b"a" * 999 + b"?" + b"b" * 1000 + b" HTTP/1.1\r\n"
    assert len(longest) < cfg.limit_request_line
    assert not _PLAIN.match(b"GET /" + b"a" * 1001 + b" HTTP/1.1\r\nA: b\r\n\r\n")
    assert _PLAIN.match(b"GET / HTTP/1.1\r\nA: " + b"b" * 4000 + b"\r\n\r\n") and cfg.limit_request_field_size > 4200
    assert _PLAIN.match(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50 + b"\r\n") and cfg.limit_request_fields > 50
    assert not _PLAIN.match(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 51 + b"\r\n")
