"""What a reader costs, and is answered, where there are more machines than a page shows."""

import re

import pytest

from app.client.paging import call_all
from app.queries.machines import LAST_RUNS
from app.web import create_app
from app.web.api.schemas.fields import MOST_LISTED
from app.web.pages import dashboard as dashboard_page
from tests.bench.world import INFO
from tests.conftest import TOKENS, WEBHOOK_SECRET, services_on
from tests.integration.test_shared_snapshot import commands

MACHINES = 30

#: Of the dashboard of a fleet of any size, uncompressed.
MOST_DASHBOARD_BYTES = 500_000


@pytest.fixture
def client(board, redis_url):
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    client = create_app(services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens)).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKENS['viewer']}"
    return client


@pytest.fixture
def fleet(board, a_run):
    """Machines each of which has had as many runs as an answer shows, and has a holder and a waiter."""
    for n in range(MACHINES):
        runs = [a_run() for _ in range(LAST_RUNS)]
        for number, run in enumerate(runs):
            board.join(run, {f"Machines-{n}"})
            if number < LAST_RUNS - 2:
                board.release(run.task_id)


def test_what_reads_one_machine_reads_one_machine(board, client, fleet):
    client.get("/api/machines/Machines-7")

    counts = commands(board, lambda: client.get("/api/machines/Machines-7"))

    looked_up = counts.pop("xrange", 0)  # The records of its last runs, of which four tell of each.
    assert looked_up <= 5 * LAST_RUNS
    assert sum(counts.values()) <= 20, counts


def test_a_machine_tells_its_last_runs_and_who_is_there(board, client, fleet):
    answer = client.get("/api/machines/machines-7").json

    assert len(answer["last_runs"]) == LAST_RUNS
    newest, before = answer["last_runs"][:2]
    assert (newest["state"], before["state"]) == ("waiting", "granted")
    assert newest["message"].startswith("Waiting for Machines-7, place 1: ")
    assert [held["task_id"] for held in newest["machines"][0]["holders"]] == [before["task_id"]]
    assert before["machines"][0]["holders"] == []


def test_a_last_run_names_its_other_machines_without_reading_them(board, client, a_run):
    board.join(a_run(), {"Machines-1", "Machines-2"})
    waiter = board.join(a_run(), {"Machines-1", "Machines-2", "Machines-3"})

    run = client.get("/api/machines/Machines-1").json["last_runs"][0]

    assert run["task_id"] == waiter.task_id
    assert {m["id"]: (m["place"], len(m["holders"])) for m in run["machines"]} == {
        "Machines-1": (1, 1), "Machines-2": (None, 0), "Machines-3": (None, 0),
    }  # fmt: skip
    assert "Machines-1 and 2 more, place 1: " in run["message"]


@pytest.mark.parametrize("path, name, key", [("/api/machines", "machines", "id"), ("/api/waits", "waits", "task_id")])
def test_lists_come_in_pages_that_have_each_entry_once(client, fleet, path, name, key):
    whole = client.get(path).json

    pages, cursor = [], None
    while cursor or not pages:
        pages.append(client.get(path, query_string={"limit": 7, **({"cursor": cursor} if cursor else {})}).json)
        cursor = pages[-1]["next_cursor"]

    assert [len(page[name]) for page in pages] == [7, 7, 7, 7, 2]
    assert [each[key] for page in pages for each in page[name]] == [each[key] for each in whole[name]]
    assert {page[f"{name}_count"] for page in pages} == {MACHINES}
    assert whole["next_cursor"] is None


def test_an_answer_has_500_entries_at_most(client):
    assert client.get("/api/machines?limit=501").json["code"] == "invalid"
    assert client.get("/api/waits?limit=501").json["code"] == "invalid"
    assert MOST_LISTED == 500


@pytest.mark.parametrize("path, code", [
    ("/api/machines?cursor=Machines-99", "unknown_machine"), ("/api/machines?cursor=%20", "invalid"),
    ("/api/waits?cursor=7", "invalid"),
])  # fmt: skip
def test_a_cursor_that_is_none_is_said_to_be_none(client, fleet, path, code):
    assert client.get(path).json["code"] == code


