"""What Octopus's clock is ahead is measured by its answers, and said on Health, in ``status`` and by doctor."""

from __future__ import annotations

import time
from datetime import timedelta
from email.utils import formatdate

import pytest

from app.coordination.board.clock_offset import ClockOffset
from app.coordination.reach import Reach
from app.octopus.client import OctopusClient
from app.web.pages.health import offset_words
from tests.conftest import services_on

FIVE = timedelta(seconds=5)


@pytest.fixture
def ask(board, httpserver, monkeypatch):
    """Ask Octopus for a task, which answers with that ``Date``."""
    clients = []

    def ask(date):
        monkeypatch.setattr("werkzeug.serving.WSGIRequestHandler.date_time_string", lambda *_: date)
        task = {"Id": "ServerTasks-1", "State": "Executing"}
        httpserver.expect_oneshot_request("/api/Spaces-1/tasks/ServerTasks-1").respond_with_json(task)
        reach = Reach(board.script, board.client, board.keys)
        clients.append(OctopusClient(httpserver.url_for("/"), "API-KEY", reach=reach, attempts=1))
        clients[-1].task("ServerTasks-1", space="Spaces-1")
        return board.octopus_offset()

    yield ask
    for client in clients:
        client.close()


@pytest.mark.parametrize("ahead", [8, -8, 600, -600, 0])
def test_answers_tell_it(ask, ahead):
    for _ in range(2):
        offset = ask(formatdate(time.time() + ahead, usegmt=True))

    assert offset.source == "answer"
    assert offset.least_ms <= ahead * 1000 <= offset.most_ms
    assert offset.most_ms - offset.least_ms < 3_000


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Nov 2026 25:00:00 GMT"])
def test_answer_whose_time_cannot_be_read_tells_nothing(ask, date):
    assert not ask(date).is_known


def test_one_process_measures_it_now_and_then_only(board):
    reach, now = Reach(board.script, board.client, board.keys), time.monotonic()
    for number, at in enumerate((now, now + 9, now + 10.1)):
        reach.answered(date_ms=round(time.time()) * 1000 + 100_000 * number, sent=at, received=at)

    # The second one was not looked at, the third contradicts the first.
    assert 150_000 < board.octopus_offset().middle_ms < 250_000


def test_measurement_of_a_day_ago_counts_no_more(board, ask):
    ask(formatdate(time.time() + 600, usegmt=True))
    board.script.offset_ms += 3_600_000
    offset = board.octopus_offset()
    assert offset.is_known and offset.most_ms - offset.least_ms > 3_600

    board.script.offset_ms += 86_400_000
    assert not board.octopus_offset().is_known


def test_clock_that_is_far_away_is_a_fault(board, redis_url, ask):
    services = services_on(board, redis_url)
    assert [fault for fault in services.faults() if fault.code == "clocks_apart"] == []

    ask(formatdate(time.time() - 900, usegmt=True))

    [fault] = [fault for fault in services.faults() if fault.code == "clocks_apart"]
    assert fault.message.startswith("The clock of Octopus is 15 min behind that of Redis")


@pytest.mark.parametrize(
    ("least_ms", "most_ms", "is_fault"),
    [(-1000, 900, False), (4_000, 5_500, False), (5_001, 6_000, True), (-6_000, -5_001, True), (-6_000, -4_000, False)],
)
def test_fault_is_beyond_doubt(least_ms, most_ms, is_fault):
    assert bool(ClockOffset(least_ms, most_ms, "answer").faults(FIVE)) == is_fault


def test_health_says_how_it_is_known():
    assert "not compared" in offset_words(ClockOffset())
    assert offset_words(ClockOffset(-30, 30, "answer")).startswith("+0.0 s to +0.0 s"), "nothing is less than nothing"
    assert offset_words(ClockOffset(-600_200, -599_900, "answer")) == (
        "-600.2 s to -599.9 s from that of Redis, by the time of its answers"
    )
    assert "webhooks" in offset_words(ClockOffset(1, 2, "webhook"))
