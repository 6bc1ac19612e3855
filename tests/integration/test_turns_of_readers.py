"""Whoever asks for much, or sends much, keeps nobody else waiting: counted in turns of others and in what is made."""

import json

import pytest

from app.web import MOST_OF_A_FORM, create_app
from app.web.api.routing import MOST_FIELDS
from tests.conftest import TOKENS, WEBHOOK_SECRET, services_on


@pytest.fixture
def services(board, redis_url):
    tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
    return services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens)


@pytest.fixture
def client(services):
    return create_app(services).test_client()


@pytest.fixture
def turns(monkeypatch):
    """The turns that others had."""
    slept = []
    monkeypatch.setattr("app.store.fairness.time.sleep", slept.append)
    return slept


def of(role):
    return {"Authorization": f"Bearer {TOKENS[role]}"}


@pytest.mark.parametrize("path", ["/api/machines", "/api/machines/Machines-1"])
def test_a_long_line_is_answered_in_turns(board, a_run, client, turns, path, monkeypatch):
    def turns_of(every):
        monkeypatch.setattr("app.web.api.machines.WAITERS_IN_A_TURN", every)
        turns.clear()
        answer = client.get(path, headers=of("viewer")).json
        [machine] = answer.get("machines", [answer])
        assert len(machine["line"]) == 101
        return len(turns)

    for _ in range(102):
        board.join(a_run(), {"Machines-1"})
    turns_of(1000)  # The first reads the whole board.

    assert turns_of(10) - turns_of(1000) == 10


def test_page_of_a_run_that_waits_for_very_many_machines_names_the_first_and_says_how_many_more(board, a_run, client):
    machines, run = {f"Wide-{n:05}" for n in range(1000)}, a_run()
    board.join(a_run(), machines)
    board.join(run, machines)

    page = client.get(f"/runs/{run.task_id}", headers=of("viewer")).text

    assert ">Wide-00019<" in page and ">Wide-00020<" not in page
    # In the sentence about it, in the list of who is in its way, and among its facts.
    assert page.count("980 more machines") == 3


def test_records_of_a_run_for_very_many_machines_name_the_first(board, a_run, client):
    run = a_run()
    board.join(run, {f"Wide-{n:05}" for n in range(1000)})

    for path in ("/timeline", f"/runs/{run.task_id}", "/api/report"):
        page = client.get(path, headers={**of("viewer"), "Accept": "text/html"}).text
        assert "Wide-00019" in page and "and 980 more" in page


def test_names_are_read_in_turns(board, services, turns):
    names = {f"machines-{n}": json.dumps({"id": f"Machines-{n}", "name": f"web-{n}"}) for n in range(1000)}
    board.client.hset(board.keys.machines, mapping=names)

    assert len(services.registry.machine_names([*names])) == 1000
    assert len(turns) == 4
    assert services.registry.machine_names(["machines-1"]) == {"machines-1": "web-1"}
    assert len(turns) == 4


def test_a_form_of_a_stranger_is_read_up_to_a_note(client):
    fields = "&".join(f"a{n}=b" for n in range(MOST_OF_A_FORM // 5))

    answer = client.post("/sign-in", data=fields, content_type="application/x-www-form-urlencoded")

    assert answer.status_code == 413
    assert "a form of at most 32 KiB" in answer.text
    note = "\N{SNOWMAN}" * 1000
    assert client.post("/sign-in", data={"token": "wrong", "note": note}).status_code == 403


def test_a_body_of_very_many_fields_is_refused_before_each_is(client, monkeypatch):
    monkeypatch.delattr("pydantic.BaseModel.model_validate")
    body = {f"field{n}": 1 for n in range(MOST_FIELDS + 1)}

    answer = client.put("/api/waits/ServerTasks-1", json=body, headers=of("step"))

    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert answer.json["detail"] == "body: expected at most 100 fields, got 101"


def test_choices_of_a_large_fleet_are_gathered_in_turns(board, client, turns, monkeypatch):
    fleet = {f"machines-{n}": json.dumps({"id": f"Machines-{n}", "name": f"web-{n}"}) for n in range(1500)}
    board.client.hset(board.keys.machines, mapping=fleet)
    client.get("/", headers=of("viewer"))

    def turns_of(path):
        turns.clear()
        assert client.get(path, headers=of("viewer")).status_code == 200
        return len(turns)

    # The live part alone has no choices.
    assert turns_of("/") - turns_of("/?fragment=1") == 3


def test_a_report_of_many_machines_is_made_in_turns(board, a_run, client, turns, monkeypatch):
    def turns_of(most):
        monkeypatch.setattr("app.web.api.report.TRACKED_IN_A_TURN", most)
        turns.clear()
        assert client.get("/api/report", headers=of("viewer")).text.endswith("</html>")
        return len(turns)

    for _ in range(5):
        board.join(a_run(), {f"Machines-{n}" for n in range(100)})

    # Four wait; of the first there is a wait without length, and a hold.
    assert turns_of(100) - turns_of(10**6) == 6
