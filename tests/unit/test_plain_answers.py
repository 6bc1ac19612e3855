"""An answer goes out with one call of the system, and is byte for byte what gunicorn sends."""

from __future__ import annotations

import re
import socket
from functools import partial
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import Response

from app.web.answers import Answer
from app.web.worker import Worker

PEER, NAME = ("192.0.2.1", 4711), ("127.0.0.1", 80)


class Wire:
    """What was sent, and with how many calls."""

    def __init__(self):
        self.pieces = []
        self.is_shut = False

    def sendall(self, data):
        self.pieces.append(bytes(data))

    def shutdown(self, how):
        assert how == socket.SHUT_RDWR
        self.is_shut = True


@pytest.fixture(scope="module")
def cfg():
    return Config()


def a_request(cfg, method="GET", version="1.1", more=""):
    head = f"{method} / HTTP/{version}\r\nHost: a\r\n{more}\r\n"
    return Request(cfg, IterUnreader([head.encode()]), PEER)


def sent(kind, cfg, request, status, headers, parts):
    wire = Wire()
    answer = kind(request, wire, cfg)
    answer.start_response(status, headers)
    for part in parts:
        answer.write(part)
    answer.close()
    data = re.sub(rb"Date: [^\r]+", b"Date: now", b"".join(wire.pieces))
    return data, answer.should_close(), len(wire.pieces)


@pytest.mark.parametrize(("method", "version"), [("GET", "1.1"), ("HEAD", "1.1"), ("GET", "1.0"), ("POST", "1.1")])
@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
@pytest.mark.parametrize(
    ("status", "headers", "parts"),
    [
        ("200 OK", [("Content-Length", "4"), ("X-A", "b")], [b"done"]),
        ("200 OK", [("Content-Length", "0")], [b""]),
        ("200 OK", [("Content-Length", "0")], []),
        ("200 OK", [("Content-Length", "4")], [b"do", b"ne"]),
        ("200 OK", [("Content-Length", "4")], [b"done and more"]),
        ("200 OK", [("Content-Length", "9")], [b"done"]),
        ("200 OK", [], [b"do", b"", b"ne"]),
        ("204 NO CONTENT", [], []),
        ("304 NOT MODIFIED", [("Content-Length", "4")], []),
    ],
)
def test_answer_is_that_of_gunicorn(cfg, method, version, more, status, headers, parts):
    ours, theirs = (
        sent(kind, cfg, a_request(cfg, method, version, more), status, headers, parts) for kind in (Answer, Response)
    )

    assert ours[:2] == theirs[:2]


def test_head_and_body_go_out_together(cfg):
    headers = [("Content-Length", "4")]

    assert sent(Answer, cfg, a_request(cfg), "200 OK", headers, [b"done"])[2] == 1


def test_answer_says_the_second_in_which_it_goes_out(cfg, monkeypatch):
    headers, dates = [("Content-Length", "4")], []
    for seconds in (784111777.2, 784111777.9, 784111778.1):
        monkeypatch.setattr("app.web.answers.time", SimpleNamespace(time=partial(float, seconds)))
        wire = Wire()
        answer = Answer(a_request(cfg), wire, cfg)
        answer.start_response("200 OK", headers)
        answer.write(b"done")
        dates += re.findall(rb"Date: ([^\r]+)\r\n", wire.pieces[0])

    assert dates == [b"Sun, 06 Nov 1994 08:49:37 GMT"] * 2 + [b"Sun, 06 Nov 1994 08:49:38 GMT"]


def worker_of(cfg, application):
    worker = Worker.__new__(Worker)
    worker.cfg, worker.alive, worker.wsgi = cfg, True, application
    return worker


def test_answer_that_breaks_off_ends_its_connection(cfg):
    def breaks_off(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"half of it"
        raise ValueError("no more")

    wire = Wire()
    with pytest.raises(StopIteration):
        worker_of(cfg, breaks_off)._answer(NAME, a_request(cfg), wire, PEER)

    # Its end is not there, so that nobody takes it for whole.
    assert wire.is_shut and b"half of it" in b"".join(wire.pieces) and b"0\r\n\r\n" not in b"".join(wire.pieces)


def test_error_before_the_answer_is_told_to_who_answers_it(cfg):
    def fails(environ, start_response):
        raise ValueError("broken")

    wire = Wire()
    with pytest.raises(ValueError, match="broken"):
        worker_of(cfg, fails)._answer(NAME, a_request(cfg), wire, PEER)

    assert wire.pieces == [] and not wire.is_shut


@pytest.mark.parametrize(("alive", "more"), [(False, ""), (True, "Connection: close\r\n")])
def test_last_answer_of_a_connection_says_so(cfg, alive, more):
    def done(environ, start_response):
        start_response("200 OK", [("Content-Length", "4")])
        return [b"done"]

    worker, wire = worker_of(cfg, done), Wire()
    worker.alive = alive
    with pytest.raises(StopIteration):
        worker._answer(NAME, a_request(cfg, more=more), wire, PEER)

    assert b"Connection: close\r\n" in wire.pieces[0]
