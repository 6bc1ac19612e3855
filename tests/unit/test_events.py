import json
from pathlib import Path

import pytest

from app.coordination.encode import compact_json, event_fields
from app.domain.events import Effect, Unreadable, effect_of, milliseconds, parse_delivery, parse_event
from app.web.redaction import redacted

PAYLOADS = Path(__file__).parent.parent / "payloads"

SECRET = "header-value-of-the-subscription"

# name: category's effect, outcome, task, deployment or runbook run, the time in ms
READABLE = {
    "deployment-started-2018": (Effect.STARTED, None, "ServerTasks-4711", "Deployments-51", 1525590488563),
    "deployment-queued-2019-int-type": (Effect.QUEUED, None, "ServerTasks-4711", "Deployments-51", 1557126488563),
    "deployment-succeeded-2020-local-offset": (
        Effect.ENDED, "succeeded", "ServerTasks-4711", "Deployments-51", 1588748888563,
    ),
    "deployment-failed-2021-zulu": (Effect.ENDED, "failed", "ServerTasks-4711", "Deployments-51", 1620284888563),
    "deployment-started-2021-no-task": (Effect.STARTED, None, None, "Deployments-51", 1620284888563),
    "deployment-started-2022-references-only": (
        Effect.STARTED, None, "ServerTasks-4711", "Deployments-51", 1651820888563,
    ),
    "deployment-started-2022-no-event-id": (Effect.STARTED, None, "ServerTasks-4711", "Deployments-51", 1651820888563),
    "deployment-failed-2023": (Effect.ENDED, "failed", "ServerTasks-569388", "Deployments-12519", 1695159308563),
    "deployment-resumed-2024-extra-fields": (Effect.RESUMED, None, "ServerTasks-4711", "Deployments-51", 1714979288563),
    "runbook-run-queued-2024": (Effect.QUEUED, None, "ServerTasks-4712", "RunbookRuns-5", 1714979288563),
    "runbook-run-started-2024": (Effect.STARTED, None, "ServerTasks-4712", "RunbookRuns-5", 1714979288563),
    "runbook-run-succeeded-2024": (Effect.ENDED, "succeeded", "ServerTasks-4712", "RunbookRuns-5", 1714979288563),
    "runbook-run-failed-2024": (Effect.ENDED, "failed", "ServerTasks-4712", "RunbookRuns-5", 1714979288563),
    "runbook-run-started-2023-display-name": (Effect.STARTED, None, "ServerTasks-4712", "RunbookRuns-5", 1683356888563),
    "task-canceled-2023-task-only": (Effect.ENDED, "canceled", "ServerTasks-4711", None, 1683356888563),
    "task-canceled-2023-display-name": (Effect.ENDED, "canceled", "ServerTasks-4711", "Deployments-51", 1683356888563),
    "manual-intervention-raised-2025": (Effect.PAUSED, None, "ServerTasks-4711", "Deployments-51", 1746515288563),
    "guided-failure-raised-2025": (Effect.PAUSED, None, "ServerTasks-4711", "Deployments-51", 1746515288563),
    "unknown-category-2026": (Effect.OTHER, None, "ServerTasks-4711", "Deployments-51", 1778051288563),
    "machine-deleted-2026": (Effect.OTHER, None, None, None, 1778051288563),
}  # fmt: skip


def a_body(**event):
    """A delivery that is readable; *event* overrides its event, None takes a field out."""
    whole = {"Id": "Events-1", "Category": "DeploymentStarted", "Occurred": "2026-05-06T07:08:08.563Z", **event}
    return json.dumps({"Payload": {"Event": {k: v for k, v in whole.items() if v is not None}}}).encode()


def stored(name):
    return (PAYLOADS / f"{name}.json").read_bytes()


def test_every_stored_payload_is_expected_to_be_read():
    assert {path.stem for path in PAYLOADS.glob("*.json")} == set(READABLE)


@pytest.mark.parametrize("name", READABLE)
def test_payloads_of_all_versions_are_read(name):
    event = parse_delivery(stored(name))

    read = (event.effect, event.outcome, event.task_id, event.deployment_id, event.occurred_ms)
    assert read == READABLE[name]


@pytest.mark.parametrize("name", READABLE)
def test_what_goes_to_the_script_has_no_nulls(name):
    event = event_fields(parse_delivery(stored(name)))

    assert None not in event.values()
    assert {"id", "category", "effect", "occurred_ms", "info"} <= event.keys()


def test_info_has_what_the_pages_show():
    info = parse_delivery(stored("deployment-failed-2023")).info

    assert info == {
        "project": {"id": "Projects-4522"},
        "environment": {"id": "Environments-1621"},
        "release": {"id": "Releases-11138"},
        "deployment_id": "Deployments-12519",
        "space_id": "Spaces-282",
        "url": "https://mattc.octopus.app/app#/Spaces-282/tasks/ServerTasks-569388",
    }


