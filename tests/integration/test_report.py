"""The report of a range: what is in it when there is much, and when it is old."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.domain.run import RunRequest
from app.web import create_app
from tests.conftest import TOKENS, WEBHOOK_SECRET, services_on

TTL = timedelta(days=9)


@pytest.fixture
def services(board, redis_url, tmp_path):
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    return services_on(board, redis_url, archive_dir=tmp_path, tokens=tokens, webhook_secret=WEBHOOK_SECRET)


@pytest.fixture
def report(services):
    client = create_app(services).test_client()
    return lambda query="": client.get(f"/api/report?{query}", headers={"Authorization": f"Bearer {TOKENS['viewer']}"})


def test_machines_where_most_was_waited_are_drawn_and_how_many_are_not_is_said(board, clock, report, monkeypatch):
    monkeypatch.setattr("app.web.api.report.MOST_CHARTS", 2)
    for number in range(1, 6):
        board.join(RunRequest(f"ServerTasks-{number}"), {f"Machines-{number}"}, ttl=TTL)
    for number in (2, 4):
        board.join(RunRequest(f"ServerTasks-{number + 10}"), {f"Machines-{number}"}, ttl=TTL)
    clock.advance(timedelta(hours=1))
    board.release("ServerTasks-2")
    board.release("ServerTasks-4")

    text = report().text

    assert [f"<h3>Machines-{number}</h3>" in text for number in range(1, 6)] == [False, True, False, True, False]
    assert "Of 3 more machines, on which less was waited, there is no chart" in text


def test_ledger_of_a_report_is_the_same_when_its_range_is_in_the_archive(board, services, report):
    # The ledger ends now by the server's clock, so this was long ago by it.
    board.client.hdel(board.keys.counters, "stamp")
    board.script.offset_ms = -200 * 86_400_000
    begin_ms = board.now_ms() - 1
    for number in (1, 2):
        board.join(RunRequest(f"ServerTasks-{number}"), {"Machines-7"}, ttl=TTL)
    board.script.offset_ms += 5 * 3_600_000
    board.release("ServerTasks-1")
    board.release("ServerTasks-2")
    query = f"from_ms={begin_ms}&to_ms={board.now_ms() + 1}"
    before = report(query).text
    board.script.offset_ms = 0
    board.reserve("Machines-8", note="disk", by="ann")

    while services.retention.step(board.now_ms()):
        pass

    after = report(query).text
    assert services.archive.manifests()
    assert "For 5 h ServerTasks-1 held Machines-7." in before
    assert after.partition("What waiting cost")[2] == before.partition("What waiting cost")[2]
