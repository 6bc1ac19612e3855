"""What doctor finds about the subscription, and the events that came by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.doctor import on_subscription
from app.domain.events import parse_event
from app.domain.run import RunRequest
from tests.conftest import an_event
from tests.integration.doctor.helpers import (
    CATEGORIES,
    ERROR,
    OK,
    SECRET,
    UNKNOWN,
    WARNING,
    ago,
    deliver,
    found,
    levels,
)


def test_subscription_that_is_right(case):
    assert found(on_subscription.present, case) == [("subscription", OK)]


def test_subscription_that_is_missing(case, octopus):
    octopus.found["/api/Spaces-1/subscriptions"] = []

    assert found(on_subscription.present, case) == [("subscription_missing", ERROR)]


def test_subscription_that_was_made_by_hand_counts(case, octopus):
    octopus.subscribe(Name="gate")

    assert found(on_subscription.present, case) == [("subscription", OK)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"IsDisabled": True}, "subscription_enabled"),
        ({"webhook": {"WebhookURI": "https://old.example.com/"}}, "subscription_url"),
        ({"webhook": {"WebhookHeaderKey": "X-Old"}}, "subscription_header"),
        ({"webhook": {"WebhookHeaderValue": "another-secret"}}, "subscription_header_value"),
        ({"webhook": {"WebhookHeaderValue": None}}, "subscription_header_value"),
        ({"webhook": {"Filter": {"EventCategories": CATEGORIES[:1]}}}, "subscription_categories"),
        ({"webhook": {"Filter": {"EventCategories": CATEGORIES, "Projects": ["Projects-1"]}}},
         "subscription_other_filters"),
        ({"webhook": {"WebhookTeams": ["teams-1"]}}, "subscription_teams"),
    ],
)  # fmt: skip
def test_each_fault_of_a_subscription_is_named_alone(case, octopus, namespace, fields, code):
    octopus.subscribe(Name=f"octowait-{namespace}", **fields)

    (finding,) = on_subscription.present(case)

    assert (finding.code, finding.level) == (code, ERROR)
    assert SECRET not in finding.what and "another-secret" not in finding.what


def test_secret_that_octopus_does_not_show(case, octopus, namespace):
    octopus.subscribe(Name=f"octowait-{namespace}", webhook={"WebhookHeaderValue": {"HasValue": True}})

    assert found(on_subscription.present, case) == [("subscription", OK), ("subscription_secret", UNKNOWN)]


def test_address_that_nobody_says(case):
    silent = replace(case, settings=case.settings.model_copy(update={"public_url": None}))

    assert levels(on_subscription.present, silent) == {"subscription": OK, "subscription_url": UNKNOWN}


def test_subscription_that_octopus_works_on(case, octopus):
    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}

    # Too young to have been sent for certain, and told before the last look.
    octopus.events = [an_event(number=2, occurred=ago(10)), an_event(number=1, occurred=ago(600))]
    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}


@pytest.mark.parametrize("seconds", [900, None])
def test_subscription_that_octopus_has_left_behind(case, octopus, namespace, seconds):
    last = ago(seconds) if seconds else None
    octopus.subscribe(Name=f"octowait-{namespace}", webhook={"WebhookLastProcessed": last})
    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}

    octopus.events = [an_event(number=1, occurred=ago(600))]
    assert levels(on_subscription.fresh, case) == {"subscription_stale": ERROR}


def test_event_of_another_category_waits_for_nobody(case, octopus, namespace):
    octopus.subscribe(Name=f"octowait-{namespace}", webhook={"WebhookLastProcessed": ago(900)})
    octopus.events = [an_event("MachineAdded", number=1, occurred=ago(600))]

    assert levels(on_subscription.fresh, case) == {"subscription_fresh": OK}


def test_events_that_came_by_webhook(case, octopus):
    octopus.events = [an_event(number=number, task=number, occurred=ago(300)) for number in (1, 2)]
    for number in (1, 2):
        deliver(case, number=number, task=number, occurred=ago(300))

    assert levels(on_subscription.arriving, case) == {"events": OK}


def test_events_of_which_some_are_lost(case, octopus):
    octopus.events = [an_event(number=number, task=number, occurred=ago(300)) for number in (1, 2)]
    deliver(case, number=1, task=1, occurred=ago(300))

    assert levels(on_subscription.arriving, case) == {"events_lost": WARNING}


def test_events_that_never_come(case, octopus):
    octopus.events = [an_event(number=number, task=number, occurred=ago(300)) for number in (1, 2)]

    assert levels(on_subscription.arriving, case) == {"events_missing": ERROR}


def test_events_that_had_to_be_asked_for_did_not_come(case, octopus, board):
    event = an_event(number=1, task=1, occurred=ago(300))
    octopus.events = [event]
    board.deliver(parse_event(event), via="catch_up")

    assert levels(on_subscription.arriving, case) == {"events_missing": ERROR}


def test_events_from_before_octowait_are_not_missing(case, octopus, board):
    case.gate.services.client.delete(case.gate.services.keys.timeline)
    board.join(RunRequest("ServerTasks-9"), {"Machines-7"}, ttl=timedelta(minutes=9))
    octopus.events = [an_event(number=1, task=1, occurred=ago(300))]

    assert levels(on_subscription.arriving, case) == {"events": UNKNOWN}


def test_nothing_that_could_have_come(case):
    assert levels(on_subscription.arriving, case) == {"events": UNKNOWN}