@pytest.mark.parametrize(
    "space", ["../x", "Spaces-1/../../x", "Default Space", "", 7, ["Spaces-1"], {"Id": "Spaces-1"}]
)
def test_event_with_a_space_that_is_no_id_counts_and_its_space_is_unknown(space):
    event = parse_delivery(a_body(SpaceId=space, RelatedDocumentIds=["Deployments-1", "ServerTasks-1"]))

    assert (event.task_id, event.deployment_id, event.effect) == ("ServerTasks-1", "Deployments-1", "started")
    assert "space_id" not in event.info
    assert "url" not in event.info or event.info["url"].endswith("/app#/tasks/ServerTasks-1")


@pytest.mark.parametrize("kind", ["Projects", "Environments", "Tenants", "Releases", "Deployments", "RunbookRuns"])
@pytest.mark.parametrize("tail", ["/../x", "1/x", "1?x", "1 2", "1,2", "1\0", ""])
def test_what_is_no_id_among_related_documents_is_none(kind, tail):
    event = parse_delivery(a_body(RelatedDocumentIds=[f"{kind}-{tail}", "ServerTasks-1"], MessageReferences=[]))

    assert event.task_id == "ServerTasks-1" and event.deployment_id is None
    assert event.info.keys() <= {"space_id", "url"}


def test_runbook_run_tells_its_tenant_and_its_own_id():
    info = parse_delivery(stored("runbook-run-started-2024")).info

    assert info["tenant"] == {"id": "Tenants-4"}
    assert info["runbook_run_id"] == "RunbookRuns-5"
    assert "deployment_id" not in info


def test_event_without_id_is_known_by_what_it_says():
    body = json.loads(stored("deployment-started-2022-no-event-id"))
    first = parse_delivery(json.dumps(body).encode())
    body["Payload"]["BatchId"] = "another batch"
    again = parse_delivery(json.dumps(body).encode())
    body["Payload"]["Event"]["Occurred"] = "2022-05-06T07:08:09.563+00:00"
    later = parse_delivery(json.dumps(body).encode())

    assert first.id is None
    assert first.key == again.key != later.key


def test_event_ids_are_compared_without_regard_to_letter_case():
    assert parse_delivery(a_body(Id="EVENTS-1")).key == parse_delivery(a_body(Id="events-1")).key


def test_related_ids_count_before_those_of_the_message():
    references = [{"ReferencedDocumentId": "ServerTasks-2"}, {"ReferencedDocumentId": "Projects-2"}]

    event = parse_delivery(a_body(RelatedDocumentIds=["ServerTasks-1"], MessageReferences=references))

    assert event.task_id == "ServerTasks-1"
    assert event.info["project"] == {"id": "Projects-2"}


@pytest.mark.parametrize(
    "related",
    ["ServerTasks-1", {"a": 1}, [None, 7, ["ServerTasks-1"]], ["ServerTasks-"], ["ServerTasks-1/../2"],
     ["ServerTasks-1\u0000"], ["ServerTasks-1\n2"], ["https://evil.example/ServerTasks-1"]],
)  # fmt: skip
def test_what_is_no_document_id_is_not_taken_for_one(related):
    assert parse_delivery(a_body(RelatedDocumentIds=related, MessageReferences="no list")).task_id is None


@pytest.mark.parametrize(
    ("category", "effect", "outcome"),
    [
        ("DeploymentStarted", Effect.STARTED, None),
        ("deployment started", Effect.STARTED, None),
        ("DeploymentResumed", Effect.RESUMED, None),
        ("TaskCancelled", Effect.ENDED, "canceled"),
        ("Task timed out", Effect.ENDED, "timedout"),
        ("TaskAbandoned", Effect.ENDED, "abandoned"),
        ("Runbook run succeeded", Effect.ENDED, "succeeded"),
        ("Guided failure interruption raised", Effect.PAUSED, None),
        ("DeploymentTargetSucceeded", Effect.OTHER, None),
        ("MachineHealthy", Effect.OTHER, None),
        ("Deployment", Effect.OTHER, None),
        ("ProjectDeploymentFailed", Effect.OTHER, None),
    ],
)
def test_effect_of_a_category(category, effect, outcome):
    assert effect_of(category) == (effect, outcome)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"<html>busy</html>", "not JSON"),
        (b'{"Payload": ', "not JSON"),
        (b"\xff\xfe\x00{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no Payload.Event"),
        (b'"text"', "no Payload.Event"),
        (b'{"Payload": []}', "no Payload.Event"),
        (b'{"Payload": {"Event": [1]}}', "no Payload.Event"),
        (b'{"Payload": {"Event": {}}}', "Category"),
        (a_body(Category=7), "Category"),
        (a_body(Category="  "), "Category"),
        (a_body(Occurred=""), "Occurred"),
        (b'{"Payload": {"Event": {"Category": "DeploymentStarted"}}}', "Occurred"),
        (a_body(Occurred="yesterday"), "Occurred"),
        (a_body(Occurred=1778051288563), "Occurred"),
    ],
)
def test_unreadable_delivery_says_what_is_missing(body, said):
    with pytest.raises(Unreadable, match=said):
        parse_delivery(body)