def test_waits_go_on_behind_one_that_has_been_granted_meanwhile(board, client, fleet):
    first = client.get("/api/waits?limit=3").json
    last = first["waits"][-1]["task_id"]
    board.release(last)

    second = client.get("/api/waits", query_string={"limit": 3, "cursor": first["next_cursor"]}).json

    whole = [each["task_id"] for each in client.get("/api/waits").json["waits"]]
    assert [each["task_id"] for each in second["waits"]] == whole[2:5]


def test_commands_put_the_pages_together(monkeypatch):
    class Paged:
        def call(self, method, path, *, query=None, **_):
            begin = int((query or {}).get("cursor", 0))
            return {
                "machines": [begin, begin + 1],
                "next_cursor": str(begin + 2) if begin < 4 else None,
                "now_ms": begin,
            }

    assert call_all(Paged(), "/api/machines", "machines") == {
        "machines": [0, 1, 2, 3, 4, 5], "next_cursor": None, "now_ms": 0,
    }  # fmt: skip


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(dashboard_page, "WHOLE_FLEET", 20)
    monkeypatch.setattr(dashboard_page, "CARDS", 10)
    monkeypatch.setattr(dashboard_page, "LINE_OF_MANY", 1)


def cards(page):
    return re.findall(r'<article class="machine" data-key="([^"]+)"', page.text)


def test_the_dashboard_shows_a_part_of_a_large_fleet(board, client, fleet, small_pages, a_run):
    board.join(a_run(), {"Machines-0"})
    first, last = client.get("/"), client.get("/?from=20")

    assert cards(first) == [f"machines-{n}" for n in range(10)]
    assert cards(last) == [f"machines-{n}" for n in range(20, 30)]
    assert "Machines 1 to 10 of 30" in first.text and "data-paged" in first.text
    assert 'href="/?from=10">Later</a>' in first.text and "Earlier" not in first.text
    assert 'href="/?from=10">Earlier</a>' in last.text and "Later" not in last.text
    assert "+1 more" in first.text


def test_the_dashboard_of_a_large_fleet_is_small(board, client, fleet, a_run, monkeypatch):
    monkeypatch.setattr(dashboard_page, "WHOLE_FLEET", 20)
    for n in range(MACHINES):
        for _ in range(dashboard_page.LINE_OF_MANY + 2):
            board.join(a_run(info=INFO), {f"Machines-{n}"})
    nothing, whole = client.get("/?q=nobody"), client.get("/")

    assert len(cards(whole)) == MACHINES
    each = (len(whole.data) - len(nothing.data)) / MACHINES
    assert len(nothing.data) + dashboard_page.CARDS * each < MOST_DASHBOARD_BYTES


def test_a_filter_looks_through_all_of_a_large_fleet(client, fleet, small_pages):
    page = client.get("/?q=machines-2&show=busy")

    assert cards(page) == ["machines-2", *(f"machines-{n}" for n in range(20, 29))]
    assert 'href="/?q=machines-2&amp;show=busy&amp;from=10">Later</a>' in page.text
    nothing = client.get("/?q=nobody")
    assert cards(nothing) == [] and re.search(r'id="nothing">', nothing.text)


@pytest.mark.parametrize("begin", ["-5", "x", "999"])
def test_a_page_that_there_is_not_is_one_that_there_is(client, fleet, small_pages, begin):
    assert cards(client.get(f"/?from={begin}"))


def test_the_card_of_one_machine_costs_its_change(board, client, fleet, small_pages):
    client.get("/")
    board.release(client.get("/api/waits?limit=1").json["waits"][0]["task_id"])

    counts = commands(board, lambda: client.get("/?fragment=some&machine=machines-25"))

    assert "hgetall" not in counts and counts["zrangebylex"] <= 4, counts
    assert cards(client.get("/?fragment=some&machine=machines-25")) == ["machines-25"]


def test_the_health_page_reads_the_timeline_with_few_commands(board, client, fleet):
    client.get("/health")

    assert sum(commands(board, lambda: client.get("/health")).values()) <= 60
