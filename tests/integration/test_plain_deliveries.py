"""A webhook as Octopus sends it is answered in front of Flask: the same answer and the same effect, at less cost."""

import json

import pytest
from flask import request

from app.domain.records import Filter
from app.store.connection import connect
from app.web import create_app
from tests.conftest import TOKENS, WEBHOOK_SECRET, a_delivery, services_on
from tests.open_board import OpenBoard

#: The same to the view, and nothing that is answered in front of it.
PLAIN, OTHER = "application/json", "text/plain"


@pytest.fixture
def make_services(redis_url):
    def make(board, **settings):
        tokens = ",".join(f"{role}:test:{token}" for role, token in TOKENS.items())
        return services_on(board, redis_url, webhook_secret=WEBHOOK_SECRET, tokens=tokens, max_body_kib=64, **settings)

    return make


@pytest.fixture
def services(board, make_services):
    return make_services(board)


@pytest.fixture
def serve():
    """Makes a client, and the list of the paths of its requests that come as far as Flask."""

    def serve(services):
        app, paths = create_app(services), []
        app.before_request(lambda: paths.append(request.path))
        return app.test_client(), paths

    return serve


def post(client, body, content_type=PLAIN, secret=WEBHOOK_SECRET):
    headers = {"X-Octowait-Secret": secret, "Content-Type": content_type}
    return client.post("/webhooks/octopus", data=body, headers=headers)


def a_body(category="DeploymentStarted", number=1, **event):
    related = [f"Deployments-{number}", "Projects-7", "Environments-2", f"ServerTasks-{number}"]
    fields = {"Id": f"Events-{number}", "related": related, "task": None, **event}
    return json.dumps(a_delivery(category, **fields)).encode()


@pytest.mark.parametrize("body, outcome", [
    (lambda number: a_body(number=number), "applied"),
    (lambda number: a_body(number=90, Id="Events-9"), "duplicate"),
    (lambda number: a_body("MachineAdded", number, related=["Machines-7"]), "ignored"),
], ids=["applied", "duplicate", "ignored"])  # fmt: skip
def test_a_plain_delivery_is_answered_as_the_view_answers(serve, services, body, outcome):
    client, viewed = serve(services)
    post(client, a_body(number=90, Id="Events-9"))

    plain, other = (post(client, body(number), kind) for number, kind in ((1, PLAIN), (2, OTHER)))

    assert viewed == ["/webhooks/octopus"]
    assert (plain.status, sorted(plain.headers)) == (other.status, sorted(other.headers))
    assert plain.text.replace("Events-1", "Events-2") == other.text
    assert plain.json["outcome"] == outcome


def test_a_plain_delivery_is_applied_and_counted_once(board, serve, services):
    client, viewed = serve(services)

    post(client, a_body(number=7))

    assert viewed == []
    records = services.timeline.newest(Filter(task_id="ServerTasks-7"), limit=9)
    assert [record.detail["event"] for record in records if record.kind == "event"] == ["Events-7"]
    services.metric_buffer.flush()
    counts = board.client.hgetall(board.keys.measured)
    assert sum(int(count) for name, count in counts.items() if b"applied" in name) == 1


@pytest.mark.parametrize("body, secret, status, outcome", [
    (a_body(), "wrong", 401, None),
    (b"{", WEBHOOK_SECRET, 202, "kept"),
    (b"[1]", WEBHOOK_SECRET, 202, "kept"),
    (b"", WEBHOOK_SECRET, 202, "kept"),
    (a_body(related=["Deployments-404"]), WEBHOOK_SECRET, 202, "kept"),
    (a_body(occurred="2999-01-01T00:00:00Z"), WEBHOOK_SECRET, 202, "kept"),
    (b" " * 65_537, WEBHOOK_SECRET, 413, None),
], ids=["secret", "no JSON", "no event", "empty", "unlinked", "implausible", "too long"])  # fmt: skip
def test_what_is_not_plain_is_left_to_the_view_with_its_body(serve, services, body, secret, status, outcome):
    client, viewed = serve(services)

    answer = post(client, body, secret=secret)

    assert (answer.status_code, answer.json.get("outcome"), len(viewed)) == (status, outcome, 1)
    kept = [letter["body"] for letter in services.dead_deliveries.all()]
    assert kept == ([body.decode()] if outcome and b"Payload" not in body else kept)
    assert len(kept) == (outcome == "kept")


@pytest.mark.parametrize("settings", [{"log_level": "debug"}, {"redis_replicas": 1}], ids=["logged", "copied"])
def test_what_is_logged_or_waits_for_copies_is_left_to_the_view(board, serve, make_services, settings):
    client, viewed = serve(make_services(board, **settings))

    post(client, a_body())

    assert len(viewed) == 1


def test_without_redis_the_view_answers(tmp_path, serve, make_services):
    services = make_services(OpenBoard(connect(f"unix://{tmp_path}/none.sock")))
    client, viewed = serve(services)

    answer = post(client, a_body())

    assert (answer.status_code, answer.json["code"], len(viewed)) == (503, "store_unavailable", 1)
    assert services.has_missed.is_set()
