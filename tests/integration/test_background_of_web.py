"""What a web process does besides answering goes on, whatever becomes of its log."""

from types import SimpleNamespace

import gevent
import pytest
import redis
from gevent.event import Event
from structlog.testing import capture_logs

from app.coordination.wakes import Wakes
from app.web import background, create_app
from tests.conftest import TOKENS, WEBHOOK_SECRET, services_on


class BrokenLog:
    """Its reader has gone, or its disk is full."""

    def __getattr__(self, name):
        raise BrokenPipeError(name)


@pytest.fixture
def app(board, redis_url):
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    return create_app(services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens))


def turns(condition):
    """Let greenlets run until *condition* is true; a thousand times at most."""
    return any(gevent.sleep(0) or condition() for _ in range(1000))


def test_sweep_goes_on_where_its_failure_cannot_be_logged(app, board, monkeypatch):
    monkeypatch.setattr(background, "log", BrokenLog())
    monkeypatch.setattr(background, "SWEEP_SECONDS", 0)
    board.client.delete(board.keys.deadlines)
    board.client.set(board.keys.deadlines, "no zset")
    sweeping = gevent.spawn(background.sweep, app.extensions["octowait"], app.extensions["octowait.refusals"], Event())
    for _ in range(10):
        gevent.sleep(0)

    board.client.delete(board.keys.deadlines)
    board.client.hdel(board.keys.counters, "served_at")

    assert turns(lambda: board.client.hget(board.keys.counters, "served_at"))
    sweeping.kill()


@pytest.mark.parametrize("error", [BrokenPipeError("log"), KeyError("unforeseen")])
def test_left_work_goes_on_after_any_failure(monkeypatch, error):
    monkeypatch.setattr(background, "log", BrokenLog())
    calls, left = [], Event()

    def carry_on():
        calls.append(1)
        if len(calls) == 1:
            raise error
        return False

    carrying = gevent.spawn(background.carry_on, SimpleNamespace(carry_on=carry_on), left)
    for count in (1, 2):
        left.set()
        assert turns(lambda count=count: len(calls) == count)
    carrying.kill()


def test_wakes_are_heard_again_after_a_failure_that_cannot_be_logged(board, monkeypatch):
    monkeypatch.setattr("app.coordination.wakes.log", BrokenLog())
    wakes, messages = Wakes(board.client, board.keys), []

    def heard():
        messages.append(1)
        if len(messages) == 1:
            raise KeyError("unforeseen")
        wakes.is_closed = True
        return iter(())

    monkeypatch.setattr(wakes, "_messages", heard)
    wakes.listen()

    assert len(messages) == 2


@pytest.mark.parametrize("error, level, event", [
    (redis.ConnectionError("gone"), "warning", "wakes: lost Redis, trying again"),
    (KeyError("unforeseen"), "error", "wakes: broke off, trying again"),
])  # fmt: skip
def test_what_ends_the_subscription_is_logged_as_what_it_is(board, monkeypatch, error, level, event):
    wakes, errors = Wakes(board.client, board.keys), [error]

    def messages():
        if errors:
            raise errors.pop()
        wakes.is_closed = True
        return iter(())

    monkeypatch.setattr(wakes, "_messages", messages)
    with capture_logs() as logs:
        wakes.listen()

    [entry] = logs
    assert (entry["log_level"], entry["event"]) == (level, event)
    assert ("exc_info" in entry) == (level == "error")


def test_scripts_that_answer_are_ready_before_they_are_called(board, monkeypatch):
    monkeypatch.setattr(background, "PREPARE_SECONDS", 0)
    texts = []
    monkeypatch.setattr(
        board.script, "text", lambda name, *, with_expiry: texts.append((name, with_expiry)) or "return 1"
    )
    background.prepare(board.script)

    assert {"poll_many", "release", "carry_on", "join"} <= {name for name, _ in texts}
    assert len(texts) == len(set(texts)) == 2 * len(background.PREPARED)
    for name, with_expiry in texts[:]:
        board.script._script(name, with_expiry=with_expiry)
    assert len(texts) == 2 * len(background.PREPARED)
