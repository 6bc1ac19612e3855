"""Subscriptions post events as Octopus does, and lose them as it does."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tests.conftest import eventually
from tests.e2e.simulated.helpers import FOR_EVER, Make, Receiver
from tests.simulator.control import SimulatedOctopus
from tests.simulator.steps import work


def test_webhooks_carry_one_event_each_with_secret_and_batch(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, "the-secret", categories=["DeploymentStarted", "DeploymentSucceeded"])
    octopus.project("Web", steps=[work("deploy")])

    task = octopus.deploy("Web", tenant="Acme")
    octopus.wait_for(task)
    octopus.look_for_events()
    eventually(lambda: len(receiver.got) == 2)

    headers, body = receiver.got[1]
    payload, event = body["Payload"], body["Payload"]["Event"]
    assert (headers["X-Octowait-Secret"], headers["Content-Type"]) == ("the-secret", "application/json; charset=utf-8")
    assert receiver.categories == ["DeploymentStarted", "DeploymentSucceeded"]
    assert (body["EventType"], payload["EventNumberInBatch"], payload["TotalEventsInBatch"]) == (
        "SubscriptionPayload",
        2,
        2,
    )
    assert event["RelatedDocumentIds"] == [task.id, "Projects-1", "Releases-1", "Environments-1", "Tenants-1",
                                           task.task_id, "Channels-1"]  # fmt: skip
    reference = event["MessageReferences"][0]
    assert reference["ReferencedDocumentId"] == task.id
    assert event["Message"][: reference["Length"]] == "Deploy to Production"
    recorded = next(e for e in octopus.record()["events"] if e["Id"] == event["Id"])
    assert event["Id"] != f"Events-{recorded['auto_id']}" and "auto_id" not in event
    assert (
        octopus.api("subscriptions/all")[0]["EventNotificationSubscription"]["WebhookLastProcessedEventAutoId"]
        == (recorded["auto_id"])
    )


def test_a_server_whose_clock_is_wrong_says_so_in_all_that_it_says(make_octopus: Make, receiver: Receiver) -> None:
    octopus = make_octopus(ahead_seconds=600)
    octopus.subscribe(receiver.url, "the-secret", categories=["DeploymentSucceeded"])
    octopus.project("Web", steps=[work("deploy")])

    task = octopus.deploy("Web")
    octopus.wait_for(task)
    octopus.look_for_events()
    eventually(lambda: len(receiver.got) == 1)

    _, body = receiver.got[0]
    with urllib.request.urlopen(f"{octopus.url}/api", timeout=10) as answer:
        date = parsedate_to_datetime(answer.headers["Date"])
    ended = octopus.task(task)
    times = [
        body["Timestamp"], body["Payload"]["BatchProcessingDate"], body["Payload"]["Event"]["Occurred"],
        ended["StartTime"], ended["CompletedTime"], date.isoformat(),
    ]  # fmt: skip
    now = datetime.now(UTC)
    assert all(540 < (datetime.fromisoformat(each) - now).total_seconds() < 601 for each in times)


def test_a_webhook_waits_for_a_slot_of_the_cap(make_octopus: Make, receiver: Receiver) -> None:
    octopus = make_octopus(task_cap=2)
    octopus.subscribe(receiver.url)
    for name in ("One", "Two"):
        octopus.project(name, steps=[work("deploy", seconds=FOR_EVER, on_server=True)])
    tasks = [octopus.deploy("One"), octopus.deploy("Two")]

    octopus.look_for_events()
    [sending] = octopus.api("tasks?name=ProcessSubscriptions")["Items"]
    behind = octopus.api(f"tasks/{sending['Id']}/queued-behind")["Items"]
    got = list(receiver.got)
    octopus.cancel(tasks[0])
    eventually(lambda: receiver.got)

    assert (sending["State"], got) == ("Queued", [])
    assert {task["Id"] for task in behind} == {task.task_id for task in tasks}
    assert octopus.wait_for(sending["Id"])["State"] == "Success"


def test_a_failed_call_loses_the_rest_of_its_batch(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, categories=["DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"])
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))
    receiver.statuses = [202, 404]

    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)
    octopus.look_for_events()
    tasks = octopus.api("tasks?name=ProcessSubscriptions")["Items"]

    assert receiver.categories == ["DeploymentQueued", "DeploymentStarted"]
    assert [task["State"] for task in tasks] == ["Failed"]
    assert [d["outcome"] for d in octopus.record()["deliveries"]] == [
        "delivered", "the webhook answered 404", "lost with its batch",
    ]  # fmt: skip
    octopus.wait_for(octopus.deploy("Web"))
    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)
    assert receiver.categories[2:] == ["DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"]


def test_a_webhook_that_takes_too_long_ends_the_batch(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, timeout="00:00:01", categories=["DeploymentQueued", "DeploymentStarted"])
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))
    receiver.answers.clear()

    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)

    assert receiver.categories == ["DeploymentQueued"]
    outcomes = [delivery["outcome"] for delivery in octopus.record()["deliveries"]]
    assert outcomes == ["the webhook timed out", "lost with its batch"]


def test_faults_drop_double_delay_and_abort_webhooks(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url, categories=["DeploymentQueued", "DeploymentStarted", "DeploymentSucceeded"])
    octopus.project("Web", steps=[work("deploy", seconds=0.1)])

    def batch(**faults: float) -> list[str]:
        octopus.no_faults()
        octopus.faults(**faults)
        octopus.wait_for(octopus.deploy("Web"))
        seen = len(octopus.record()["deliveries"])
        octopus.look_for_events()
        octopus.wait_idle(is_delivered=True)
        return [delivery["outcome"] for delivery in octopus.record()["deliveries"][seen:]]

    assert batch(drop=1) == ["dropped"] * 3
    assert batch(double=1) == ["delivered", "again"] * 3
    assert batch(abort=1) == ["lost with its batch"] * 3
    assert batch(delay_seconds=2) == ["delivered"] * 3
    assert batch() == ["delivered"] * 3


def test_reordered_batches_come_out_of_order(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    octopus.subscribe(receiver.url)
    octopus.faults(reorder=1)
    octopus.project("Web", steps=[work("deploy", seconds=0.1)])
    for _ in range(3):
        octopus.wait_for(octopus.deploy("Web"))

    octopus.look_for_events()
    octopus.wait_idle(is_delivered=True)

    numbers = [int(event["Id"].rpartition("-")[2]) for event in receiver.events]
    assert len(numbers) == 9 and numbers != sorted(numbers)


def test_sensitive_values_are_never_returned_by_newer_servers(make_octopus: Make, receiver: Receiver) -> None:
    octopus = make_octopus()
    subscription = octopus.subscribe(receiver.url, "the-secret")
    found = octopus.api(f"subscriptions/{subscription}")

    found["EventNotificationSubscription"]["WebhookTimeout"] = "00:00:40"
    octopus.api(f"subscriptions/{subscription}", found, method="PUT")
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))
    octopus.look_for_events()
    eventually(lambda: receiver.got)

    shown = {"HasValue": True, "NewValue": None, "Hint": None}
    assert found["EventNotificationSubscription"]["WebhookHeaderValue"] == shown
    assert receiver.got[0][0]["X-Octowait-Secret"] == "the-secret"
    assert "the-secret" not in json.dumps(receiver.got[0][1])
    old = make_octopus(old_sensitive_values=True)
    old.subscribe(receiver.url, "the-secret")
    assert old.api("subscriptions/all")[0]["EventNotificationSubscription"]["WebhookHeaderValue"] == "the-secret"


def test_subscriptions_can_be_disabled_and_removed(octopus: SimulatedOctopus, receiver: Receiver) -> None:
    subscription = octopus.subscribe(receiver.url)
    octopus.api(f"subscriptions/{subscription}", {**octopus.api(f"subscriptions/{subscription}"), "IsDisabled": True},
                method="PUT")  # fmt: skip
    octopus.project("Web", steps=[work("deploy")])
    octopus.wait_for(octopus.deploy("Web"))

    octopus.look_for_events()

    assert octopus.api("tasks?name=ProcessSubscriptions")["Items"] == []
    octopus.api(f"subscriptions/{subscription}", method="DELETE")
    assert octopus.api("subscriptions/all") == []