@pytest.mark.parametrize("depth", [10, 500, 900, *range(960, 1010, 3), 5_000])
def test_nesting_of_any_depth_is_read_or_unreadable(depth):
    body = b'{"Payload":{"Event":{"Category":"X","Message":' + b"[" * depth + b"]" * depth + b"}}}"

    try:
        outcome = parse_delivery(body).category
    except Unreadable as unreadable:
        outcome = str(unreadable)[:8]

    assert outcome in ("X", "not JSON")


def test_category_that_means_nothing_to_us_needs_no_time():
    assert parse_delivery(a_body(Category="MachineDeleted", Occurred="yesterday")).occurred_ms is None


def test_half_characters_do_not_get_through():
    event = parse_delivery(a_body(Id="Events-\ud800", Category="X\udfff", SpaceId="Spaces-\ud800"))

    fields = compact_json(event_fields(event))
    assert (event.key + event.category + fields).encode()
    assert "\\ud8" not in fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-06T07:08:08.563Z", 1778051288563),
        ("2026-05-06T07:08:08.5639999+00:00", 1778051288564),
        ("2026-05-06T17:08:08.563+10:00", 1778051288563),
        ("2026-05-06T07:08:08.563", 1778051288563),
        (" 2026-05-06T07:08:08Z ", 1778051288000),
        ("2026-05-06", 1778025600000),
        ("0001-01-01T00:00:00+10:00", -62135632800000),
        ("24:00", None),
        ("", None),
        (None, None),
        (12.5, None),
    ],
)
def test_times_become_milliseconds(text, expected):
    assert milliseconds(text) == expected


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f'a"{SECRET}',
        f'a\\"{SECRET}\\',
        {"HasValue": True, "NewValue": SECRET},
        {"HasValue": True, "NewValue": "}" + SECRET},
        {"NewValue": "{" + SECRET},
        {"New": {"Value": "}" + SECRET}, "Old": {"Value": SECRET}},
        [SECRET, {"a": SECRET}],
    ],
)
@pytest.mark.parametrize("key", ["WebhookHeaderValue", "webhookHeaderValue"])
def test_header_value_is_redacted_wherever_the_body_breaks_off(key, value):
    body = json.dumps({"a": {key: value, "b": "stays"}}).encode()

    texts = [redacted(body[:cut], (), 10_000) for cut in range(len(body) + 1)]

    assert not [text for text in texts if SECRET[:3] in text]
    assert json.loads(texts[-1]) == {"a": {key: None, "b": "stays"}}


def test_header_value_of_a_stored_payload_is_redacted():
    for name in READABLE:
        text = redacted(stored(name), (), 100_000)

        assert SECRET not in text
        assert "WebhookURI" in text


def test_known_secrets_are_redacted_and_the_text_is_cut():
    text = redacted(b'{"Comments": "password hunter22 here"}' + b"x" * 1000, ("hunter22",), 50)

    assert text.startswith('{"Comments": "password [redacted] here"}')
    assert len(text) == 50


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("https://octopus.example.com/", "https://octopus.example.com/app#/Spaces-1/tasks/ServerTasks-1"),
        ("javascript:alert(1)//", None),
        (None, None),
    ],
)
def test_the_link_of_a_run_is_an_address_or_nothing(server, url):
    event = {
        "Category": "DeploymentQueued", "Occurred": "2026-01-01T00:00:00Z", "SpaceId": "Spaces-1",
        "RelatedDocumentIds": ["ServerTasks-1"],
    }  # fmt: skip

    assert parse_event(event, server=server).info.get("url") == url


@pytest.mark.parametrize(
    "body",
    [
        b'{"WebhookHeader\\u0056alue": "LEAK"}',
        b'{"WebhookHeader\\u0056alue": "LEAK", ',
        b'{"WebhookHeaderValue": {"x": {"y": {"z": "LEAK"}}}}',
        b'{"a": ["L\\u0045AK"]}',
        b'{"a": ["L\\u0045AK", ',
    ],
)
def test_a_secret_written_in_another_way_is_redacted_too(body):
    assert "LEAK" not in redacted(body, ("LEAK",), 1000).replace("\\u0045", "E")
